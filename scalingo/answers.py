"""Reads the API's answers, whatever is tracked: cleans their words, and classifies failures. Pure.

https://developers.scalingo.com/index#errors
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from operations.errors import (
    AccessRefusedError,
    OperationMissingError,
    OpwatchError,
    RateLimitedError,
    TransientError,
)
from operations.history import EARLIEST, LATEST
from operations.model import Operation, Verdict
from operations.telling.announcement import cut_error
from operations.text import encodable, first_line, plain
from scalingo.api_kind import ApiKind

_PLAIN_WORD = re.compile(r"[!-~]{1,80}")
_WORD_LIMIT = 80
_SAYING_LIMIT = 200

Hide = Callable[[str], str]
"""Removes the bearer from a text."""


class Answer(NamedTuple):
    """An answer of the API. `hide` removes its bearer from texts: a debug page may echo the request's headers."""

    status: int
    body: bytes
    retry_after_s: float | None = None
    hide: Hide = str


def parse_answer(kind: ApiKind, answer: Answer, *, thing_id: str, app: str) -> Operation:
    """Read the answer about a thing. Raises the matching OpwatchError unless it is a usable 200."""
    document = parse_json(answer.body)
    if answer.status != HTTPStatus.OK:
        raise failure(answer, app=app, resource=kind.a_name.split()[-1])
    for name in kind.names:
        found = document.get(name) if isinstance(document, dict) else None
        if isinstance(found, dict) and _is_id(found.get("id"), thing_id) and word(found.get("status"), answer.hide):
            return _understood(kind, found, answer.hide)
    raise TransientError(f"the API answered 200 with a body that is not {kind.a_name}{_glimpse(answer)}")


def parse_json(body: bytes) -> Any:
    """Read JSON, also with a byte order mark, bytes that are not UTF-8, or raw controls; None if it is invalid."""
    try:
        return json.loads(body.decode("utf-8-sig", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None


def failure(answer: Answer, *, app: str, resource: str) -> OpwatchError:
    """Classify an answer other than 200; `resource` is what was asked for, if the answer does not name it."""
    document, status = parse_json(answer.body), answer.status
    said = _saying(document, answer.hide)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError("the API asks for fewer requests (429)", retry_after_s=answer.retry_after_s)
    if status == HTTPStatus.FORBIDDEN and isinstance(document, dict):
        return AccessRefusedError(
            f"the API refuses access to the app {app} (403{said}): invite the account of this API token "
            "as a collaborator of the app, or name the right account"
        )
    if status == HTTPStatus.NOT_FOUND and isinstance(document, dict) and "error" in document and "url" not in document:
        named = word(document.get("resource"), answer.hide) or resource
        what = f"app: {app}" if named == "app" else f"{named} in the app {app}"
        return OperationMissingError(f"the API has no such {what} (404{said})")
    return TransientError(f"the API answered {status}{said or _glimpse(answer)}", retry_after_s=answer.retry_after_s)


def _is_id(value: object, thing_id: str) -> bool:
    """Tell whether the answer is about what we asked for: it has its id, or none."""
    return value in (None, "") or (isinstance(value, str) and value.lower() == thing_id)


def _understood(kind: ApiKind, found: dict[str, Any], hide: Hide) -> Operation:
    status, outcome = _status(found["status"], hide), kind.outcome(found["status"])
    error = found.get("error") if outcome is Verdict.FAILED else None  # documented to have no meaning otherwise
    text = plain(encodable(error)) if isinstance(error, str) else ""  # before the cut, which could tear a sequence
    if not text and outcome is Verdict.FAILED and kind.status_is_cause:
        text = status
    cut = cut_error(text)
    return Operation(
        status=status,
        outcome=outcome,
        waiting=found["status"] in kind.waiting,
        type=kind.type or word(found.get("type"), hide),
        created_at=_time(found.get("created_at")),
        finished_at=_time(found.get("finished_at")),
        error=hide(cut) or None,
        error_truncated=cut != text,
    )


def _status(value: str, hide: Hide) -> str:
    """Clean a status. A changed one gets parentheses, so that it equals no status with a meaning."""
    cleaned = word(value, hide) or ""
    return cleaned if cleaned == value else f"({cleaned})"


def word(value: object, hide: Hide) -> str | None:
    """Clean a word of the API, like a status or a type; None if it is none."""
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


def _glimpse(answer: Answer) -> str:
    text = answer.hide(first_line(plain(answer.body[:_SAYING_LIMIT].decode("utf-8", "replace")), _WORD_LIMIT))
    return f" ({text})" if text else ""
