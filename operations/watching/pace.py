"""Decides when to look, and at which operation first. Pure.

Scalingo allows 60 requests a minute, so looks are scarce. One quantity decides: for how long an operation has probably
been finished, unseen by us. A look is due when that reaches `WORTH_A_LOOK_S`. If more looks are due than the budget
allows, the largest value goes first. With a hazard h the wait is about
`sqrt(2 * WORTH_A_LOOK_S / h)`: the optimal spacing in J. B. Keller, "Optimum checking schedules for systems subject to
random failure", Management Science 21 (1974). docs/performance.md measures it.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from operations.kind import Kind
from operations.model import Tracking
from operations.watching.durations import Durations

WORTH_A_LOOK_S = 0.25
"""The price of a request, in seconds of probable delay. A single operation costs seven to eleven looks."""

WORTH_A_LOOK_AT_LONG_S = 0.33
"""The price for deployments, databases and backups, which take minutes.

A deployment of 5 min costs about 11 looks, or 21 if nothing is known of such durations.
"""

SHORTEST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
LONGEST_WAIT_AT_LONG_S = 75.0
SHORTEST_WAIT_UNANSWERED_S = 2.0
LONGEST_WAIT_UNANSWERED_S = 30.0
SHARE_OF_TIME_UNANSWERED = 0.5
Candidate = tuple[Tracking, Durations]


def next_look_at(tracking: Tracking, durations: Durations, now: datetime) -> datetime:
    """Return when to look next after a look, at the latest at the deadline if that is ahead.

    A look without an answer is repeated soon, and then less and less often.
    """
    if tracking.unanswered_since is not None:
        lasted_s = (now - tracking.unanswered_since).total_seconds()
        wait_s = _between(SHORTEST_WAIT_UNANSWERED_S, SHARE_OF_TIME_UNANSWERED * lasted_s, LONGEST_WAIT_UNANSWERED_S)
    else:
        so_far_s = tracking.age_s(now)
        price_s, longest_s = _price_and_longest_wait_s(tracking)
        wait_s = _between(SHORTEST_WAIT_S, durations.age_s(so_far_s, price_s) - so_far_s, longest_s)
    due = now + timedelta(seconds=wait_s)
    deadline = tracking.created_at + timedelta(seconds=tracking.timeout_s)
    return min(due, deadline) if now < deadline else due


def unseen_s(tracking: Tracking, durations: Durations, now: datetime) -> float:
    """Return for how many seconds an operation has probably been finished, unseen."""
    seen = tracking.unanswered_since or tracking.last_polled_at
    return durations.unseen_s(0.0 if seen is None else tracking.age_s(seen), tracking.age_s(now))


def worth_s(tracking: Tracking, durations: Durations, now: datetime) -> float:
    """Return what a look is worth: the probable unseen time. After the longest wait, one is always due.

    From then on the worth grows as if an end were equally probable at any time: a long operation may fail early.
    """
    seen = tracking.unanswered_since or tracking.last_polled_at or tracking.created_at
    price_s, longest_s = _price_and_longest_wait_s(tracking)
    waits = (now - seen).total_seconds() / longest_s
    return max(unseen_s(tracking, durations, now), price_s * waits * waits if waits > 0 else 0.0)


def by_worth(candidates: Iterable[Candidate], now: datetime) -> list[Tracking]:
    """Sort due trackings by worth, the highest first.

    An operation's worth is divided by the number of operations of its app, and of apps of its caller. So looks are
    shared fairly between callers and apps: a mass restart does not delay someone else's deploy. What only events tell
    of comes last.
    """
    due = list(candidates)
    of_app = Counter(_app(tracking) for tracking, _ in due)
    apps = Counter(caller for caller, *_ in of_app)
    worth = {
        tracking.id: worth_s(tracking, durations, now) / (of_app[_app(tracking)] * apps[tracking.created_by])
        for tracking, durations in due
    }
    return sorted(
        (tracking for tracking, _ in due),
        key=lambda t: (t.by_event, -worth[t.id], t.last_polled_at or t.created_at, t.id),
    )


def _price_and_longest_wait_s(tracking: Tracking) -> tuple[float, float]:
    if tracking.kind is Kind.OPERATION:
        return WORTH_A_LOOK_S, LONGEST_WAIT_S
    return WORTH_A_LOOK_AT_LONG_S, LONGEST_WAIT_AT_LONG_S


def _app(tracking: Tracking) -> tuple[str, str, str]:
    return tracking.created_by, tracking.region, tracking.app


def _between(least: float, value: float, most: float) -> float:
    return min(most, max(least, value))
