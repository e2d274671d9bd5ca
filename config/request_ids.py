"""The id by which a request is found again: in its log line, in its answer, and in what the caller wrote down."""

import re
import secrets

HEADER = "X-Request-ID"
_SANE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def request_id_of(given: str | None) -> str:
    """Take the caller's id (or its router's) where it can stand in a log line as it is, else make one."""
    return given if given is not None and _SANE.fullmatch(given) else secrets.token_hex(8)
