"""Which index entries a record stands for, and which differ between two records. Pure.

An unfinished tracking is always in `due`, an unfinished delivery always in `outbox`: not because somebody remembers to
put it there, but because the entries are derived from the record here and written along with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from operations.model import Tracking

DUE = "opwatch:due"
OUTBOX = "opwatch:outbox"
RECENT = "opwatch:recent"
EXPIRING = "opwatch:expiring"
IN_FLIGHT = "opwatch:in-flight"
COUNTERS = "opwatch:counters"

Scores = dict[str, float]
"""Members of a sorted set, and when each is due, in milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Move:
    """One entry of an index to write along with a record: a score (None removes) or an amount to add."""

    kind: str
    key: str
    member: str
    value: float | None


def moves(old: Tracking | None, new: Tracking, retention: timedelta) -> Iterator[Move]:
    """List the index entries to change when `new` takes the place of `old`; once ended, it is kept for `retention`."""
    if old is None or old.created_at != new.created_at:
        yield Move("z", RECENT, new.id, milliseconds(new.created_at))
    for key, of in ((DUE, _due), (OUTBOX, _outbox), (EXPIRING, partial(_expiring, retention=retention))):
        before, after = ({} if old is None else of(old)), of(new)
        yield from (Move("z", key, member, score) for member, score in after.items() if before.get(member) != score)
        yield from (Move("z", key, member, None) for member in before if member not in after)
    watched_before = old is not None and old.next_look_at is not None
    watched = new.next_look_at is not None
    if watched != watched_before:
        yield Move("h", IN_FLIGHT, new.account, 1 if watched else -1)
    if old is not None and old.ended_at is None and new.ended_at is not None:
        yield Move("h", COUNTERS, f"outcomes:{new.state}", 1)
    finished = {old.delivery_id(d) for d in old.deliveries if not d.unfinished} if old is not None else set()
    for delivery in new.deliveries:
        if not delivery.unfinished and new.delivery_id(delivery) not in finished:
            yield Move("h", COUNTERS, f"deliveries:{delivery.target}:{delivery.state}", 1)


def _expiring(tracking: Tracking, retention: timedelta) -> Scores:
    if tracking.ended_at is None or any(d.unfinished for d in tracking.deliveries):
        return {}
    last = max([tracking.ended_at, *(d.ended_at for d in tracking.deliveries if d.ended_at)])
    return {tracking.id: milliseconds(last + retention)}


def _due(tracking: Tracking) -> Scores:
    return {} if tracking.next_look_at is None else {tracking.id: milliseconds(tracking.next_look_at)}


def _outbox(tracking: Tracking) -> Scores:
    return {
        tracking.delivery_id(d): milliseconds(d.next_attempt_at)
        for d in tracking.deliveries
        if d.unfinished and d.next_attempt_at is not None
    }


def milliseconds(at: datetime) -> float:
    """Write a time as a score: milliseconds since 1970."""
    return round(at.timestamp() * 1000)
