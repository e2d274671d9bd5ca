"""The variables Opwatch reads, as they stand in the environment."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Environment(BaseModel):
    """The variables with fixed names, as they stand in the environment. An empty one counts as not set."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    REDIS_URL: str | None = None
    SCALINGO_REDIS_URL: str | None = None
    OPWATCH_TOKENS: SecretStr | None = None
    SCALINGO_API_TOKEN: SecretStr | None = None
    SCALINGO_REGION: str = Field(default="osc-fr1", pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    SCALINGO_API_URL: str | None = None
    SCALINGO_AUTH_URL: str = "https://auth.scalingo.com"
    SCALINGO_REQUESTS_PER_MINUTE: int = Field(default=50, ge=10, le=100_000)
    SLACK_WEBHOOK_URL: str | None = None
    SLACK_BOT_TOKEN: str | None = None
    SLACK_CHANNEL: str | None = None
    SLACK_API_URL: str | None = None
    SLACK_LIVE: bool = False
    WEBHOOK_URL: str | None = None
    WEBHOOK_SECRET: str | None = None
    OPWATCH_TARGETS_FILE: str | None = None
    OPWATCH_ALERT_TARGET: str | None = None
    OPWATCH_ALLOW_PRIVATE_TARGETS: bool = False
    OPWATCH_MAX_IN_FLIGHT: int = Field(default=1000, ge=1, le=100_000)
    OPWATCH_RETENTION_DAYS: float = Field(default=7, gt=0, le=365)
    OPWATCH_HEARTBEAT_URL: SecretStr | None = None
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    LOG_FORMAT: Literal["json", "text"] = "json"
