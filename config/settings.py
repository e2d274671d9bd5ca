"""The settings: each is one field of `Settings`, read from the environment variable that its alias names.

`load` reads nothing but the environment and the targets file. Each process calls it once, at its start.
A field's description is its text in docs/settings.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, SecretStr

from config import targets
from config.access import AccessSettings
from config.reading import Reading
from config.values import BaseUrl, EventsSecret, Listed, WebUrl, accounts_in, words_of
from notifiers.targets import Target
from operations.errors import ConfigError
from operations.telling.audience import Rules


class Settings(AccessSettings):
    """All settings. No secret shows in its repr or in a fault."""

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
    slack_mention: str | None = Field(
        None,
        alias="SLACK_MENTION",
        examples=["<!here>"],
        description="The [rule](settings.md#rules) `mention` of the target `slack`: whom a failure mentions.",
    )
    slack_on: Listed = Field(
        (),
        alias="SLACK_ON",
        examples=["failed,recovered"],
        description="The rule `on` of the target `slack`, separated by commas. The default is every verdict.",
    )
    slack_apps: Listed = Field(
        (),
        alias="SLACK_APPS",
        examples=["shop,shop-*"],
        description="The rule `apps` of the target `slack`, separated by commas. The default is every app.",
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
    targets_text: SecretStr | None = Field(
        None,
        alias="OPWATCH_TARGETS",
        examples=["targets = { chat = { kind = 'mattermost', webhook_url = 'https://chat.example.com/hooks/…' } }"],
        description="The text of a [targets file](settings.md#targets), for those who cannot add a file. Not together "
        "with a file.",
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
        """Build the targets, from several settings and the TOML with targets."""
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
