"""Parses and builds the URL of an operation, and interprets the API's answers about it. Pure.

A bearer must never be sent to a host that a caller named, so only region, app and id of an `operation_url` are kept.
https://developers.scalingo.com/operations and https://developers.scalingo.com/index#errors
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, urlsplit

from operations.errors import (
    AccessRefusedError,
    OperationMissingError,
    OpwatchError,
    RateLimitedError,
    TransientError,
)
from operations.model import EARLIEST, LATEST, Operation
from operations.telling.announcement import cut_error
from operations.text import encodable, first_line, plain

APP_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"
OPERATION_ID_PATTERN = r"^[0-9a-f]{24}$"
OFFICIAL_REGIONS = {
    "osc-fr1": "https://api.osc-fr1.scalingo.com",
    "osc-secnum-fr1": "https://api.osc-secnum-fr1.scalingo.com",
}
"""https://developers.scalingo.com/index#regions-endpoints"""

_PATH = re.compile(r"/v1/apps/([a-z0-9][a-z0-9-]{0,63})/operations/([0-9a-f]{24})/?")
_PLAIN_WORD = re.compile(r"[!-~]{1,80}")
_WORD_LIMIT = 80
_SAYING_LIMIT = 200
_DEFAULT_PORTS = {"https": 443, "http": 80}
LONGEST_URL = 500

Hide = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class OperationAddress:
    """The region, app and id of an operation."""

    region: str
    app: str
    operation_id: str


def parse_url(url: str, regions: Mapping[str, str]) -> OperationAddress:
    """Parse an operation's URL. Raises ValueError, with the reason, if it is not one of a configured region.

    `regions` maps names to base URLs. The official hosts are also known. `http://` is accepted, since Scalingo's own
    documentation shows it, but never dialled.
    """
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or set(url) & set(" \\?#"):
        message = "is not a URL of a Scalingo operation"
        raise ValueError(message)
    try:
        parts = urlsplit(url)
        host, port = _host_and_port(parts)
    except ValueError:
        message = "is not a URL"
        raise ValueError(message) from None
    if parts.scheme.lower() not in _DEFAULT_PORTS or "@" in parts.netloc:
        message = "must look like https://api.<region>.scalingo.com/v1/apps/<app>/operations/<id>"
        raise ValueError(message)
    region = _region_of(host, port, regions)
    if region is None:
        message = f"names a host that is not configured here ({host[:100]}); configured regions: {', '.join(regions)}"
        raise ValueError(message)
    path = _PATH.fullmatch(parts.path)
    if path is None:
        message = "must end in /v1/apps/<app>/operations/<id>, with an id of 24 hex digits"
        raise ValueError(message)
    return OperationAddress(region=region, app=path[1], operation_id=path[2])


def operation_url(base_url: str, app: str, operation_id: str) -> str:
    """Build the URL of an operation from a configured base and validated parts."""
    return f"{base_url}/v1/apps/{app}/operations/{operation_id}"


def parse_answer(
    status: int,
    body: bytes,
    *,
    operation_id: str,
    app: str,
    retry_after_s: float | None,
    hide: Hide = str,
) -> Operation:
    """Read the answer to "get an operation". Raises the matching OpwatchError unless it is a usable 200.

    `hide` removes the bearer from a text.
    """
    document = parse_json(body)
    if status == HTTPStatus.OK:
        found = document.get("operation") if isinstance(document, dict) else None
        if isinstance(found, dict) and _is_id(found.get("id"), operation_id) and _word(found.get("status"), hide):
            return _understood(found, hide)
        raise TransientError(f"the API answered 200 with a body that is not an operation{_glimpse(body, hide)}")
    raise _failure(status, document, body, app=app, retry_after_s=retry_after_s, hide=hide)


def parse_json(body: bytes) -> Any:
    """Read JSON, also with a byte order mark, bytes that are not UTF-8, or raw controls; None if it is invalid."""
    try:
        return json.loads(body.decode("utf-8-sig", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None


def _failure(
    status: int, document: Any, body: bytes, *, app: str, retry_after_s: float | None, hide: Hide
) -> OpwatchError:
    """Classify an answer other than 200."""
    said = _saying(document, hide)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError("the API asks for fewer requests (429)", retry_after_s=retry_after_s)
    if status == HTTPStatus.FORBIDDEN and isinstance(document, dict):
        return AccessRefusedError(
            f"the API refuses access to the app {app} (403{said}): invite the account of this API token "
            "as a collaborator of the app, or name the right account"
        )
    if status == HTTPStatus.NOT_FOUND and isinstance(document, dict) and "error" in document and "url" not in document:
        resource = _word(document.get("resource"), hide) or "operation"
        what = f"app: {app}" if resource == "app" else f"{resource} in the app {app}"
        return OperationMissingError(f"the API has no such {what} (404{said})")
    return TransientError(f"the API answered {status}{said or _glimpse(body, hide)}", retry_after_s=retry_after_s)


def _is_id(value: object, operation_id: str) -> bool:
    """Tell whether the answer is about the operation that we asked for: it has its id, or none."""
    return value in (None, "") or (isinstance(value, str) and value.lower() == operation_id)


def _understood(found: dict[str, Any], hide: Hide) -> Operation:
    error = found.get("error") if found["status"] == "error" else None  # documented to have no meaning otherwise
    text = plain(encodable(error)) if isinstance(error, str) else ""  # before the cut, which could tear a sequence
    cut = cut_error(text)
    return Operation(
        status=_status(found["status"], hide),
        type=_word(found.get("type"), hide),
        created_at=_time(found.get("created_at")),
        finished_at=_time(found.get("finished_at")),
        error=hide(cut) or None,
        error_truncated=cut != text,
    )


def _status(value: str, hide: Hide) -> str:
    """Clean a status. A changed one gets parentheses, so that it equals no status with a meaning."""
    cleaned = _word(value, hide) or ""
    return cleaned if cleaned == value else f"({cleaned})"


def _word(value: object, hide: Hide) -> str | None:
    if isinstance(value, str) and _PLAIN_WORD.fullmatch(value):  # almost all words are
        return hide(value)
    return hide(first_line(plain(encodable(value)), _WORD_LIMIT)) or None if isinstance(value, str) else None


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.utcoffset() is not None and EARLIEST <= at < LATEST else None
    except (ValueError, OverflowError):
        return None


def _saying(document: Any, hide: Hide) -> str:
    error = document.get("error") if isinstance(document, dict) else None
    text = hide(first_line(plain(encodable(error)), _SAYING_LIMIT)) if isinstance(error, str) else ""
    return f": {text}" if text else ""


def _glimpse(body: bytes, hide: Hide) -> str:
    text = hide(first_line(plain(body[:_SAYING_LIMIT].decode("utf-8", "replace")), _WORD_LIMIT))
    return f" ({text})" if text else ""


def _region_of(host: str, port: int | None, regions: Mapping[str, str]) -> str | None:
    # Configured hosts first: they override official ones. The default ports of both schemes are equal.
    for region, base_url in [*regions.items(), *OFFICIAL_REGIONS.items()]:
        if region in regions and _host_and_port(urlsplit(base_url)) == (host, port):
            return region
    return None


def _host_and_port(parts: SplitResult) -> tuple[str, int | None]:
    port = parts.port
    default = port is None or port == _DEFAULT_PORTS.get(parts.scheme.lower())
    return (parts.hostname or ""), None if default else port
