"""The settings, typed, from the environment. All faults are reported at once.

`load` is a pure function of the environment and the targets file; each process calls it once, at its start.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from notifiers.targets import Target, build, described
from operations.audience import Rules
from operations.errors import ConfigError
from scalingo.address import OFFICIAL_REGIONS

T = TypeVar("T")

DEFAULT_ACCOUNT = "default"
DEFAULT_TARGETS_FILE = "config/targets.toml"
SHORTEST_TOKEN = 24
_ACCOUNT_VARIABLE = re.compile(r"SCALINGO_API_TOKEN_([A-Z0-9][A-Z0-9_]{0,40})")
_TOKEN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")


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
    SCALINGO_REQUESTS_PER_MINUTE: int = Field(default=50, ge=2, le=100_000)
    SLACK_WEBHOOK_URL: str | None = None
    SLACK_BOT_TOKEN: str | None = None
    SLACK_CHANNEL: str | None = None
    SLACK_API_URL: str | None = None
    WEBHOOK_URL: str | None = None
    WEBHOOK_SECRET: str | None = None
    OPWATCH_TARGETS_FILE: str | None = None
    OPWATCH_ALLOW_PRIVATE_TARGETS: bool = False
    OPWATCH_RETENTION_DAYS: float = Field(default=7, gt=0, le=365)
    OPWATCH_HEARTBEAT_URL: SecretStr | None = None
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    LOG_FORMAT: Literal["json", "text"] = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the operator decided. Secrets show neither in its repr nor in any fault."""

    redis_url: str
    tokens: Mapping[str, SecretStr]
    accounts: Mapping[str, SecretStr]
    region: str
    regions: Mapping[str, str]
    auth_url: str
    requests_per_minute: int
    targets: Mapping[str, Target]
    allow_private_targets: bool
    retention_days: float
    heartbeat_url: SecretStr | None
    log_level: str
    log_format: str

    def __repr__(self) -> str:
        """Show no values: the Redis URL holds a password."""
        return f"<Settings: accounts {sorted(self.accounts)}, targets {sorted(self.targets)}>"

    @property
    def rules(self) -> Rules:
        """The rule of every target, by name."""
        return {name: target.rule for name, target in self.targets.items()}


def load(environ: Mapping[str, str], *, root: Path = Path()) -> Settings:
    """Read the settings from `environ` and the targets file below `root`; raises ConfigError with every fault."""
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    if level := given.get("LOG_LEVEL"):
        given["LOG_LEVEL"] = level.upper()
    faults: list[str] = []
    try:
        fixed = Environment.model_validate(given)
    except ValidationError as error:
        faults += [fault.removeprefix("environment: ") for fault in described(error, "environment")]
        bad = {str(fault["loc"][0]) for fault in error.errors(include_input=False)}
        fixed = Environment.model_validate({name: value for name, value in given.items() if name not in bad})
    redis_url = _checked(faults, _redis_url, fixed)
    tokens = _checked(faults, _tokens, fixed)
    accounts = _checked(faults, _accounts, fixed, given)
    regions = _checked(faults, _regions, fixed)
    targets = _checked(faults, _targets, fixed, given, root)
    if faults or redis_url is None or tokens is None or accounts is None or regions is None or targets is None:
        raise ConfigError(faults)
    return Settings(
        redis_url=redis_url,
        tokens=tokens,
        accounts=accounts,
        region=fixed.SCALINGO_REGION,
        regions=regions,
        auth_url=fixed.SCALINGO_AUTH_URL.rstrip("/"),
        requests_per_minute=fixed.SCALINGO_REQUESTS_PER_MINUTE,
        targets=targets,
        allow_private_targets=fixed.OPWATCH_ALLOW_PRIVATE_TARGETS,
        retention_days=fixed.OPWATCH_RETENTION_DAYS,
        heartbeat_url=fixed.OPWATCH_HEARTBEAT_URL,
        log_level=fixed.LOG_LEVEL,
        log_format=fixed.LOG_FORMAT,
    )


def _checked(faults: list[str], read: Callable[..., T], *args: Any, **kwargs: Any) -> T | None:
    try:
        return read(*args, **kwargs)
    except ConfigError as error:
        faults += error.faults
        return None


def _redis_url(fixed: Environment) -> str:
    url = fixed.REDIS_URL or fixed.SCALINGO_REDIS_URL
    if url is None:
        raise ConfigError(["REDIS_URL: not set; give the URL of a Redis or Valkey (redis://…, rediss://… or unix://…)"])
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigError(["REDIS_URL: must begin with redis://, rediss:// or unix://"])
    return url


def _tokens(fixed: Environment) -> dict[str, SecretStr]:
    hint = f"set name:token,… with tokens of at least {SHORTEST_TOKEN} characters (ci:$(openssl rand -hex 24))"
    if fixed.OPWATCH_TOKENS is None:
        raise ConfigError([f"OPWATCH_TOKENS: not set, so nobody could call; {hint}"])
    tokens: dict[str, SecretStr] = {}
    faults = []
    for number, entry in enumerate(fixed.OPWATCH_TOKENS.get_secret_value().split(","), 1):
        name, colon, token = (part.strip() for part in entry.partition(":"))
        if not colon or _TOKEN_NAME.fullmatch(name) is None:
            faults.append(f"OPWATCH_TOKENS: entry {number} has no usable name; {hint}")
        elif len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            faults.append(f"OPWATCH_TOKENS: the token of {name!r} is too short or not plain ASCII; {hint}")
        elif name in tokens:
            faults.append(f"OPWATCH_TOKENS: the name {name!r} stands there twice")
        else:
            tokens[name] = SecretStr(token)
    if faults:
        raise ConfigError(faults)
    return tokens


def _accounts(fixed: Environment, given: Mapping[str, str]) -> dict[str, SecretStr]:
    accounts = {} if fixed.SCALINGO_API_TOKEN is None else {DEFAULT_ACCOUNT: fixed.SCALINGO_API_TOKEN}
    for name, value in given.items():
        if match := _ACCOUNT_VARIABLE.fullmatch(name):
            accounts[match[1].lower()] = SecretStr(value)
    if not accounts:
        raise ConfigError(["SCALINGO_API_TOKEN: not set; create an API token in Scalingo's dashboard (tk-us-…)"])
    return accounts


def _regions(fixed: Environment) -> dict[str, str]:
    named = {"SCALINGO_API_URL": fixed.SCALINGO_API_URL, "SCALINGO_AUTH_URL": fixed.SCALINGO_AUTH_URL}
    faults = [
        f"{name}: must be a URL such as https://api.osc-fr1.scalingo.com"
        for name, url in named.items()
        if url is not None and re.fullmatch(r"https?://[A-Za-z0-9.-]+(:\d+)?(/[\w./-]*)?", url) is None
    ]
    if faults:
        raise ConfigError(faults)
    default = fixed.SCALINGO_API_URL or OFFICIAL_REGIONS.get(
        fixed.SCALINGO_REGION, f"https://api.{fixed.SCALINGO_REGION}.scalingo.com"
    )
    return {**OFFICIAL_REGIONS, fixed.SCALINGO_REGION: default.rstrip("/")}


def _targets(fixed: Environment, given: Mapping[str, str], root: Path) -> dict[str, Target]:
    tables = _tables_from_environment(fixed)
    faults: list[str] = []
    from_file = _checked(faults, _tables_from_file, fixed, root) or {}
    faults += [f"target {name!r}: defined in the environment and in the file" for name in tables if name in from_file]
    targets = {}
    for name, table in {**from_file, **tables}.items():
        environ = given if name in from_file else {}
        target = _checked(faults, build, name, table, environ, plain_http=fixed.OPWATCH_ALLOW_PRIVATE_TARGETS)
        if target is not None:
            targets[name] = target
    if faults:
        raise ConfigError(faults)
    return targets or {"console": build("console", {"kind": "console"}, {}, plain_http=False)}


def _tables_from_environment(fixed: Environment) -> dict[str, dict[str, Any]]:
    slack = {
        "webhook_url": fixed.SLACK_WEBHOOK_URL,
        "bot_token": fixed.SLACK_BOT_TOKEN,
        "channel": fixed.SLACK_CHANNEL,
        "api_url": fixed.SLACK_API_URL,
    }
    webhook = {"url": fixed.WEBHOOK_URL, "secret": fixed.WEBHOOK_SECRET}
    tables = {}
    for name, fields in (("slack", slack), ("webhook", webhook)):
        own = {key: value for key, value in fields.items() if value is not None}
        if own:
            tables[name] = {"kind": name, **own}
    return tables


def _tables_from_file(fixed: Environment, root: Path) -> dict[str, dict[str, Any]]:
    path = root / (fixed.OPWATCH_TARGETS_FILE or DEFAULT_TARGETS_FILE)
    if fixed.OPWATCH_TARGETS_FILE is None and not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError([f"OPWATCH_TARGETS_FILE: {path} cannot be read: {error.strerror}"]) from None
    except ValueError as error:
        raise ConfigError([f"OPWATCH_TARGETS_FILE: {path} is not TOML: {error}"]) from None
    targets = document.pop("targets", {})
    if document or not isinstance(targets, dict) or not all(isinstance(table, dict) for table in targets.values()):
        raise ConfigError([f"OPWATCH_TARGETS_FILE: {path}: write each target as a table [targets.<name>]"])
    return targets
