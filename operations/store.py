"""Everything Redis: records, the two sorted sets that are the truth, and the other things all processes share.

A record is one JSON string. `due` (trackings by the time of their next look), `outbox` (deliveries by the time of their
next attempt) and `expiring` are derived from the record and written by the same script, so that an unfinished tracking
is always in `due` and an unfinished delivery always in `outbox`. Every write is a compare-and-swap: it applies only
while the record is still the one the change was computed from. Any method raises redis.RedisError when Redis is away.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis

from operations import announcement
from operations.errors import NewerRecordError
from operations.index import COUNTERS, DUE, EXPIRING, IN_FLIGHT, OUTBOX, RECENT, Move, moves
from operations.model import Delivery, Tracking, decode, encode, tracking_id

WINDOW = 1000
"""How many due entries a round looks at to choose from."""

_KEYS = (DUE, OUTBOX, RECENT, EXPIRING, IN_FLIGHT, COUNTERS)
_CLOCK_TRUSTED_FOR_S = 10.0
_PURGED_AT_ONCE = 100
_BATCH = 200
_WINDOWS = 20


Position = tuple[float, str]
"""A place in the list of recent trackings: score and id."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tracking and the very bytes it was read from, which the next change must still find."""

    tracking: Tracking
    record: bytes


class Store:
    """The shared memory of all processes."""

    def __init__(self, connection: redis.Redis, *, retention: timedelta) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._retention = retention
        self._due = connection.register_script((Path(__file__).parent / "due.lua").read_text())
        self._swap = connection.register_script((Path(__file__).parent / "swap.lua").read_text())
        self._clock_offset_s = 0.0
        self._clock_read_at = float("-inf")

    def now(self) -> datetime:
        """Tell the time by Redis' clock, never ahead of it, to the millisecond; asks Redis every 10 s."""
        if time.monotonic() - self._clock_read_at > _CLOCK_TRUSTED_FOR_S:
            seconds, microseconds = self._redis.time()
            self._clock_read_at = time.monotonic()
            self._clock_offset_s = seconds + microseconds / 1e6 - self._clock_read_at
        return _from_ms(int((time.monotonic() + self._clock_offset_s) * 1000))

    def add(self, tracking: Tracking) -> Stored | None:
        """Store a new tracking, due at once; where its id is taken, return what is there and change nothing."""
        record = encode(tracking)
        found = self._write(tracking.id, None, tracking, b"", record, ())
        return None if found is None else Stored(decode(found), found)

    def get(self, identity: str) -> Stored | None:
        """Read one tracking; None where there is none of this id."""
        record = self._redis.get(_record_key(identity))
        return None if record is None else Stored(decode(record), record)

    def announcement(self, identity: str, run: int) -> bytes | None:
        """Read the body fixed at the outcome of this run."""
        body: bytes | None = self._redis.get(_body_key(identity, run))
        return body

    def update(
        self, stored: Stored, change: Callable[[Tracking], Tracking | None], counters: Sequence[str] = ()
    ) -> Stored | None:
        """Apply a pure change, computed anew for as long as others get in between; returns what is stored then.

        None when `change` gives None (it does not apply any more), or the tracking is gone. `counters` are added to
        with it. Nothing is written where nothing changes.
        """
        while True:
            after = change(stored.tracking)
            if after is None:
                return None
            if after == stored.tracking:
                return stored
            record = encode(after)
            found = self._write(after.id, stored.tracking, after, stored.record, record, counters)
            if found is None or found == record:  # the same: our own write, its answer lost and the command repeated
                return Stored(after, record)
            if not found:
                return None
            stored = Stored(decode(found), found)

    def due_trackings(self, limit: int = WINDOW) -> list[Stored]:
        """List trackings whose next look is due, the most overdue first."""
        now, members = self._due_members(DUE, 0, limit)
        found = self._read(members)
        return [each for each in found if (at := each.tracking.next_look_at) is not None and at <= now]

    def due_deliveries(self) -> Iterator[tuple[Stored, tuple[str, ...]]]:
        """Walk through the trackings with deliveries that are due, most overdue first, and the ids of those deliveries.

        All of them up to a bound: what piles up for a target that hangs must not hide what waits for another.
        """
        for start in range(0, WINDOW * _WINDOWS, WINDOW):
            now, members = self._due_members(OUTBOX, start, WINDOW)
            for stored in self._read(dict.fromkeys(tracking_id(member) for member in members)):
                due = tuple(stored.tracking.delivery_id(d) for d in stored.tracking.deliveries if _is_due(d, now))
                if due:  # not when another round took it between our listing and our reading
                    yield stored, due
            if len(members) < WINDOW:
                return

    def recent(self, after: Position | None = None) -> Iterator[tuple[Position, Stored]]:
        """Walk through all trackings, newest first, from behind the position `after`; reads in batches as it goes."""
        last = after or (float("inf"), "")
        start = 0 if after is None else int(self._redis.zcount(RECENT, f"({after[0]:.0f}", "+inf"))
        while rows := self._redis.zrevrange(RECENT, start, start + _BATCH - 1, withscores=True):
            positions = {member.decode(): (score, member.decode()) for member, score in rows}
            fresh = {identity: position for identity, position in positions.items() if position < last}
            for stored in self._read(fresh):
                yield fresh[stored.tracking.id], stored
            last = min(last, *positions.values())
            start += len(rows)

    def counters(self) -> dict[str, int]:
        """Read all counters: `looks:<result>`, `outcomes:<state>`, `deliveries:<target>:<state>`."""
        return {name.decode(): int(count) for name, count in self._redis.hgetall(COUNTERS).items()}

    def outbox_size(self) -> int:
        """Count the deliveries that are not finished."""
        return int(self._redis.zcard(OUTBOX))

    def in_flight(self) -> dict[str, int]:
        """Count the trackings being watched, by account."""
        return {account.decode(): int(count) for account, count in self._redis.hgetall(IN_FLIGHT).items()}

    def anything_due(self) -> tuple[bool, bool]:
        """Tell whether a look and whether a delivery is due, by Redis' clock, in one round trip."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.time()
        pipe.zrange(DUE, 0, 0, withscores=True)
        pipe.zrange(OUTBOX, 0, 0, withscores=True)
        (seconds, microseconds), *firsts = pipe.execute()
        now_ms = seconds * 1000 + microseconds / 1000
        looks, deliveries = (bool(first) and first[0][1] <= now_ms for first in firsts)
        return looks, deliveries

    def purge(self) -> int:
        """Delete trackings kept past their time; returns how many."""
        gone = 0
        _, members = self._due_members(EXPIRING, 0, _PURGED_AT_ONCE)
        for stored in self._read(members):
            tracking = stored.tracking
            removals = [Move("z", EXPIRING, tracking.id, None), Move("z", RECENT, tracking.id, None)]
            if self._run(tracking.id, stored.record, b"", b"", removals) is None:
                self._redis.delete(*(_body_key(tracking.id, run + 1) for run in range(tracking.run)))
                gone += 1
        return gone

    def _due_members(self, key: str, start: int, limit: int) -> tuple[datetime, list[str]]:
        now_ms, members = self._due(keys=[key], args=[start, limit])
        return _from_ms(now_ms), [member.decode() for member in members]

    def _read(self, identities: Iterable[str]) -> Iterator[Stored]:
        """Read records in order, passing over what is gone or was written by a version that knows more."""
        keys = [_record_key(identity) for identity in identities]
        for record in self._redis.mget(keys) if keys else ():
            tracking = None if record is None else _understood(record)
            if tracking is not None:
                yield Stored(tracking, record)

    def _write(
        self,
        identity: str,
        old: Tracking | None,
        new: Tracking,
        expected: bytes,
        record: bytes,
        counters: Sequence[str],
    ) -> bytes | None:
        body = b""
        if new.ended_at is not None and (old is None or old.ended_at is None):
            body = announcement.body_of(new)
        changes = [*moves(old, new, self._retention), *(Move("h", COUNTERS, name, 1) for name in counters)]
        return self._run(identity, expected, record, body, changes, run=new.run)

    def _run(
        self, identity: str, expected: bytes, record: bytes, body: bytes, changes: Iterable[Move], run: int = 1
    ) -> bytes | None:
        arguments: list[str | bytes] = [expected, record, body]
        for move in changes:
            value = "" if move.value is None else f"{move.value:.0f}"
            arguments += [move.kind, str(_KEYS.index(move.key) + 3), move.member, value]
        found: bytes | None = self._swap(keys=[_record_key(identity), _body_key(identity, run), *_KEYS], args=arguments)
        return found


def _is_due(delivery: Delivery, now: datetime) -> bool:
    return delivery.unfinished and delivery.next_attempt_at is not None and delivery.next_attempt_at <= now


def _understood(record: bytes) -> Tracking | None:
    try:
        return decode(record)
    except NewerRecordError:
        return None


def _record_key(identity: str) -> str:
    return f"opwatch:tracking:{identity}"


def _body_key(identity: str, run: int) -> str:
    return f"opwatch:announcement:{identity}:{run}"


def _from_ms(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
