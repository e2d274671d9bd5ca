"""When to look, and at what first. Pure: time, state and budget come in, a decision goes out.

Scalingo allows 60 requests a minute, so looks are scarce and shared. For now: look again after a quarter of the time
watched so far, between 2 s and 30 s, stretched so that what is in flight comes up about as often as the budget allows,
shared equally by callers; when it is short, callers take turns, each with the operation unseen for longest.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from operations.model import Tracking

SHORTEST_WAIT_S = 2.0
LONGEST_WAIT_S = 30.0
SHARE_OF_TIME_WATCHED = 0.25


def wait_s(watched_s: float, *, in_flight: int, looks_per_s: float) -> float:
    """Say how many seconds to wait before the next look at an operation watched for `watched_s` seconds.

    Between 2 s and 30 s by itself; never shorter than `in_flight` operations sharing `looks_per_s` allow.
    """
    by_age = min(LONGEST_WAIT_S, max(SHORTEST_WAIT_S, watched_s * SHARE_OF_TIME_WATCHED))
    return max(by_age, in_flight / looks_per_s)


def next_look_at(tracking: Tracking, now: datetime, *, in_flight: int, looks_per_s: float) -> datetime:
    """Say when to look at this tracking next; at its deadline at the latest, while that lies ahead."""
    wait = wait_s((now - tracking.created_at).total_seconds(), in_flight=in_flight, looks_per_s=looks_per_s)
    due = now + timedelta(seconds=wait)
    deadline = tracking.created_at + timedelta(seconds=tracking.timeout_s)
    return min(due, deadline) if now < deadline else due


def crowd(own: int, *, total: int, callers: int) -> int:
    """Say how many in flight a caller's operations compete with, where `callers` share an account's looks equally.

    `own` and `total` are the operations in flight of this caller and of the account: one with few need not wait
    because another has many. All of the account's where a caller's own are not known.
    """
    return min(total, own * callers) if own > 0 else total


def by_worth(candidates: Iterable[Tracking]) -> list[Tracking]:
    """Sort due trackings, the one most worth a look first: each caller's in turn, never seen or unseen for longest."""
    turns: Counter[str] = Counter()
    ranked = []
    for tracking in sorted(candidates, key=_unseen_since):
        ranked.append((turns[tracking.created_by], tracking))
        turns[tracking.created_by] += 1
    return [tracking for _, tracking in sorted(ranked, key=lambda each: each[0])]


def _unseen_since(tracking: Tracking) -> tuple[datetime, str]:
    return tracking.last_polled_at or tracking.created_at, tracking.id
