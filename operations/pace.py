"""When to look, and at what first. Pure: time, state and budget come in, a decision goes out.

Scalingo allows 60 requests a minute, so looks are scarce and shared. For now: look again after a quarter of the time
watched so far, between 2 s and 30 s, stretched so that all operations in flight together keep to the budget; when the
budget is short, the operation unseen for longest goes first.
"""

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


def by_worth(candidates: Iterable[Tracking]) -> list[Tracking]:
    """Sort due trackings, the one most worth a look first: never seen or unseen for longest."""
    return sorted(candidates, key=lambda t: (t.last_polled_at or t.created_at, t.id))
