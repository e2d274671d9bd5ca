"""Reading what is stored: records, what is due, lists and counts.

Records that cannot be understood are passed over: a newer version wrote them, and will handle them. Any method raises
redis.RedisError when Redis is away.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import redis

from operations.errors import NewerRecordError
from operations.model import Delivery, LiveMessage, Tracking, tracking_id
from operations.storage import index
from operations.storage.clock import RedisClock, from_milliseconds
from operations.storage.codec import decode
from operations.storage.index import DUE, IN_FLIGHT, LIVE, OUTBOX, RECENT, body_key, milliseconds, record_key
from operations.storage.tallies import COUNTERS
from operations.telling import groups
from operations.telling.attempts import LEASE

WINDOW = 1000
"""How many due entries a round looks at to choose from."""

_BATCH = 200
_WINDOWS = 20


class Position(NamedTuple):
    """A place in the list of recent trackings."""

    score: float
    identity: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A tracking and the very bytes it was read from, which the next change must still find."""

    tracking: Tracking
    record: bytes


@dataclass(frozen=True, slots=True)
class Overdue:
    """How many have been due for long, and for how many seconds the first of all has been due."""

    count: int
    oldest_s: float


class _Waiting(NamedTuple):
    """A due tracking as it was read last; None where it cannot be."""

    score: float
    stored: Stored | None


class Records:
    """What all processes share, to be read."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._due = connection.register_script((Path(__file__).parent / "due.lua").read_text())
        self._waiting: dict[str, _Waiting] = {}
        self._clock = RedisClock(connection)

    def now(self) -> datetime:
        """Tell the time by Redis' clock."""
        return self._clock.now()

    def get(self, identity: str) -> Stored | None:
        """Read one tracking; None where there is none of this id."""
        record = self._redis.get(record_key(identity))
        return None if record is None else Stored(decode(record), record)

    def announcement(self, identity: str, run: int) -> bytes | None:
        """Read the body fixed at the outcome of this run."""
        body: bytes | None = self._redis.get(body_key(identity, run))
        return body

    def due_trackings(self, limit: int = WINDOW) -> list[Stored]:
        """List trackings whose next look is due, the most overdue first, so many at most.

        Those that cannot be read hide no others, up to a bound. What was due already when this was asked last, and has
        not moved since, is not read again.
        """
        known: dict[str, _Waiting] = {}
        found: list[Stored] = []
        for now, due in self._due_windows(DUE):
            waiting = {each: read for each, read in self._waiting.items() if read.score == due.get(each)}
            read = {stored.tracking.id: stored for stored in self.read(set(due).difference(waiting))}
            for identity, score in due.items():
                stored = waiting[identity].stored if identity in waiting else read.get(identity)
                if stored is not None and not _is_look_due(stored.tracking, now):
                    continue  # somebody claimed it between our listing and our reading
                known[identity] = _Waiting(score, stored)
                found += [stored] if stored is not None else []
            if len(found) >= limit:
                break
        self._waiting = known
        return found[:limit]

    def no_longer_due(self, identities: Iterable[str]) -> list[str]:
        """Tell which trackings are watched no more; one round trip, and no record is read."""
        asked = list(identities)
        pipe = self._redis.pipeline(transaction=False)
        for identity in asked:
            pipe.zscore(DUE, identity)
        return [identity for identity, score in zip(asked, pipe.execute(), strict=True) if score is None]

    def claimed_trackings(self) -> Iterator[Stored]:
        """Walk through the trackings that some worker has claimed for a look."""
        now_ms = milliseconds(self.now())
        lease_ms = now_ms + LEASE.total_seconds() * 1000
        members = [member.decode() for member in self._redis.zrangebyscore(DUE, now_ms, lease_ms)]
        for start in range(0, len(members), _BATCH):
            yield from (stored for stored in self.read(members[start : start + _BATCH]) if stored.tracking.claim)

    def due_deliveries(self) -> Iterator[tuple[Stored, tuple[str, ...]]]:
        """Walk through the trackings with deliveries that are due, most overdue first, and the ids of those deliveries.

        All of them up to a bound: what piles up for a target that hangs must not hide what waits for another.
        """
        for now, members in self._due_windows(OUTBOX):
            for stored in self.read(dict.fromkeys(tracking_id(member) for member in members)):
                due = tuple(d.id for d in stored.tracking.outgoing if _is_due(d, now))
                if due:  # not when another round took it between our listing and our reading
                    yield stored, due

    def due_live(self, limit: int) -> Iterator[tuple[Stored, LiveMessage]]:
        """Walk through the messages that are due to be brought up to date, the most overdue first, so many at most."""
        now, members = self._due_members(LIVE, 0, limit)
        for stored in self.read(dict.fromkeys(tracking_id(member) for member in members)):
            for message in stored.tracking.live:
                if message.due_at is not None and message.due_at <= now:
                    yield stored, message

    def recent(self, after: Position | None = None, batch: int = _BATCH) -> Iterator[tuple[Position, Stored]]:
        """Walk through all trackings, newest first, from behind the position `after`; reads in batches as it goes."""
        last = after or Position(float("inf"), "")
        start = 0 if after is None else int(self._redis.zcount(RECENT, f"({after.score:.0f}", "+inf"))
        while rows := self._redis.zrevrange(RECENT, start, start + batch - 1, withscores=True):
            positions = {
                name: Position(score, name) for member, score in rows for name in [member.decode(errors="replace")]
            }
            fresh = {identity: position for identity, position in positions.items() if position < last}
            for stored in self.read(fresh):
                yield fresh[stored.tracking.id], stored
            last = min(last, *positions.values())
            start += len(rows)

    def first_in(self, key: str, limit: int) -> list[Stored]:
        """List the trackings that stand first in a sorted set of the index."""
        members = self._redis.zrange(key, 0, limit - 1)
        return list(self.read(dict.fromkeys(index.tracking_of(member.decode(errors="replace")) for member in members)))

    def size(self, key: str) -> int:
        """Count what is in a sorted set of the index."""
        return int(self._redis.zcard(key))

    def group(self, name: str) -> list[Tracking]:
        """List the members of a group, the newest first, as many as count (`groups.LARGEST`)."""
        found = self._redis.zrevrange(index.group_key(name), 0, groups.LARGEST - 1)
        members = [member.decode(errors="replace") for member in found]
        batches = (members[start : start + _BATCH] for start in range(0, len(members), _BATCH))
        # An older version, which knows no groups, may have started a member anew in another.
        return [each.tracking for batch in batches for each in self.read(batch) if each.tracking.group == name]

    def counters(self) -> dict[str, int]:
        """Read all counters: `looks:<result>`, `outcomes:<state>`, `deliveries:<target>:<state>`; see tallies.py."""
        return {name.decode(): int(count) for name, count in self._redis.hgetall(COUNTERS).items()}

    def in_flight(self) -> dict[str, int]:
        """Count the trackings being watched, by account, and by account and caller (`index.caller_field`)."""
        return {field.decode(): int(count) for field, count in self._redis.hgetall(IN_FLIGHT).items()}

    def retrying(self, targets: Iterable[str]) -> dict[str, int]:
        """Count the deliveries to each target that failed at least once and will be tried again."""
        return {target: int(self._redis.zlexcount(index.RETRYING, *index.retrying_range(target))) for target in targets}

    def overdue(self, by: timedelta) -> tuple[Overdue, Overdue]:
        """Tell what looks have been due for longer than that without being claimed, and what deliveries."""
        now, pipe = self.now(), self._redis.pipeline(transaction=False)
        for key in (DUE, OUTBOX):
            pipe.zcount(key, "-inf", f"({milliseconds(now - by)}")
            pipe.zrange(key, 0, 0, withscores=True)
        looks, first_look, deliveries, first_delivery = pipe.execute()
        now_ms = milliseconds(now)
        oldest_s = [max(0.0, -_seconds_until(first, now_ms)) for first in (first_look, first_delivery)]
        return Overdue(looks, oldest_s[0]), Overdue(deliveries, oldest_s[1])

    def due_in_s(self) -> tuple[float, float]:
        """Tell in how many seconds the first look is due, and the first delivery; infinity where there is none.

        Zero or less where one is due by now. A message to bring up to date counts as a delivery. One round trip.
        """
        now_ms = milliseconds(self.now())
        pipe = self._redis.pipeline(transaction=False)
        pipe.zrange(DUE, 0, 0, withscores=True)
        pipe.zrange(OUTBOX, 0, 0, withscores=True)
        pipe.zrange(LIVE, 0, 0, withscores=True)
        look, delivery, edit = (_seconds_until(found, now_ms) for found in pipe.execute())
        return look, min(delivery, edit)

    def next_look_in_s(self) -> float:
        """Tell in how many seconds the first look is due that is not yet; infinity where there is none."""
        now_ms = milliseconds(self.now())
        found = self._redis.zrangebyscore(DUE, f"({now_ms:.0f}", "+inf", start=0, num=1, withscores=True)
        return _seconds_until(found, now_ms)

    def _due_windows(self, key: str) -> Iterator[tuple[datetime, dict[str, float]]]:
        for start in range(0, WINDOW * _WINDOWS, WINDOW):
            now, members = self._due_members(key, start, WINDOW)
            yield now, members
            if len(members) < WINDOW:
                return

    def _due_members(self, key: str, start: int, limit: int) -> tuple[datetime, dict[str, float]]:
        """List members that are due, the most overdue first, with their scores; and say what time it is."""
        now_ms, found = self._due(keys=[key], args=[start, limit])
        members = (member.decode(errors="replace") for member in found[::2])
        return from_milliseconds(now_ms), dict(zip(members, map(float, found[1::2]), strict=True))

    def read(self, identities: Iterable[str]) -> Iterator[Stored]:
        """Read records in order, passing over what is gone, cannot be read, or is another tracking's."""
        wanted = list(identities)
        records = self._redis.mget([record_key(identity) for identity in wanted]) if wanted else ()
        for identity, record in zip(wanted, records, strict=True):
            tracking = None if record is None else _understood(record)
            if tracking is not None and tracking.id == identity:
                yield Stored(tracking, record)


def _seconds_until(first: list[tuple[bytes, float]], now_ms: float) -> float:
    return (first[0][1] - now_ms) / 1000 if first else float("inf")


def _is_look_due(tracking: Tracking, now: datetime) -> bool:
    return tracking.next_look_at is not None and tracking.next_look_at <= now


def _is_due(delivery: Delivery, now: datetime) -> bool:
    return delivery.unfinished and delivery.next_attempt_at is not None and delivery.next_attempt_at <= now


def _understood(record: bytes) -> Tracking | None:
    try:
        return decode(record)
    except NewerRecordError:
        return None
