"""What an answer to a message means: taken, worth another try, or refused for good. Pure.

https://www.rfc-editor.org/rfc/rfc9110#name-status-codes
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus

from notifiers.reasons import reason_of
from operations.errors import OpwatchError, PermanentError, RateLimitedError, TransientError
from operations.telling.retries import parse_retry_after

PAUSE_S = 30.0
"""How long to leave somebody alone who asks for fewer messages, and does not say for how long."""

_WORTH_ANOTHER_TRY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY})
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,80}")


def answered(status: int) -> str:
    """Name an answer in the standard's words, `410 Gone`: the receiver's own are a text from outside."""
    known = status in HTTPStatus.__members__.values()
    return f"{status} {HTTPStatus(status).phrase}" if known else f"{status}"


def judged(service: str, status: int, headers: Mapping[str, str], code: str, now: datetime) -> OpwatchError | None:
    """Say what is wrong with an answer to a message, None where it was taken (any 2xx).

    4xx are refusals: the message or the URL would have to change. `code` is the service's own word, where it gave one.
    """
    if status // 100 == 2:  # noqa: PLR2004
        return None
    said = f"{service} answered {answered(status)}" + (f": {code}" if code else "")
    pause_s, reason = parse_retry_after(headers.get("Retry-After"), now), reason_of(status)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(said, retry_after_s=PAUSE_S if pause_s is None else pause_s)
    if status // 100 == 4 and status not in _WORTH_ANOTHER_TRY:  # noqa: PLR2004
        return PermanentError(said, reason=reason)
    if status // 100 == 3:  # noqa: PLR2004
        said += "; redirects are refused: give its final URL"
    return TransientError(said, retry_after_s=pause_s, reason=reason)


def field(body: bytes, *path: str) -> object:
    """Find a field in an answer's JSON, None where it is not there or the answer is no JSON."""
    try:
        found = json.loads(body)
        for name in path:
            found = found[name]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    return found


def code(body: bytes, *path: str) -> str:
    """Give a service's own word for what is wrong; any longer text may hold anything, even what we sent."""
    found = field(body, *path)
    text = str(found) if isinstance(found, str | int) else ""
    return text if _CODE.fullmatch(text) else ""
