"""Encodes and reads records: single ones, due ones, and groups.

Unreadable records are skipped: a newer version wrote them, and will handle them. Every method raises redis.RedisError
if Redis is away.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

import redis
from pydantic import TypeAdapter

from operations.errors import NewerRecordError
from operations.kind import Kind
from operations.model import Delivery, LiveMessage, Tracking
from operations.storage import index
from operations.storage.clock import Clock, from_milliseconds, milliseconds
from operations.storage.due import DueSets, is_due
from operations.storage.index import DUE, GROUPS, LIVE, OUTBOX, body_key, record_key, tracking_of
from operations.telling import groups
from operations.telling.alerts import alert_id
from operations.telling.attempts import LEASE, each_delivery
from operations.telling.audience import delivery_id
from operations.telling.live import live_id

RECORD_VERSION = 3
"""The newest version of records that this code reads. It does not change records of a newer version."""

RECORD_VERSION_OF_KIND = {kind: 1 if kind is Kind.OPERATION else 2 for kind in Kind}
"""Version 0.1.0 reads version 1, and knows only operations: it would announce any other kind as lost."""

_WIRE = TypeAdapter(Tracking)


WINDOW = 1000
"""From how many due entries a round chooses."""

_BATCH = 200
_WINDOWS = {DUE: 60, OUTBOX: 20}
_LARGEST_PULL = 2000


@dataclass(frozen=True, slots=True)
class Stored:
    """A tracking and the bytes it was read from, which the compare-and-swap expects."""

    tracking: Tracking
    record: bytes


class _Waiting(NamedTuple):
    """A due tracking as last read; None if it is unreadable."""

    score: float
    stored: Stored | None


class Records:
    """Reads what all processes share."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._due = DueSets(connection)
        self._waiting: dict[str, _Waiting] = {}
        self._clock = Clock(connection)

    def now(self) -> datetime:
        """Return the time by Redis's clock, which all processes share."""
        return self._clock.now()

    def get(self, identity: str) -> Stored | None:
        """Read one tracking; None if no tracking has this id."""
        record = self._redis.get(record_key(identity))
        return None if record is None else Stored(decode(record), record)

    def announcement(self, identity: str, run: int) -> bytes | None:
        """Read the announcement's body of this run, if it has ended."""
        body: bytes | None = self._redis.get(body_key(identity, run))
        return body

    def due_trackings(self, limit: int = WINDOW) -> list[Stored]:
        """List at most `limit` trackings whose next look is due, the most overdue first.

        Unreadable ones hide no others, up to a bound. Entries that have not changed since the last call are not read
        again.
        """
        known: dict[str, _Waiting] = {}
        found: list[Stored] = []
        for now, due in self._due_windows(DUE):
            kept = {identity: self._waiting.get(identity) for identity in due}
            unread = [each for each, waiting in kept.items() if waiting is None or waiting.score != due[each]]
            read = {stored.tracking.id: stored for stored in self.read(unread)}
            for identity in unread:
                stored = read.get(identity)
                is_here = stored is None or is_due(DUE, stored.tracking.next_look_at, now)
                kept[identity] = _Waiting(due[identity], stored) if is_here else None  # else claimed after we listed it
            here = {identity: waiting for identity, waiting in kept.items() if waiting is not None}
            known |= here
            found += [waiting.stored for waiting in here.values() if waiting.stored is not None]
            if len(found) >= limit:
                break
        self._waiting = known
        return found[:limit]

    def claimed_trackings(self) -> Iterator[Stored]:
        """Yield the trackings that a worker has claimed for a look."""
        now_ms = milliseconds(self.now())
        lease_ms = now_ms + LEASE.total_seconds() * 1000
        members = [member.decode() for member in self._redis.zrangebyscore(DUE, now_ms, lease_ms)]
        for start in range(0, len(members), _BATCH):
            yield from (stored for stored in self.read(members[start : start + _BATCH]) if stored.tracking.claim)

    def deliveries_ahead(self) -> Iterator[Stored]:
        """Yield the trackings with deliveries that are due later than a lease from now, up to a bound."""
        from_ms = milliseconds(self.now() + LEASE)
        found = self._redis.zrangebyscore(OUTBOX, from_ms, "+inf", start=0, num=_LARGEST_PULL)
        yield from self.read(dict.fromkeys(tracking_of(member.decode()) for member in found))

    def due_deliveries(self) -> Iterator[tuple[Stored, tuple[str, ...]]]:
        """Yield the trackings with due deliveries, the most overdue first, and the ids of those deliveries.

        It yields all, up to a bound: many deliveries to a target that hangs must not hide those to another.
        """
        for now, members in self._due_windows(OUTBOX):
            for stored in self.read(dict.fromkeys(map(tracking_of, members))):
                unfinished = (d for d in stored.tracking.outgoing if d.unfinished)
                due = tuple(d.id for d in unfinished if is_due(OUTBOX, d.next_attempt_at, now))
                if due:  # none if another round claimed them after we listed them
                    yield stored, due

    def due_live(self, limit: int) -> Iterator[tuple[Stored, LiveMessage]]:
        """Yield at most `limit` live messages that are due, the most overdue first."""
        now, members = self._due_members(LIVE, 0, limit)
        for stored in self.read(dict.fromkeys(map(tracking_of, members))):
            for message in stored.tracking.live:
                if is_due(LIVE, message.due_at, now):
                    yield stored, message

    def due_groups(self, limit: int, skip: int = 0) -> dict[str, float]:
        """List at most `limit` groups that are due for a check, the most overdue first, with their scores."""
        return self._due_members(GROUPS, skip, limit)[1]

    def group(self, name: str) -> list[Tracking]:
        """List the members of a group, newest first, at most `groups.LARGEST`."""
        try:  # no pipeline: the web process's circuit breaker guards single commands
            found = self._redis.zrevrange(index.group_key(name), 0, groups.LARGEST - 1)
        except redis.ResponseError as error:
            found = _members(error)
        return self._read_members({name: found})[name]

    def groups(self, names: Iterable[str]) -> dict[str, list[Tracking]]:
        """List the members of each group, like `group`; none where something else is stored in their place."""
        wanted, pipe = list(names), self._redis.pipeline(transaction=False)
        for name in wanted:
            pipe.zrevrange(index.group_key(name), 0, groups.LARGEST - 1)
        answers = pipe.execute(raise_on_error=False)
        return self._read_members({name: _members(answer) for name, answer in zip(wanted, answers, strict=True)})

    def group_sizes(self, names: Iterable[str]) -> list[int]:
        """Count the members of each group; one where something else is stored in their place."""
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            pipe.zcard(index.group_key(name))
        return [each if isinstance(each, int) else 1 for each in pipe.execute(raise_on_error=False)]

    def _read_members(self, found: Mapping[str, list[bytes]]) -> dict[str, list[Tracking]]:
        listed = {name: [each.decode(errors="replace") for each in members] for name, members in found.items()}
        identities = [identity for members in listed.values() for identity in members]
        batches = (identities[start : start + _BATCH] for start in range(0, len(identities), _BATCH))
        read = {each.tracking.id: each.tracking for batch in batches for each in self.read(batch)}
        # An older version, without groups, may have started a member's next run with another group.
        return {
            name: [read[identity] for identity in members if identity in read and read[identity].group == name]
            for name, members in listed.items()
        }

    def _due_windows(self, key: str) -> Iterator[tuple[datetime, dict[str, float]]]:
        for start in range(0, WINDOW * _WINDOWS[key], WINDOW):
            now, members = self._due_members(key, start, WINDOW)
            yield now, members
            if len(members) < WINDOW:
                return

    def _due_members(self, key: str, start: int, limit: int) -> tuple[datetime, dict[str, float]]:
        """List the due members, the most overdue first, with their scores; and return the time."""
        now_ms, found = self._due.list(key, start, limit)
        return from_milliseconds(now_ms), {member.decode(errors="replace"): score for member, score in found}

    def read(self, identities: Iterable[str], worth: Callable[[bytes], bool] = lambda _: True) -> Iterator[Stored]:
        """Read records in order, skipping those that are gone, unreadable, of another tracking, or not `worth` it."""
        wanted = list(identities)
        records = self._redis.mget([record_key(identity) for identity in wanted]) if wanted else ()
        for identity, record in zip(wanted, records, strict=True):
            tracking = None if record is None or not worth(record) else _understood(record)
            if tracking is not None and tracking.id == identity:
                yield Stored(tracking, record)


def encode(tracking: Tracking) -> bytes:
    """Encode a record as JSON that `decode` reads back as an equal value."""
    return _WIRE.dump_json(tracking, exclude_defaults=True, by_alias=True)


def decode(record: bytes) -> Tracking:
    """Decode a record, ignoring unknown fields. Raises NewerRecordError if it is of a newer version."""
    try:
        tracking = _WIRE.validate_json(record)
    except ValueError as error:
        raise NewerRecordError("this version of Opwatch cannot read a stored record") from error
    if tracking.v > RECORD_VERSION:
        raise NewerRecordError(f"{tracking.id} was written by a newer version of Opwatch, which will handle it")
    return with_ids(tracking) if tracking.outgoing or tracking.live else tracking


def with_ids(tracking: Tracking) -> Tracking:
    """Add the ids of deliveries and live messages, which version 0.1.0 did not store."""
    named = each_delivery(tracking, lambda d: d if d.id else replace(d, id=_id(tracking, d)))
    return replace(named, live=tuple(m if m.id else replace(m, id=live_id(named, m.target, m.run)) for m in named.live))


def _id(tracking: Tracking, delivery: Delivery) -> str:
    if delivery.alert is not None:
        return alert_id(tracking, delivery.run, delivery.alert)
    return delivery_id(tracking, delivery.run, delivery.verdict, delivery.target)


def _members(answer: list[bytes] | redis.RedisError) -> list[bytes]:
    if isinstance(answer, list):
        return answer
    if str(answer).startswith("WRONGTYPE"):
        return []
    raise answer


def _understood(record: bytes) -> Tracking | None:
    try:
        return decode(record)
    except NewerRecordError:
        return None
