"""Counters, histograms and learned durations: what is added to them when one record replaces another. Pure.

One script writes the record and the additions, so that none is lost or counted twice. The counters are the fields of
one hash that all processes share.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from operations.model import Delivery, DeliveryState, State, Tracking, Verdict
from operations.storage.index import ChangeKind, IndexChange, added, durations_keys
from operations.watching import looks
from operations.watching.durations import KEPT, LONGEST_S

ORPHANS = "orphans"
"""The counter of index entries and announcements that maintenance removed because nothing stands for them."""

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


def tally_changes(old: Tracking | None, new: Tracking) -> Iterator[IndexChange]:
    """List what is to be counted when `new` takes the place of `old`: an outcome, and each delivery that finished."""
    if old is not None and old.ended_at is None and new.ended_at is not None:
        yield added(f"outcomes:{new.state}")
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
    if not (in_order and tracking.created_at <= finished_at <= seen_at + looks.CLOCK_SKEW):
        return None
    return max(0.0, (seen_at - finished_at).total_seconds())


def dwell_s(tracking: Tracking, delivery: Delivery) -> float | None:
    """Tell how long a delivered outcome had waited, since it was observed or later asked for.

    None of what tells no outcome of the current run, or has not been delivered.
    """
    since = delivery.planned_at or tracking.ended_at
    told_at = delivery.ended_at if delivery.state is DeliveryState.DELIVERED else None
    if delivery.verdict is None or delivery.run != tracking.run or since is None or told_at is None:
        return None
    return max(0.0, (told_at - since).total_seconds())


def _learned(ended: Tracking) -> Iterator[IndexChange]:
    """Remember how long it took, unless that is impossible, or says only how late the first look was."""
    took_s, at = ended.duration_s, ended.ended_at
    if took_s is None or took_s > LONGEST_S or at is None or ended.state not in (State.SUCCEEDED, State.FAILED):
        return
    if ended.polls > 1 or looks.api_duration_s(ended, Verdict(ended.state), at) is not None:
        for key in durations_keys(ended):
            yield IndexChange(ChangeKind.PUSH, key, f"{took_s:g}", KEPT)
