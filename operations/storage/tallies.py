"""What is counted for the operator, by the fields of one hash that all processes add to. Pure.

Whatever records an event adds to its counters in the same script, so that none is lost or counted twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from operations.model import Delivery, DeliveryState, State, Tracking
from operations.watching.verdicts import CLOCK_SKEW

_BEYOND = "+Inf"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations by one label, counted in buckets up to each of `bounds_s` and one beyond, with their sum."""

    name: str
    bounds_s: tuple[float, ...]

    def additions(self, label: str, took_s: float) -> Iterator[tuple[str, int]]:
        """List what one duration adds to which field; the sum is in milliseconds, since fields are whole numbers."""
        bound = next((f"{bound_s:g}" for bound_s in self.bounds_s if took_s <= bound_s), _BEYOND)
        yield f"{self.name}:{label}:{bound}", 1
        yield f"{self.name}:{label}:ms", round(took_s * 1000)

    def read(self, counters: Mapping[str, int], label: str) -> tuple[list[tuple[str, float]], float]:
        """Give, as Prometheus wants them, each bucket with how many took at most so long, and the sum in seconds."""
        buckets, so_far = [], 0
        for bound in (*(f"{bound_s:g}" for bound_s in self.bounds_s), _BEYOND):
            so_far += counters.get(f"{self.name}:{label}:{bound}", 0)
            buckets.append((bound, float(so_far)))
        return buckets, counters.get(f"{self.name}:{label}:ms", 0) / 1000


DETECTION = Histogram("detection", (0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 900))
DWELL = Histogram("dwell", (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400))


def attempt(target: str, reason: str) -> str:
    """Name the counter of attempts to deliver to a target that ended for this reason."""
    return f"attempts:{target}:{reason}"


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
