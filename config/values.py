"""The types of settings: they check and convert values."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from redis.connection import ConnectionPool
from redis.exceptions import RedisError

from operations.text import url_fault

DEFAULT_ACCOUNT = "default"
DEFAULT_CALLER = "default"
SHORTEST_TOKEN = 24
_READ_ONLY = ":read"
_ACCOUNT_VARIABLE = re.compile(r"SCALINGO_API_TOKEN_([A-Z0-9][A-Z0-9_]{0,40})")
_TOKEN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")

REDIS_OPTIONS = ("db", "ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
"""Options that change how Redis is reached, and nothing that Opwatch relies on."""

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SCHEMES = ("redis", "rediss", "unix")
_HOST = re.compile(r"[A-Za-z0-9_.:-]+")
_DATABASE = re.compile(r"[0-9]{1,5}")
_ENCODED = "percent-encode special characters in the password"
_URL_FORM = f"must be the URL of one server, as redis://…, rediss://… or unix://…; {_ENCODED}"


class CallerToken(SecretStr):
    """A caller's token. One that is written as `token:read` may only read."""

    @property
    def may_change(self) -> bool:
        """Whether its caller may change anything."""
        return not super().get_secret_value().endswith(_READ_ONLY)

    def get_secret_value(self) -> str:
        """Return the token as its caller sends it."""
        return super().get_secret_value().removesuffix(_READ_ONLY)


def accounts_in(environ: Mapping[str, str]) -> dict[str, str]:
    """Find the API token of every account, by name: `SCALINGO_API_TOKEN_AGENCY` is that of `agency`."""
    own = environ.get("SCALINGO_API_TOKEN")
    named = {match[1].lower(): value for name, value in environ.items() if (match := _ACCOUNT_VARIABLE.fullmatch(name))}
    return ({DEFAULT_ACCOUNT: own} if own else {}) | named


def words_of(value: Any) -> Any:
    """Split a text at its spaces."""
    return value.split() if isinstance(value, str) else value


def _parts_of(value: Any) -> Any:
    """Split a text at its commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _accounts(tokens: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    if not tokens:
        raise ValueError("not set; create an API token in Scalingo's dashboard (tk-us-…)")
    if odd := [name for name, token in tokens.items() if not _is_plain(token.get_secret_value())]:
        raise ValueError(f"the API token of the account {', '.join(odd)} is not plain ASCII")
    return tokens


def _tokens(value: str | Mapping[str, str]) -> Mapping[str, str]:
    """Split `name:token,…`. A token without a name, as one-click deployments make it, is the default caller's.

    The `:read` after a token stays: `CallerToken` reads it.
    """
    hint = f"set name:token,… with tokens of at least {SHORTEST_TOKEN} characters (ci:$(openssl rand -hex 24))"
    if not isinstance(value, str):
        raise ValueError(f"not set, so no caller would have access; {hint}")  # noqa: TRY004 - pydantic takes only a ValueError
    tokens: dict[str, str] = {}
    faults = []
    for number, entry in enumerate(value.split(","), 1):
        name, colon, token = (part.strip() for part in entry.partition(":"))
        if not colon:
            name, token = DEFAULT_CALLER, name
        bare = token.removesuffix(_READ_ONLY)
        if _TOKEN_NAME.fullmatch(name) is None:
            faults.append(f"entry {number} has no usable name")
        elif len(bare) < SHORTEST_TOKEN or not _is_plain(bare):
            faults.append(f"the token of entry {number} is too short or not plain ASCII")
        elif name in tokens:
            faults.append(f"entry {number} repeats the name {name!r}")
        elif bare in (known.removesuffix(_READ_ONLY) for known in tokens.values()):
            faults.append(f"entry {number} repeats another entry's token")
        tokens[name] = token
    if faults:
        raise ValueError("; ".join([*faults, hint]))
    return tokens


def _is_plain(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token


def _redis_url(url: SecretStr) -> SecretStr:
    if not url:
        raise ValueError("not set; give the URL of a Redis or Valkey (redis://…, rediss://… or unix://…)")
    if fault := _redis_url_fault(url.get_secret_value()):
        raise ValueError(fault)
    return url


def _redis_url_fault(given: str) -> str:
    """Say what is wrong with the URL, without any part of it; an empty text if nothing is.

    redis-py ignores much of it in silence.
    """
    if "sentinel" in given.partition("://")[0].lower():
        return "names a Sentinel, which Opwatch cannot ask: give the address of the primary (redis://…)"
    if not (given.isprintable() and " " not in given and "#" not in given and _names_a_server(given)):
        return _URL_FORM
    url = urlsplit(given)
    options = parse_qsl(url.query, keep_blank_values=True)
    if len(dict(options)) < len(options) or not dict(options).keys() <= set(REDIS_OPTIONS):
        return f"each option may be given once, and only {', '.join(REDIS_OPTIONS)}; {_ENCODED}"
    databases = [value for name, value in options if name == "db"]
    if url.scheme != "unix" and (path := url.path.strip("/")):
        databases.append(path)
    if len(databases) > 1 or not all(map(_DATABASE.fullmatch, databases)):
        return f"its database must be one number, as in redis://host:6379/0; {_ENCODED}"
    try:
        ConnectionPool.from_url(given).make_connection()  # finds values that make no sense; dials nothing
    except (ValueError, TypeError, AttributeError, RedisError):
        return f"its options do not fit; the ssl_ ones need rediss://; {_ENCODED}"
    missing = [name for name, value in options if name in _FILES and not Path(value).is_file()]
    return f"no such file: {', '.join(missing)}" if missing else ""


def _names_a_server(given: str) -> bool:
    """Tell whether there are a known scheme and a host, or a socket's path."""
    try:
        url = urlsplit(given)
        port = url.port
    except ValueError:
        return False
    if given.partition("://")[0] not in _SCHEMES:
        return False
    if url.scheme == "unix":
        return url.path.startswith("/") and url.hostname is None and "," not in url.path
    return port != 0 and _HOST.fullmatch(url.hostname or "") is not None


def _events_secret(secret: SecretStr) -> SecretStr:
    if len(secret) < SHORTEST_TOKEN or not _is_plain(secret.get_secret_value()):
        raise ValueError(f"must have at least {SHORTEST_TOKEN} characters of plain ASCII (openssl rand -hex 24)")
    return secret


def _web_url(url: SecretStr) -> SecretStr:
    if fault := url_fault(url.get_secret_value()):
        raise ValueError(fault)
    return url


def _base_url(url: str) -> str:
    if fault := url_fault(url, base=True):
        raise ValueError(fault)
    return url.rstrip("/")


Accounts = Annotated[Mapping[str, SecretStr], AfterValidator(_accounts)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
CallerTokens = Annotated[Mapping[str, CallerToken], BeforeValidator(_tokens)]
EventsSecret = Annotated[SecretStr, AfterValidator(_events_secret)]
Listed = Annotated[tuple[str, ...], BeforeValidator(_parts_of)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
WebUrl = Annotated[SecretStr, AfterValidator(_web_url)]
