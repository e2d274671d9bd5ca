"""Every answer of the API understood: an operation, or the error that says what it means. Pure.

https://developers.scalingo.com/index#errors
"""

import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

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

_WORD_LIMIT = 80
_SAYING_LIMIT = 200


def operation(status: int, body: bytes, *, operation_id: str, app: str, retry_after_s: float | None) -> Operation:
    """Read the answer to "get an operation"; raises the OpwatchError that fits anything but a usable 200."""
    document = _json(body)
    if status == HTTPStatus.OK:
        found = document.get("operation") if isinstance(document, dict) else None
        if isinstance(found, dict) and found.get("id", operation_id) == operation_id and _word(found.get("status")):
            return _understood(found)
        raise TransientError(f"the API answered 200 with a body that is no operation{_glimpse(body)}")
    raise failure(status, document, body, app=app, retry_after_s=retry_after_s)


def failure(status: int, document: Any, body: bytes, *, app: str, retry_after_s: float | None) -> OpwatchError:
    """Say what an answer other than 200 means."""
    said = _saying(document)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError("the API asks for fewer requests (429)", retry_after_s=retry_after_s)
    if status == HTTPStatus.FORBIDDEN and isinstance(document, dict):
        return AccessRefusedError(
            f"the API refuses access to the app {app} (403{said}): invite the account of this API token "
            "as a collaborator of the app, or name the right account"
        )
    if status == HTTPStatus.NOT_FOUND and isinstance(document, dict) and "error" in document and "url" not in document:
        resource = _word(document.get("resource")) or "operation"
        return OperationMissingError(f"the API knows no such {resource} in the app {app} (404{said})")
    return TransientError(f"the API answered {status}{said or _glimpse(body)}", retry_after_s=retry_after_s)


def bearer(status: int, body: bytes) -> str | None:
    """Read the bearer out of the answer to a token exchange; None when it holds none."""
    document = _json(body)
    token = document.get("token") if status == HTTPStatus.OK and isinstance(document, dict) else None
    usable = isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token
    return token if usable and token else None


def _understood(found: dict[str, Any]) -> Operation:
    error = found.get("error") if found["status"] == "error" else None  # documented to mean nothing otherwise
    text = encodable(error) if isinstance(error, str) else None
    cut = None if text is None else cut_error(text)
    return Operation(
        status=_status(found["status"]),
        type=_word(found.get("type")),
        created_at=_time(found.get("created_at")),
        finished_at=_time(found.get("finished_at")),
        error=cut or None,
        error_truncated=cut != text,
    )


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _status(value: str) -> str:
    """Keep a status as it is; one that had to be cleaned stays unlike any that decides something."""
    cleaned = _word(value) or ""
    return cleaned if cleaned == value else f"({cleaned})"


def _word(value: object) -> str | None:
    return first_line(plain(encodable(value)), _WORD_LIMIT) or None if isinstance(value, str) else None


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.utcoffset() is not None and EARLIEST <= at < LATEST else None
    except (ValueError, OverflowError):
        return None


def _saying(document: Any) -> str:
    error = document.get("error") if isinstance(document, dict) else None
    text = first_line(plain(encodable(error)), _SAYING_LIMIT) if isinstance(error, str) else ""
    return f": {text}" if text else ""


def _glimpse(body: bytes) -> str:
    text = first_line(plain(body[:_SAYING_LIMIT].decode("utf-8", "replace")), _WORD_LIMIT)
    return f" ({text})" if text else ""
