"""How long the two waits were that Opwatch answers for: until an end was seen, and until it was told. Pure."""

from operations.model import Delivery, DeliveryState, State, Tracking
from operations.verdicts import CLOCK_SKEW


def detection_s(tracking: Tracking) -> float | None:
    """Tell how long after an operation's end, by the API's clock, its end was seen.

    None where that says nothing of us: no end was seen, the API gives no time for it or one in the future, or it was
    over before the watch began. A clock of the API's that is a little ahead makes it 0, never less.
    """
    operation, seen_at = tracking.operation, tracking.ended_at
    if operation is None or operation.finished_at is None or seen_at is None:
        return None
    if tracking.state not in (State.SUCCEEDED, State.FAILED):
        return None
    finished_at = operation.finished_at
    in_order = operation.created_at is None or operation.created_at <= finished_at
    if not (in_order and tracking.created_at <= finished_at <= seen_at + CLOCK_SKEW):
        return None
    return max(0.0, (seen_at - finished_at).total_seconds())


def dwell_s(tracking: Tracking, delivery: Delivery) -> float | None:
    """Tell how long an outcome that was delivered had waited for that, since it was observed or later asked for.

    None of what tells no outcome of the current run, or has not been delivered.
    """
    since = delivery.planned_at or tracking.ended_at
    told_at = delivery.ended_at if delivery.state is DeliveryState.DELIVERED else None
    if delivery.verdict is None or delivery.run != tracking.run or since is None or told_at is None:
        return None
    return max(0.0, (told_at - since).total_seconds())
