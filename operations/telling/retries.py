"""Backoff with jitter: when to retry. Pure."""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER_S = 24 * 3600.0
"""The longest `Retry-After` that is obeyed: one day."""

LONGEST_PAUSE_S = 27 * 3600.0
"""No retry is later. A delivery that is due later was stored before Redis's clock was set back."""

LEAST_PAUSE_S, PAUSE_SHARE = 1.0, 0.1

JITTER = 0.1
"""Delays vary by up to this share, so that many failed deliveries are not retried at the same instant."""


def next_attempt_at(
    failures: int, retry_after_s: float | None, delays_s: tuple[float, ...], *, now: datetime, jitter: float
) -> datetime | None:
    """Return when to retry after the `failures`-th failure; None to give up.

    `delays_s[k]` is the wait after failure k + 1. `jitter` is in -1…1. A receiver's `Retry-After` is the minimum wait,
    up to a day.
    """
    if failures > len(delays_s):
        return None
    asked_s = min(max(retry_after_s or 0.0, 0.0), LONGEST_RETRY_AFTER_S)
    wait_s = max(delays_s[failures - 1] * (1 + JITTER * jitter), asked_s)
    return now + timedelta(seconds=min(wait_s, LONGEST_PAUSE_S))


def pause(asked_s: float | None, lasted_s: float) -> timedelta:
    """Return how long to wait after a 429: as long as asked, up to a day, but a second at least.

    `lasted_s` is for how long the receiver has answered 429. A tenth of it is the minimum, too.
    """
    asked_s = min(asked_s or 0.0, LONGEST_RETRY_AFTER_S)
    return timedelta(seconds=max(LEAST_PAUSE_S, asked_s, lasted_s * PAUSE_SHARE))


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header as seconds from `now`; None if it is absent or unreadable.

    Both forms of RFC 9110 section 10.2.3: delay-seconds and HTTP-date.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
        return max(0.0, (at - now).total_seconds())
    except (TypeError, ValueError, OverflowError):  # not a date, a naive one ("-0000"), or out of range
        return None
