"""Finds what is wrong with REDIS_URL before anything connects. redis-py ignores much of it in silence."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from redis.connection import ConnectionPool
from redis.exceptions import RedisError

OPTIONS = ("db", "ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
"""Options that change how Redis is reached, and nothing that Opwatch relies on."""

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SCHEMES = ("redis", "rediss", "unix")
_HOST = re.compile(r"[A-Za-z0-9_.:-]+")
_DATABASE = re.compile(r"[0-9]{1,5}")
_ENCODED = "percent-encode special characters in the password"
_FORM = f"must be the URL of one server, as redis://…, rediss://… or unix://…; {_ENCODED}"


def fault_of(given: str) -> str:
    """Say what is wrong with the URL, without any part of it; an empty text if nothing is."""
    if "sentinel" in given.partition("://")[0].lower():
        return "names a Sentinel, which Opwatch cannot ask: give the address of the primary (redis://…)"
    if not (given.isprintable() and " " not in given and "#" not in given and _names_a_server(given)):
        return _FORM
    url = urlsplit(given)
    options = parse_qsl(url.query, keep_blank_values=True)
    if len(dict(options)) < len(options) or not dict(options).keys() <= set(OPTIONS):
        return f"each option may be given once, and only {', '.join(OPTIONS)}; {_ENCODED}"
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
