"""When a delivery is attempted: backoff with jitter, and the order of messages to a target. Pure."""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from operations.history import EARLIEST
from operations.model import Delivery, Tracking
from operations.telling.announcement import end_of

LONGEST_RETRY_AFTER_S = 24 * 3600.0
"""The longest `Retry-After` that is obeyed: one day."""

LONGEST_PAUSE_S = 27 * 3600.0
"""No retry is later. A delivery that is due later was stored before Redis's clock was set back."""

LONGEST_WAIT = timedelta(minutes=10)
"""If a 429 asks for a longer pause, the messages behind are tried in the meantime."""

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


def since(tracking: Tracking, delivery: Delivery) -> datetime:
    """Return the time that decides the order to a target: when the operation ended, or the alert was planned."""
    if delivery.alert is not None:
        return delivery.alert.at
    ended_at = end_of(tracking) if delivery.run == tracking.run else None
    return ended_at or tracking.created_at


def first(due: Delivery, older: Delivery | None, now: datetime) -> Delivery | None:
    """Choose which is attempted: the oldest that is `due`, or an `older` one that waits for its next attempt.

    The older one has one attempt ahead of its schedule for each newer one, unless the target asked for a pause; if that
    fails, the newer one goes. None: neither, because the target answered 429.
    """
    if older is None:
        return due
    if older.limited_since is not None:
        wait = (older.next_attempt_at or now) - now
        return older if wait <= timedelta() else due if wait > LONGEST_WAIT else None
    if older.asked_until is not None and older.asked_until > now:
        return due
    attempted_at = older.history[-1].at if older.history else EARLIEST
    return older if attempted_at < (due.next_attempt_at or now) else due
