"""The settings: each is one field of `Settings`, read from the environment variable that its alias names.

`load` reads nothing but the environment and the targets file. Each process calls it once, at its start.
A field's description is its text in docs/settings.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, PrivateAttr, SecretStr

from config import redis_url, targets
from config.reading import FromEnvironment, Reading
from config.values import Accounts, BaseUrl, CallerTokens, EventsSecret, RedisUrl, WebUrl, accounts_in, words_of
from notifiers.targets import Target
from operations.errors import ConfigError
from operations.telling.audience import Rules
from scalingo.address import OFFICIAL_DATABASE_APIS, OFFICIAL_REGIONS


class Settings(FromEnvironment):
    """All settings. No secret shows in its repr or in a fault."""

    redis_url: RedisUrl = Field(
        SecretStr(""),
        validation_alias=AliasChoices("REDIS_URL", "SCALINGO_REDIS_URL"),
        examples=["redis://localhost:6379/0", "redis://localhost:6379/0"],
        description="Required, except for `make run`. One Redis 5 or Valkey 7.2, or newer, as `redis://…`, "
        "`rediss://…` or `unix://…` (no Sentinel, no Cluster), with a database of its own. Percent-encode "
        "special characters in the password. The options may be "
        + ", ".join(f"`{name}`" for name in redis_url.OPTIONS)
        + ". `SCALINGO_REDIS_URL` is used if `REDIS_URL` is not set.",
    )
    tokens: CallerTokens = Field(
        {},
        alias="OPWATCH_TOKENS",
        examples=["ci:0123456789abcdef0123456789abcdef,deploy:fedcba9876543210fedcba9876543210"],
        description="Required, except for `make run`. The callers, as `name:token,…`, with tokens of at least 24 "
        "characters, each different. A token without a name belongs to the caller `default`. One written as "
        "`name:token:read` may only read.",
    )
    accounts: Accounts = Field(
        {},
        validation_alias=AliasChoices("SCALINGO_API_TOKEN", "SCALINGO_API_TOKEN_<ACCOUNT>"),
        examples=["tk-us-…", "tk-us-…"],
        description="At least one is required, except for `make run`. `SCALINGO_API_TOKEN` is the API token "
        "(`tk-us-…`) of the account `default`, and `SCALINGO_API_TOKEN_AGENCY` that of the account `agency`.",
    )
    region: str = Field(
        "osc-fr1",
        alias="SCALINGO_REGION",
        pattern=r"^[a-z0-9][a-z0-9-]{0,40}$",
        description="The region of an operation if the request names none. `osc-fr1` and `osc-secnum-fr1` are "
        "always known.",
    )
    api_url: BaseUrl | None = Field(
        None,
        alias="SCALINGO_API_URL",
        examples=["https://api.osc-fr1.scalingo.com"],
        description="The API of the default region, if it is not Scalingo's own.",
    )
    database_api_url: BaseUrl | None = Field(
        None,
        alias="SCALINGO_DB_API_URL",
        examples=["https://db-api.osc-fr1.scalingo.com"],
        description="The database API of the default region, without `/api`, if it is not Scalingo's own.",
    )
    auth_url: BaseUrl = Field(
        "https://auth.scalingo.com",
        alias="SCALINGO_AUTH_URL",
        description="Where API tokens are exchanged for bearer tokens.",
    )
    requests_per_minute: int = Field(
        50,
        alias="SCALINGO_REQUESTS_PER_MINUTE",
        ge=10,
        le=100_000,
        description="The maximum number of requests in any 60 s for each account, at least 10. Scalingo allows 60, but "
        "other clients of the account need some of them.",
    )
    slack_webhook_url: SecretStr | None = Field(
        None,
        alias="SLACK_WEBHOOK_URL",
        examples=["https://hooks.slack.com/services/…"],
        description="An incoming webhook of Slack. It makes the target `slack`.",
    )
    slack_bot_token: SecretStr | None = Field(
        None,
        alias="SLACK_BOT_TOKEN",
        examples=["xoxb-…"],
        description="The token of a Slack bot. Together with `SLACK_CHANNEL` it makes the target `slack`.",
    )
    slack_channel: str | None = Field(
        None, alias="SLACK_CHANNEL", examples=["C0123456789"], description="The channel that the bot posts to."
    )
    slack_api_url: SecretStr | None = Field(
        None,
        alias="SLACK_API_URL",
        examples=["https://slack.com/api/"],
        description="Another server with Slack's Web API, for the bot.",
    )
    slack_live: bool = Field(
        default=False,
        alias="SLACK_LIVE",
        examples=["true"],
        description="`true`: the bot posts [one message for each operation](messages.md#live-messages-in-slack), and "
        "edits it until the end.",
    )
    webhook_url: SecretStr | None = Field(
        None,
        alias="WEBHOOK_URL",
        examples=["https://example.com/opwatch"],
        description="The URL of your own receiver. Together with `WEBHOOK_SECRET` it makes the target `webhook`.",
    )
    webhook_secret: Annotated[tuple[SecretStr, ...], BeforeValidator(words_of)] = Field(
        (),
        alias="WEBHOOK_SECRET",
        examples=["whsec_…"],
        description="`whsec_`, followed by 24 to 64 bytes as base64 (`echo whsec_$(openssl rand -base64 32)`). "
        "Separate several secrets by spaces, the newest first.",
    )
    targets_file: str | None = Field(
        None,
        alias="OPWATCH_TARGETS_FILE",
        examples=["config/targets.toml"],
        description="A file with more targets and their rules. The default is `config/targets.toml`, if it exists.",
    )
    alert_target: str | None = Field(
        None,
        alias="OPWATCH_ALERT_TARGET",
        examples=["slack"],
        description="The target that gets alerts when deliveries to other targets fail, or when an API token is "
        "rejected; see [Failing deliveries](operating.md#operations).",
    )
    allow_private_targets: bool = Field(
        default=False,
        alias="OPWATCH_ALLOW_PRIVATE_TARGETS",
        description="`true`: targets may be on private addresses and use plain `http`.",
    )
    public_url: BaseUrl | None = Field(
        None,
        alias="OPWATCH_PUBLIC_URL",
        examples=["https://opwatch.example.com"],
        description="The address at which people reach the page. Messages then link to an operation's story.",
    )
    events_secret: EventsSecret | None = Field(
        None,
        alias="OPWATCH_EVENTS_SECRET",
        examples=["0123456789abcdef0123456789abcdef"],
        description="Opens `POST /v1/scalingo/<secret>` for [events of Scalingo's notifier]"
        "(pipelines.md#deployments-that-no-script-starts). At least 24 characters: `openssl rand -hex 24`.",
    )
    deployment_output: Literal["cause", "tail", "off"] = Field(
        "cause",
        alias="OPWATCH_DEPLOYMENT_OUTPUT",
        description="What messages show of a failed deployment's output: `cause` (what says why), `tail` (the last 40 "
        "lines) or `off` (only the status). Build logs can hold secrets.",
    )
    max_in_flight: int = Field(
        1000,
        alias="OPWATCH_MAX_IN_FLIGHT",
        ge=1,
        le=100_000,
        description="The maximum number of operations in flight for each account; see "
        "[Operations in flight](operating.md#operations).",
    )
    retention_days: float = Field(
        7,
        alias="OPWATCH_RETENTION_DAYS",
        gt=0,
        le=365,
        description="How many days a tracking is kept after its last delivery ended.",
    )
    heartbeat_url: WebUrl | None = Field(
        None,
        alias="OPWATCH_HEARTBEAT_URL",
        examples=["https://hc-ping.com/…"],
        description="The URL of a dead man's switch (for example healthchecks.io). Each worker sends it a GET once a "
        "minute.",
    )
    port: int = Field(
        8000,
        alias="PORT",
        ge=1,
        le=65_535,
        description="The port on which `web` listens, on all IPv4 addresses. A PaaS sets it.",
    )
    web_concurrency: int = Field(
        2, alias="WEB_CONCURRENCY", ge=1, le=1000, description="The number of processes of `web`."
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)] = Field(
        "INFO", alias="LOG_LEVEL", description="`DEBUG`, `INFO`, `WARNING` or `ERROR`."
    )
    log_format: Literal["json", "text"] = Field(
        "json", alias="LOG_FORMAT", description="`json` or `text`. `make run` sets `text`."
    )
    _targets: Mapping[str, Target] = PrivateAttr(default_factory=dict)

    def model_post_init(self, reading: Reading, /) -> None:
        """Build the targets, from several settings and the targets file."""
        self._targets, faults = targets.read(dict(self), reading.environ, reading.root)
        reading.faults.extend(faults)
        if not faults and self.alert_target not in (None, *self._targets):  # it may be a URL, which is a secret
            known = ", ".join(sorted(self._targets))
            reading.faults.append(f"OPWATCH_ALERT_TARGET: no target has this name; configured: {known}")

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Show which parts are configured, without values."""
        yield "accounts", sorted(self.accounts)
        yield "targets", sorted(self.targets)

    @property
    def targets(self) -> Mapping[str, Target]:
        """Every target, by name."""
        return self._targets

    @cached_property
    def rules(self) -> Rules:
        """The rule of every target, by name."""
        return {name: target.rule for name, target in self.targets.items()}

    @cached_property
    def regions(self) -> Mapping[str, str]:
        """The API's URL of every region, by name."""
        default = OFFICIAL_REGIONS.get(self.region, f"https://api.{self.region}.scalingo.com")
        return {**OFFICIAL_REGIONS, self.region: self.api_url or default}

    @cached_property
    def database_apis(self) -> Mapping[str, str]:
        """The database API's URL of every region, by name."""
        default = OFFICIAL_DATABASE_APIS.get(self.region, f"https://db-api.{self.region}.scalingo.com")
        return {**OFFICIAL_DATABASE_APIS, self.region: self.database_api_url or default}


def load(environ: Mapping[str, str], *, root: Path = Path()) -> Settings:
    """Read the settings from `environ` and the targets file below `root`. Raises ConfigError with every fault."""
    settings, faults = examine(environ, root=root)
    if faults:
        raise ConfigError(faults)
    return settings


def examine(environ: Mapping[str, str], *, root: Path = Path()) -> tuple[Settings, Sequence[str]]:
    """Read the settings, and list every fault. A faulty setting gets its default; a faulty target is left out."""
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    reading = Reading(given, root)
    settings = Settings.model_validate({**given, "SCALINGO_API_TOKEN": accounts_in(given)}, context=reading)
    return settings, reading.faults
