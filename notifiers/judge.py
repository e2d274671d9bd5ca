"""What an HTTP answer to a message means: taken, worth another try, or refused for good.

https://www.rfc-editor.org/rfc/rfc9110#name-status-codes
"""

import json
import re
from collections.abc import Container, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from operations.errors import OpwatchError, PermanentError, RateLimitedError, Reason, TransientError
from operations.telling.retries import parse_retry_after

if TYPE_CHECKING:
    from aiohttp import ClientSession

PAUSE_S = 30.0
"""How long to leave a service alone that asks for fewer messages, and does not say for how long."""

FINAL = frozenset(range(400, 500)) - {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY}
OVERLOADED: Mapping[int, float] = {HTTPStatus.TOO_MANY_REQUESTS: PAUSE_S}
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,80}")


def judge(
    service: str,
    status: int,
    headers: Mapping[str, str],
    now: datetime,
    *,
    code: str = "",
    final: Container[int] = FINAL,
    overloaded: Mapping[int, float] = OVERLOADED,
) -> OpwatchError | None:
    """Classify the answer to a message; None where it was taken (any 2xx).

    `service` and `code` (see `answer_code`) are for the error's text. No other attempt follows a status in `final`.
    `overloaded` asks for fewer messages: it gives the pause in seconds where the answer has no Retry-After.
    """
    words = in_words(status)
    said = (f"{service} answered {words}" if service else words) + (f": {code}" if code else "")
    asked_s = retry_after_s(headers, now)
    if status in overloaded:
        reason = Reason.SERVER_ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Reason.RATE_LIMITED
        return RateLimitedError(said, retry_after_s=overloaded[status] if asked_s is None else asked_s, reason=reason)
    if status // 100 == 2:  # noqa: PLR2004
        return None
    if status in final:
        return PermanentError(said, reason=failure_reason(status))
    if status // 100 == 3:  # noqa: PLR2004
        said += "; redirects are refused: give its final URL"
    return TransientError(said, retry_after_s=asked_s, reason=failure_reason(status))


def failure_reason(status: int) -> Reason:
    """Sort an answer that did not take the message into the few reasons that metrics have."""
    if status == HTTPStatus.GONE:
        return Reason.GONE
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Reason.SERVER_ERROR
    return Reason.REFUSED


def in_words(status: int) -> str:
    """Name a status in the standard's words, `410 Gone`: the receiver's own words are a text from outside."""
    known = status in HTTPStatus.__members__.values()
    return f"{status} {HTTPStatus(status).phrase}" if known else f"{status}"


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read a Retry-After, however it is spelt, as seconds from now."""
    given = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    return parse_retry_after(given, now)


def answer_field(body: bytes, *path: str) -> object:
    """Find a field in an answer's JSON, None where it is missing or the answer is not JSON."""
    try:
        found = json.loads(body)
        for name in path:
            found = found[name]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    return found


def answer_code(body: bytes, *path: str) -> str:
    """Give a service's own code for what is wrong; a longer text may hold anything, even what we sent."""
    found = answer_field(body, *path)
    text = str(found) if isinstance(found, str | int) else ""
    return text if _CODE.fullmatch(text) else ""


async def check_host(url: SecretStr, http: "ClientSession") -> str:
    """Connect to the host of a URL as `send` does (resolver, address guard, TLS); raises what `http` raises.

    Only `/` is asked for, with HEAD: the URL's path is neither called nor shown.
    """
    parts = urlsplit(url.get_secret_value())
    root = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
    async with http.head(root, allow_redirects=False):
        pass
    return f"{parts.hostname} is reached; whether it takes messages, only posting shows (send-test)"
