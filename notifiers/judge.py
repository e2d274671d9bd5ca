"""Classifies the HTTP answer to a message: accepted, transient failure or permanent failure.

https://www.rfc-editor.org/rfc/rfc9110#name-status-codes
"""

import base64
import binascii
import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from urllib.parse import unquote

from operations.errors import OpwatchError, PermanentError, RateLimitedError, Reason, TransientError
from operations.telling.retries import parse_retry_after

PAUSE_S = 30.0
"""The pause after a service asks for fewer messages without a Retry-After, in seconds."""

FINAL = frozenset(range(400, 500)) - {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY}
OVERLOADED: Mapping[int, float] = {HTTPStatus.TOO_MANY_REQUESTS: PAUSE_S}
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_CODED, _TOKEN, _WORD = re.compile(r"[\w+/=-]+", re.ASCII), re.compile(r"[\w-]+"), re.compile(r"[a-z]{1,9}")
_PART = 6
"""As many characters in a row of a secret count as a part of it."""


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
    """Classify the answer to a message. Returns None if it was accepted (any 2xx).

    `service` and `code` (see `answer_code`) are for the error's text. A status in `final` is a permanent failure.
    `overloaded` maps a status that asks for fewer messages to the pause in seconds, if the answer has no Retry-After.
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
    """Map the status of a failed attempt to a reason, the label in metrics."""
    if status == HTTPStatus.GONE:
        return Reason.GONE
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Reason.SERVER_ERROR
    return Reason.REFUSED


def in_words(status: int) -> str:
    """Name a status in the standard's words, `410 Gone`. The receiver's own words are not trusted."""
    known = status in HTTPStatus.__members__.values()
    return f"{status} {HTTPStatus(status).phrase}" if known else f"{status}"


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read a Retry-After header, in any case, as seconds from now."""
    given = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    return parse_retry_after(given, now)


def answer_field(body: bytes, *path: str) -> object:
    """Find a field in an answer's JSON; None if it is missing or the answer is not JSON."""
    try:
        found = json.loads(body)
        for name in path:
            found = found[name]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    return found


def answer_code(body: bytes, *path: str) -> str:
    """Return the service's error code. A longer text is dropped: it may hold anything, even what we sent."""
    found = answer_field(body, *path)
    text = str(found) if isinstance(found, str | int) else ""
    return text if _CODE.fullmatch(text) else ""


def repeats(text: str, settings: Iterable[str]) -> bool:
    """Tell whether a text of the receiver has anything of the settings in it: whole or in part, plain or encoded.

    A secret must not come back as an error code. Words such as `hooks` and `services` in a URL are no secrets, unless
    they are the whole text.
    """
    kept = list(settings)
    if not text:
        return False
    said, plain = _readings(text), [reading for setting in kept for reading in _readings(setting)]
    return _occurs([*said, *_decoded(text)], plain) or _occurs(
        said, [each for setting in kept for each in _decoded(setting)]
    )


def _occurs(said: Iterable[str], kept: Iterable[str]) -> bool:
    """Tell whether a text is in one of `kept`, or has a part of a secret in it, in any case of letters."""
    whole = [each.lower() for each in kept]
    tokens = [token for each in kept for token in _TOKEN.findall(each) if not _WORD.fullmatch(token)]
    parts = {token[at : at + _PART].lower() for token in tokens for at in range(len(token) - _PART + 1)}
    return any(
        any(text.lower() in each for each in whole)
        or any(text[at : at + _PART].lower() in parts for at in range(len(text) - _PART + 1))
        for text in said
    )


def _readings(text: str) -> list[str]:
    """Return a text as it is, and as a reader of URLs decodes it."""
    return list(dict.fromkeys((text, unquote(text))))


def _decoded(text: str) -> Iterator[str]:
    """Yield what base64, from any of its characters on, and hexadecimal digits in a text decode to."""
    for token in _CODED.findall(unquote(text)):
        digits = token.replace("-", "+").replace("_", "/").rstrip("=")
        for start in range(4):
            with suppress(binascii.Error):
                decoded = base64.b64decode(digits[start : len(digits) - (len(digits) - start) % 4])
                if len(decoded) >= _PART:
                    yield decoded.decode("latin-1")
        with suppress(ValueError):
            yield bytes.fromhex(token).decode("latin-1")
