"""Counters, histograms and learned durations: the additions when one record replaces another. Pure.

One script writes the record and the additions, so none is lost or counted twice. All processes share one hash, whose
fields are the counters.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from operations.model import Delivery, DeliveryState, State, Tracking, Verdict
from operations.storage.index import ChangeKind, IndexChange, added
from operations.storage.learned import durations_keys
from operations.watching import looks
from operations.watching.durations import KEPT, LONGEST_S

ORPHANS = "orphans"
"""The counter of orphaned index entries and announcements that maintenance removed."""

_BEYOND = "+Inf"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations by label, in buckets up to each of `bounds_s` and one above, with their sum."""

    name: str
    bounds_s: tuple[float, ...]

    def additions(self, label: str, took_s: float) -> Iterator[tuple[str, int]]:
        """Yield (field, amount) for one duration. The sum is in milliseconds, since fields are integers."""
        bound = next((f"{bound_s:g}" for bound_s in self.bounds_s if took_s <= bound_s), _BEYOND)
        yield f"{self.name}:{label}:{bound}", 1
        yield f"{self.name}:{label}:ms", round(took_s * 1000)

    def read(self, counters: Mapping[str, int], label: str) -> tuple[list[tuple[str, float]], float]:
        """Return the cumulative buckets and the sum in seconds, as Prometheus needs them."""
        buckets, so_far = [], 0
        for bound in (*(f"{bound_s:g}" for bound_s in self.bounds_s), _BEYOND):
            so_far += counters.get(f"{self.name}:{label}:{bound}", 0)
            buckets.append((bound, float(so_far)))
        return buckets, counters.get(f"{self.name}:{label}:ms", 0) / 1000


DETECTION = Histogram("detection", (0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 900))
DWELL = Histogram("dwell", (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400))


def tally_changes(old: Tracking | None, new: Tracking) -> Iterator[IndexChange]:
    """List what to count when `new` replaces `old`: an outcome, and each finished delivery."""
    if old is not None and old.ended_at is None and new.ended_at is not None and not new.is_group:
        yield added(f"outcomes:{new.state}")
        yield added(f"outcomes-by-kind:{new.kind}:{new.state}")
        yield from _learned(new)
        if (late_s := detection_s(new)) is not None:
            yield from (added(*each) for each in DETECTION.additions(new.account, late_s))
    finished = {d.id for d in old.outgoing if not d.unfinished} if old is not None else set()
    for delivery in new.outgoing:
        if not delivery.unfinished and delivery.id not in finished:
            yield added(f"deliveries:{delivery.target}:{delivery.state}")
            if (waited_s := dwell_s(new, delivery)) is not None:
                yield from (added(*each) for each in DWELL.additions(delivery.target, waited_s))


def attempt(target: str, reason: str) -> str:
    """Return the counter of a target's attempts with this reason."""
    return f"attempts:{target}:{reason}"


def detection_s(tracking: Tracking) -> float | None:
    """Return how long after an operation's end, by the API's clock, Opwatch saw it.

    None if that says nothing about Opwatch: no end was seen, the API gives no time or one in the future, or the
    operation ended before the run began. Never negative: the API's clock may be slightly ahead.
    """
    operation, seen_at = tracking.operation, tracking.ended_at
    if operation is None or operation.finished_at is None or seen_at is None:
        return None
    if tracking.state not in (State.SUCCEEDED, State.FAILED):
        return None
    finished_at = operation.finished_at
    in_order = operation.created_at is None or operation.created_at <= finished_at
    if not (in_order and tracking.created_at <= finished_at <= seen_at + looks.CLOCK_SKEW):
        return None
    return max(0.0, (seen_at - finished_at).total_seconds())


def dwell_s(tracking: Tracking, delivery: Delivery) -> float | None:
    """Return how long a delivered outcome had waited since it was stored, or the delivery was requested later.

    None if it is not an outcome of the current run, or not delivered.
    """
    since = delivery.planned_at or tracking.ended_at
    told_at = delivery.ended_at if delivery.state is DeliveryState.DELIVERED else None
    if delivery.verdict is None or delivery.run != tracking.run or since is None or told_at is None:
        return None
    return max(0.0, (told_at - since).total_seconds())


def _learned(ended: Tracking) -> Iterator[IndexChange]:
    """Store the duration, unless it is impossible, or measures only how late the first look was."""
    took_s, at = ended.duration_s, ended.ended_at
    if took_s is None or took_s > LONGEST_S or at is None or ended.state not in (State.SUCCEEDED, State.FAILED):
        return
    if ended.polls > 1 or looks.api_duration_s(ended, Verdict(ended.state), at) is not None:
        for key in durations_keys(ended):
            yield IndexChange(ChangeKind.PUSH, key, f"{took_s:g}", KEPT)
