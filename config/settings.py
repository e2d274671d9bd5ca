"""The settings, typed, from the environment. All faults are reported at once.

`load` is a pure function of the environment and the targets file; each process calls it once, at its start.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError
from redis.connection import ConnectionPool, parse_url
from redis.exceptions import RedisError

from config import targets
from config.environment import Environment
from notifiers.targets import Target, described
from operations.errors import ConfigError
from operations.telling.audience import Rules
from scalingo.address import OFFICIAL_REGIONS

T = TypeVar("T")

DEFAULT_ACCOUNT = "default"
DEFAULT_CALLER = "default"
SHORTEST_TOKEN = 24
_ACCOUNT_VARIABLE = re.compile(r"SCALINGO_API_TOKEN_([A-Z0-9][A-Z0-9_]{0,40})")
_BASE_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?(/[\w./-]*)?")
_TOKEN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the operator decided. Secrets show neither in its repr nor in any fault."""

    redis_url: SecretStr
    tokens: Mapping[str, SecretStr]
    accounts: Mapping[str, SecretStr]
    region: str
    regions: Mapping[str, str]
    auth_url: str
    requests_per_minute: int
    targets: Mapping[str, Target]
    alert_target: str | None
    allow_private_targets: bool
    max_in_flight: int
    retention_days: float
    heartbeat_url: SecretStr | None
    log_level: str
    log_format: str

    def __repr__(self) -> str:
        """Show what is configured, and no values."""
        return f"<Settings: accounts {sorted(self.accounts)}, targets {sorted(self.targets)}>"

    @property
    def rules(self) -> Rules:
        """The rule of every target, by name."""
        return {name: target.rule for name, target in self.targets.items()}


def load(environ: Mapping[str, str], *, root: Path = Path()) -> Settings:
    """Read the settings from `environ` and the targets file below `root`; raises ConfigError with every fault."""
    settings, faults = examine(environ, root=root)
    if faults:
        raise ConfigError(faults)
    return settings


def examine(environ: Mapping[str, str], *, root: Path = Path()) -> tuple[Settings, Sequence[str]]:
    """Read what can be read, and list every fault; what is faulty is left out, or has its default."""
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
    redis_url = _checked(faults, _redis_url, fixed) or SecretStr("")
    tokens = _checked(faults, _tokens, fixed) or {}
    accounts = _checked(faults, _accounts, fixed, given) or {}
    regions = _checked(faults, _regions, fixed) or {}
    read_targets, target_faults = targets.read(fixed, given, root)
    faults += target_faults
    if not target_faults:
        _checked(faults, _alert_target, fixed, read_targets)
    settings = Settings(
        redis_url=redis_url,
        tokens=tokens,
        accounts=accounts,
        region=fixed.SCALINGO_REGION,
        regions=regions,
        auth_url=fixed.SCALINGO_AUTH_URL.rstrip("/"),
        requests_per_minute=fixed.SCALINGO_REQUESTS_PER_MINUTE,
        targets=read_targets,
        alert_target=fixed.OPWATCH_ALERT_TARGET,
        allow_private_targets=fixed.OPWATCH_ALLOW_PRIVATE_TARGETS,
        max_in_flight=fixed.OPWATCH_MAX_IN_FLIGHT,
        retention_days=fixed.OPWATCH_RETENTION_DAYS,
        heartbeat_url=_checked(faults, _heartbeat_url, fixed),
        log_level=fixed.LOG_LEVEL,
        log_format=fixed.LOG_FORMAT,
    )
    return settings, faults


def _checked(faults: list[str], read: Callable[..., T], *args: Any, **kwargs: Any) -> T | None:
    try:
        return read(*args, **kwargs)
    except ConfigError as error:
        faults += error.faults
        return None


def _is_web_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _alert_target(fixed: Environment, known: Mapping[str, Target]) -> None:
    if fixed.OPWATCH_ALERT_TARGET not in (None, *known):  # what stands there may be a URL, which is a secret
        raise ConfigError([f"OPWATCH_ALERT_TARGET: names no target there is; there are: {', '.join(sorted(known))}"])


def _heartbeat_url(fixed: Environment) -> SecretStr | None:
    url = fixed.OPWATCH_HEARTBEAT_URL
    if url is not None and not _is_web_url(url.get_secret_value()):
        raise ConfigError(["OPWATCH_HEARTBEAT_URL: must be a URL that begins with https://"])
    return url


def _redis_url(fixed: Environment) -> SecretStr:
    url = fixed.REDIS_URL or fixed.SCALINGO_REDIS_URL
    if url is None:
        raise ConfigError(["REDIS_URL: not set; give the URL of a Redis or Valkey (redis://…, rediss://… or unix://…)"])
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
        ConnectionPool.from_url(url).make_connection()  # options that nobody knows show only here; nothing is dialled
    except (ValueError, TypeError, AttributeError, RedisError):
        fault = "REDIS_URL: is no URL redis://…, rediss://… or unix://… (percent-encode what is special in a password)"
        raise ConfigError([fault]) from None
    return SecretStr(url)


def _tokens(fixed: Environment) -> dict[str, SecretStr]:
    hint = f"set name:token,… with tokens of at least {SHORTEST_TOKEN} characters (ci:$(openssl rand -hex 24))"
    if fixed.OPWATCH_TOKENS is None:
        raise ConfigError([f"OPWATCH_TOKENS: not set, so nobody could call; {hint}"])
    tokens: dict[str, SecretStr] = {}
    faults = []
    for number, entry in enumerate(fixed.OPWATCH_TOKENS.get_secret_value().split(","), 1):
        name, colon, token = (part.strip() for part in entry.partition(":"))
        if not colon:  # a bare secret, as one-click deployments generate it
            name, token = DEFAULT_CALLER, name
        if _TOKEN_NAME.fullmatch(name) is None:
            faults.append(f"OPWATCH_TOKENS: entry {number} has no usable name; {hint}")
        elif len(token) < SHORTEST_TOKEN or not _is_plain(token):
            faults.append(f"OPWATCH_TOKENS: the token of entry {number} is too short or not plain ASCII; {hint}")
        elif name in tokens:
            faults.append(f"OPWATCH_TOKENS: the name {name!r} stands there twice")
        else:
            tokens[name] = SecretStr(token)
    if faults:
        raise ConfigError(faults)
    return tokens


def _is_plain(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token


def _accounts(fixed: Environment, given: Mapping[str, str]) -> dict[str, SecretStr]:
    accounts = {} if fixed.SCALINGO_API_TOKEN is None else {DEFAULT_ACCOUNT: fixed.SCALINGO_API_TOKEN}
    for name, value in given.items():
        if match := _ACCOUNT_VARIABLE.fullmatch(name):
            accounts[match[1].lower()] = SecretStr(value)
    odd = [name for name, token in accounts.items() if not _is_plain(token.get_secret_value())]
    if odd:
        raise ConfigError([f"SCALINGO_API_TOKEN: that of the account {name} is not plain ASCII" for name in odd])
    if not accounts:
        raise ConfigError(["SCALINGO_API_TOKEN: not set; create an API token in Scalingo's dashboard (tk-us-…)"])
    return accounts


def _regions(fixed: Environment) -> dict[str, str]:
    named = {"SCALINGO_API_URL": fixed.SCALINGO_API_URL, "SCALINGO_AUTH_URL": fixed.SCALINGO_AUTH_URL}
    faults = [
        f"{name}: must be a URL such as https://api.osc-fr1.scalingo.com"
        for name, url in named.items()
        if url is not None and not (_BASE_URL.fullmatch(url) and _is_web_url(url))
    ]
    if faults:
        raise ConfigError(faults)
    default = fixed.SCALINGO_API_URL or OFFICIAL_REGIONS.get(
        fixed.SCALINGO_REGION, f"https://api.{fixed.SCALINGO_REGION}.scalingo.com"
    )
    return {**OFFICIAL_REGIONS, fixed.SCALINGO_REGION: default.rstrip("/")}
