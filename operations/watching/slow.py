"""Warnings of operations that take much longer than usual. Pure.

A warning is not a verdict, and is sent at most once per run. The record keeps it apart from `deliveries`, which tell
the outcome and are shown to callers; an older version ignores it. When the run ends, unfinished warnings are skipped.
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
"""With these values, 1 normal operation in 100 causes a warning; 1 in 25 if durations vary widely.

Simulated with 5 to 50 samples: log-normal of shape 0.6, and log-logistic of shape 2. The margin is for short
operations: 3 s instead of 1 s needs no warning.
"""


def slow_from_s(usual: Usual | None) -> float:
    """Return the age from which an operation is slow; infinity if too few durations are known."""
    if usual is None or usual.samples < FEWEST_SAMPLES:
        return float("inf")
    return TIMES_P90 * usual.p90 + MARGIN_S


def watched(tracking: Tracking, rules: Rules) -> Tracking:
    """Plan the warning if the operation was slow at this look, else plan a look for when it will be.

    Nothing changes if no target wants warnings.
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
    """Skip the unfinished deliveries of the warning, if any, since the run has ended."""
    if tracking.slow is None:
        return tracking
    deliveries = tuple(
        replace(d, state=DeliveryState.SKIPPED, next_attempt_at=None, claim=None) if d.unfinished else d
        for d in tracking.slow.deliveries
    )
    return replace(tracking, slow=replace(tracking.slow, deliveries=deliveries))
