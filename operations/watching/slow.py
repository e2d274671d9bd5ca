"""When an operation takes far longer than usual, and who hears of it before its end. Pure.

A warning is no verdict, and once in a run is enough. It is kept in the record beside the deliveries, not among them:
they tell the outcome, and are what callers see. An older version passes over what it does not know, and announces the
outcome as ever. What the outcome overtakes is not told any more.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from operations.model import Delivery, DeliveryState, Slow, State, Tracking, Usual
from operations.telling import announcement, audience
from operations.telling.audience import Rules
from operations.watching import pace

FEWEST_SAMPLES = 5
TIMES_P90 = 2.0
MARGIN_S = 10.0
"""With these one operation in 100 is warned of although nothing is wrong; one in 25 where durations vary wildly.

Simulated with 5 to 50 samples: log-normal of shape 0.6, and log-logistic of shape 2. The margin is for what is short:
that 1 s has become 3 s is no news.
"""


def slow_from_s(usual: Usual | None) -> float:
    """Say from what age on an operation is slow; infinity where too little is known."""
    if usual is None or usual.samples < FEWEST_SAMPLES:
        return float("inf")
    return TIMES_P90 * usual.p90 + MARGIN_S


def watched(tracking: Tracking, rules: Rules) -> Tracking:
    """Plan the warning if the look just made found the operation slow, else have a look made when it will be.

    Nothing changes where nobody wants to hear of it.
    """
    from_s, at, due = slow_from_s(tracking.usual), tracking.last_polled_at, tracking.next_look_at
    if tracking.state is not State.TRACKING or tracking.slow is not None or tracking.unanswered_since is not None:
        return tracking
    if from_s == float("inf") or at is None or due is None or not (targets := audience.warned(tracking, rules)):
        return tracking
    age_s = tracking.age_s(at)
    if age_s >= from_s:
        return replace(tracking, slow=_warning(tracking, targets, age_s, at))
    wait_s = max(pace.SHORTEST_WAIT_S, from_s - age_s)
    sooner = wait_s < (due - at).total_seconds()
    return replace(tracking, next_look_at=at + timedelta(seconds=wait_s)) if sooner else tracking


def _warning(tracking: Tracking, targets: tuple[str, ...], age_s: float, at: datetime) -> Slow:
    deliveries = tuple(
        Delivery(
            id=audience.delivery_id(tracking, tracking.run, None, name),
            target=name,
            run=tracking.run,
            state=DeliveryState.PENDING,
            next_attempt_at=at,
        )
        for name in targets
    )
    return Slow(body=announcement.slow_body_of(tracking, age_s, at).decode(), deliveries=deliveries)


def overtaken(tracking: Tracking) -> Tracking:
    """Drop what of the warning is not known to be told, since the watch has ended."""
    if tracking.slow is None:
        return tracking
    deliveries = tuple(_skipped(d) if d.unfinished else d for d in tracking.slow.deliveries)
    return replace(tracking, slow=replace(tracking.slow, deliveries=deliveries))


def _skipped(delivery: Delivery) -> Delivery:
    return replace(delivery, state=DeliveryState.SKIPPED, next_attempt_at=None, claim=None)
