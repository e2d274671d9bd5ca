"""What to do after an attempt to deliver: a decision as a value. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from operations.errors import OpwatchError, TransientError

LONGEST_RETRY_AFTER_S = 24 * 3600.0
"""A receiver that asks for longer is asked again after a day."""

JITTER = 0.1
"""Delays vary by up to this share, so that a hundred failed deliveries do not come back in one instant."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver took it."""


@dataclass(frozen=True, slots=True)
class Again:
    """Try again at `at`, because of `why`."""

    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No further attempt, because of `why`."""

    why: str


Decision = Delivered | Again | GiveUp


def after_attempt(
    failures: int, error: OpwatchError | None, delays_s: tuple[float, ...], *, now: datetime, jitter: float
) -> Decision:
    """Decide what follows an attempt, which ended well or with `error`: the `failures`-th failure, then.

    `delays_s[k]` is the wait after attempt k + 1; past the last one it is given up. `jitter` is in -1…1. A receiver's
    `Retry-After` is the least wait, up to a day.
    """
    if error is None:
        return Delivered()
    if not isinstance(error, TransientError):
        return GiveUp(str(error))
    if failures > len(delays_s):
        return GiveUp(f"gave up after {failures} failed attempts; the last one: {error}")
    asked_s = min(max(error.retry_after_s or 0.0, 0.0), LONGEST_RETRY_AFTER_S)
    wait_s = max(delays_s[failures - 1] * (1 + JITTER * jitter), asked_s)
    return Again(now + timedelta(seconds=wait_s), str(error))


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header as seconds from `now`, None where it is absent or unreadable.

    Both forms of RFC 9110 section 10.2.3: delay-seconds and HTTP-date.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
        return max(0.0, (at - now).total_seconds())
    except (TypeError, ValueError, OverflowError):  # no date, a naive one ("-0000"), or one out of range
        return None
