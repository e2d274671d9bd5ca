"""The order of messages to a target that is told one message at a time: the oldest outcome first. Pure."""

from datetime import datetime, timedelta

from operations.history import EARLIEST
from operations.model import Delivery, Tracking
from operations.telling.announcement import end_of

LONGEST_WAIT = timedelta(minutes=10)
"""If a 429 asks for a longer pause, the messages behind are tried in the meantime."""


def since(tracking: Tracking, delivery: Delivery) -> datetime:
    """Return the time that decides the order: when the operation ended, or the alert was planned."""
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
