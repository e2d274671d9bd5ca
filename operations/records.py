"""The reading half of the store: records, what is due, lists and counts.

Records that cannot be understood are passed over: a version that knows more wrote them, and will deal with them. Any
method raises redis.RedisError when Redis is away.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis

from operations import groups, index
from operations.errors import NewerRecordError
from operations.index import COUNTERS, DUE, IN_FLIGHT, LIVE, OUTBOX, RECENT, milliseconds
from operations.lifecycle import LEASE
from operations.model import Delivery, Tracking, decode, tracking_id
from operations.posted import Live

WINDOW = 1000
"""How many due entries a round looks at to choose from."""

_CLOCK_TRUSTED_FOR_S = 10.0
_CLOCK_READINGS = 5
_PROMPT_S = 0.05
_BATCH = 200
_WINDOWS = 20

Position = tuple[float, str]
"""A place in the list of recent trackings: score and id."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tracking and the very bytes it was read from, which the next change must still find."""

    tracking: Tracking
    record: bytes


class Records:
    """What all processes share, to be read."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._due = connection.register_script((Path(__file__).parent / "due.lua").read_text())
        self._waiting: dict[str, tuple[float, Stored]] = {}
        self._clock_offset_s = 0.0
        self._clock_read_at = float("-inf")

    def now(self) -> datetime:
        """Tell the time by Redis' clock, never ahead of it, to the millisecond; asks Redis every 10 s."""
        if time.monotonic() - self._clock_read_at > _CLOCK_TRUSTED_FOR_S:
            self._read_clock()
        return _from_ms(int((time.monotonic() + self._clock_offset_s) * 1000))

    def _read_clock(self) -> None:
        """Ask for the time; what is read is as old as its answer was late, so the promptest of a few answers counts."""
        readings = []
        for _ in range(_CLOCK_READINGS):
            asked_at_s = time.monotonic()
            seconds, microseconds = self._redis.time()
            answered_at_s = time.monotonic()
            readings.append((answered_at_s - asked_at_s, seconds + microseconds / 1e6 - answered_at_s))
            if readings[-1][0] < _PROMPT_S:
                break
        self._clock_offset_s = min(readings)[1]
        self._clock_read_at = time.monotonic()

    def get(self, identity: str) -> Stored | None:
        """Read one tracking; None where there is none of this id."""
        record = self._redis.get(record_key(identity))
        return None if record is None else Stored(decode(record), record)

    def announcement(self, identity: str, run: int) -> bytes | None:
        """Read the body fixed at the outcome of this run."""
        body: bytes | None = self._redis.get(body_key(identity, run))
        return body

    def due_trackings(self, limit: int = WINDOW) -> list[Stored]:
        """List trackings whose next look is due, the most overdue first.

        What was due already when this was asked last, and has not moved since, is not read again.
        """
        now, due = self._due_members(DUE, 0, limit)
        known = {each: read for each, read in self._waiting.items() if read[0] == due.get(each)}
        for stored in self._read(set(due).difference(known)):
            if (at := stored.tracking.next_look_at) is not None and at <= now:
                known[stored.tracking.id] = milliseconds(at), stored
        self._waiting = known
        return [known[identity][1] for identity in due if identity in known]

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
            yield from (stored for stored in self._read(members[start : start + _BATCH]) if stored.tracking.claim)

    def due_deliveries(self) -> Iterator[tuple[Stored, tuple[str, ...]]]:
        """Walk through the trackings with deliveries that are due, most overdue first, and the ids of those deliveries.

        All of them up to a bound: what piles up for a target that hangs must not hide what waits for another.
        """
        for start in range(0, WINDOW * _WINDOWS, WINDOW):
            now, members = self._due_members(OUTBOX, start, WINDOW)
            for stored in self._read(dict.fromkeys(tracking_id(member) for member in members)):
                due = tuple(stored.tracking.delivery_id(d) for d in stored.tracking.outgoing if _is_due(d, now))
                if due:  # not when another round took it between our listing and our reading
                    yield stored, due
            if len(members) < WINDOW:
                return

    def due_live(self, limit: int) -> Iterator[tuple[Stored, Live]]:
        """Walk through the messages that are due to be brought up to date, the most overdue first, so many at most."""
        now, members = self._due_members(LIVE, 0, limit)
        for stored in self._read(dict.fromkeys(tracking_id(member) for member in members)):
            for message in stored.tracking.live:
                if message.due_at is not None and message.due_at <= now:
                    yield stored, message

    def live_size(self) -> int:
        """Count the messages that are kept up to date."""
        return int(self._redis.zcard(LIVE))

    def recent(self, after: Position | None = None, batch: int = _BATCH) -> Iterator[tuple[Position, Stored]]:
        """Walk through all trackings, newest first, from behind the position `after`; reads in batches as it goes."""
        last = after or (float("inf"), "")
        start = 0 if after is None else int(self._redis.zcount(RECENT, f"({after[0]:.0f}", "+inf"))
        while rows := self._redis.zrevrange(RECENT, start, start + batch - 1, withscores=True):
            positions = {name: (score, name) for member, score in rows for name in [member.decode(errors="replace")]}
            fresh = {identity: position for identity, position in positions.items() if position < last}
            for stored in self._read(fresh):
                yield fresh[stored.tracking.id], stored
            last = min(last, *positions.values())
            start += len(rows)

    def standing_in(self, key: str, limit: int, *, last: bool = False) -> list[Stored]:
        """List the trackings that stand first, or last, in a sorted set of the index."""
        members = self._redis.zrange(key, 0, limit - 1, desc=last)
        return list(self._read(dict.fromkeys(index.tracking_of(member.decode(errors="replace")) for member in members)))

    def size(self, key: str) -> int:
        """Count what is in a sorted set of the index."""
        return int(self._redis.zcard(key))

    def group(self, name: str) -> list[Tracking]:
        """List the members of a group, the newest first, as many as count (`groups.LARGEST`)."""
        found = self._redis.zrevrange(index.group_key(name), 0, groups.LARGEST - 1)
        members = [member.decode(errors="replace") for member in found]
        batches = (members[start : start + _BATCH] for start in range(0, len(members), _BATCH))
        # An older version, which knows no groups, may have started a member anew in another.
        return [each.tracking for batch in batches for each in self._read(batch) if each.tracking.group == name]

    def counters(self) -> dict[str, int]:
        """Read all counters: `looks:<result>`, `outcomes:<state>`, `deliveries:<target>:<state>`; see counters.py."""
        return {name.decode(): int(count) for name, count in self._redis.hgetall(COUNTERS).items()}

    def outbox_size(self) -> int:
        """Count the deliveries that are not finished."""
        return int(self._redis.zcard(OUTBOX))

    def in_flight(self) -> dict[str, int]:
        """Count the trackings being watched, by account, and by account and caller (`index.caller_field`)."""
        return {field.decode(): int(count) for field, count in self._redis.hgetall(IN_FLIGHT).items()}

    def retrying(self, targets: Iterable[str]) -> dict[str, int]:
        """Count the deliveries to each target that failed at least once and will be tried again."""
        return {target: int(self._redis.zlexcount(index.RETRYING, *index.retrying_range(target))) for target in targets}

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

    def _due_members(self, key: str, start: int, limit: int) -> tuple[datetime, dict[str, float]]:
        """List members that are due, the most overdue first, with their scores; and say what time it is."""
        now_ms, found = self._due(keys=[key], args=[start, limit])
        members = (member.decode(errors="replace") for member in found[::2])
        return _from_ms(now_ms), dict(zip(members, map(float, found[1::2]), strict=True))

    def _read(self, identities: Iterable[str]) -> Iterator[Stored]:
        """Read records in order, passing over what is gone, cannot be read, or is another tracking's."""
        wanted = list(identities)
        records = self._redis.mget([record_key(identity) for identity in wanted]) if wanted else ()
        for identity, record in zip(wanted, records, strict=True):
            tracking = None if record is None else _understood(record)
            if tracking is not None and tracking.id == identity:
                yield Stored(tracking, record)


def _seconds_until(first: list[tuple[bytes, float]], now_ms: float) -> float:
    return (first[0][1] - now_ms) / 1000 if first else float("inf")


def _is_due(delivery: Delivery, now: datetime) -> bool:
    return delivery.unfinished and delivery.next_attempt_at is not None and delivery.next_attempt_at <= now


def _understood(record: bytes) -> Tracking | None:
    try:
        return decode(record)
    except NewerRecordError:
        return None


def record_key(identity: str) -> str:
    """Name the key of a tracking's record."""
    return f"opwatch:tracking:{identity}"


def body_key(identity: str, run: int) -> str:
    """Name the key of the announcement's body, fixed at the outcome of this run."""
    return f"opwatch:announcement:{identity}:{run}"


def _from_ms(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
