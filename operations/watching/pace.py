"""When to look, and at what first. Pure: time, state and what is known of durations come in, a decision goes out.

Scalingo allows 60 requests a minute, so looks are scarce and shared. One quantity decides both: for how long an
operation has probably been finished without our knowing. A look is due when that reaches `WORTH_A_LOOK_S`; when more
are due than the budget allows, the greatest goes first. With a hazard h the wait is about
`sqrt(2 * WORTH_A_LOOK_S / h)`: the optimal spacing in J. B. Keller, "Optimum checking schedules for systems subject to
random failure", Management Science 21 (1974). docs/performance.md measures it.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from operations.model import Tracking
from operations.watching.durations import Durations

WORTH_A_LOOK_S = 0.25
"""The price of a request, in seconds of probable delay: an operation alone is looked at seven to eleven times."""

SHORTEST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
SHORTEST_WAIT_UNANSWERED_S = 2.0
LONGEST_WAIT_UNANSWERED_S = 30.0
SHARE_OF_TIME_UNANSWERED = 0.5
Candidate = tuple[Tracking, Durations]


def next_look_at(tracking: Tracking, durations: Durations, now: datetime) -> datetime:
    """Say when to look next at a tracking just looked at; at its deadline at the latest, while that lies ahead.

    A look without an answer told nothing: it is made again soon, and ever less often while no answer comes.
    """
    if tracking.unanswered_since is not None:
        lasted_s = (now - tracking.unanswered_since).total_seconds()
        wait_s = _between(SHORTEST_WAIT_UNANSWERED_S, SHARE_OF_TIME_UNANSWERED * lasted_s, LONGEST_WAIT_UNANSWERED_S)
    else:
        so_far_s = tracking.age_s(now)
        wait_s = _between(SHORTEST_WAIT_S, durations.age_s(so_far_s, WORTH_A_LOOK_S) - so_far_s, LONGEST_WAIT_S)
    due = now + timedelta(seconds=wait_s)
    deadline = tracking.created_at + timedelta(seconds=tracking.timeout_s)
    return min(due, deadline) if now < deadline else due


def unseen_s(tracking: Tracking, durations: Durations, now: datetime) -> float:
    """Say for how many seconds an operation has probably been finished without our knowing."""
    seen = tracking.unanswered_since or tracking.last_polled_at
    return durations.unseen_s(0.0 if seen is None else tracking.age_s(seen), tracking.age_s(now))


def worth_s(tracking: Tracking, durations: Durations, now: datetime) -> float:
    """Say what a look is worth: the probable unseen time, and after a minute without one no less than that is due.

    It then grows as if an end were as probable at any time: what usually takes for ever may yet fail early.
    """
    seen = tracking.unanswered_since or tracking.last_polled_at or tracking.created_at
    minutes = (now - seen).total_seconds() / LONGEST_WAIT_S
    return max(unseen_s(tracking, durations, now), WORTH_A_LOOK_S * minutes * minutes if minutes > 0 else 0.0)


def by_worth(candidates: Iterable[Candidate], now: datetime) -> list[Tracking]:
    """Sort due trackings, the one most worth a look first.

    What an operation is worth is divided by how many it shares the budget with: those of the same app, times the apps
    of the same caller. So a mass restart slows itself down, not another's single deploy.
    """
    due = list(candidates)
    of_app = Counter(_app(tracking) for tracking, _ in due)
    apps = Counter(caller for caller, *_ in of_app)
    worth = {
        tracking.id: worth_s(tracking, durations, now) / (of_app[_app(tracking)] * apps[tracking.created_by])
        for tracking, durations in due
    }
    return sorted(
        (tracking for tracking, _ in due), key=lambda t: (-worth[t.id], t.last_polled_at or t.created_at, t.id)
    )


def _app(tracking: Tracking) -> tuple[str, str, str]:
    return tracking.created_by, tracking.region, tracking.app


def _between(least: float, value: float, most: float) -> float:
    return min(most, max(least, value))
