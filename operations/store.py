"""The store: records and the two sorted sets that are the truth, in Redis.

A record is one JSON string. `due` (trackings by the time of their next look), `outbox` (deliveries by the time of their
next attempt) and `expiring` are derived from the record and written by the same script, so that an unfinished tracking
is always in `due` and an unfinished delivery always in `outbox`. Every write is a compare-and-swap: it applies only
while the record is still the one the change was computed from. Any method raises redis.RedisError when Redis is away.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import redis

from operations import alerts, announcement, index
from operations.errors import TooManyInFlightError
from operations.index import COUNTERS, EXPIRING, OUTBOX, Limit, Move, ceilings
from operations.model import Tracking, decode, encode, tracking_id
from operations.records import Records, Stored, body_key, record_key

_MARKED = b"marked"
_PURGED_AT_ONCE = 100


class Store(Records):
    """The shared memory of all processes, to be read and changed."""

    def __init__(self, connection: redis.Redis, *, retention: timedelta) -> None:
        super().__init__(connection)
        self._retention = retention
        self._swap = connection.register_script((Path(__file__).parent / "swap.lua").read_text())

    def add(self, tracking: Tracking, limit: Limit | None = None) -> Stored | None:
        """Store a new tracking, due at once; where its id is taken, return what is there and change nothing.

        Raises TooManyInFlightError where that would exceed `limit`.
        """
        found = self._write(None, tracking, b"", encode(tracking), limit=limit)
        return None if found is None else Stored(decode(found), found)

    def update(
        self,
        stored: Stored,
        change: Callable[[Tracking], Tracking | None],
        counters: Sequence[str] = (),
        limit: Limit | None = None,
    ) -> Stored | None:
        """Apply a pure change, computed anew for as long as others get in between; returns what is stored then.

        None when `change` gives None (it does not apply any more), or the tracking is gone. `counters` are added to
        with it. Nothing is written where nothing changes. An alert is left out while another has told of the same.
        Raises TooManyInFlightError where it would come into flight anew beyond `limit`.
        """
        told = False
        while True:
            after = change(stored.tracking)
            if after is None:
                return None
            if told:
                after = alerts.without_news(stored.tracking, after)
            if after == stored.tracking:
                return stored
            record = encode(after)
            found = self._write(stored.tracking, after, stored.record, record, counters, limit)
            if found == _MARKED:
                told = True
                continue
            if found is None or found == record:  # the same: our own write, its answer lost and the command repeated
                return Stored(after, record)
            if not found:
                return None
            stored = Stored(decode(found), found)

    def purge(self) -> int:
        """Delete trackings kept past their time; returns how many. Entries of the outbox without a delivery go, too."""
        gone = 0
        _, members = self._due_members(EXPIRING, 0, _PURGED_AT_ONCE)
        for stored in self._read(members):
            tracking = stored.tracking
            if self._run(tracking.id, stored.record, b"", b"", index.removals(tracking)) is None:
                self._redis.delete(*(body_key(tracking.id, run + 1) for run in range(tracking.run)))
                gone += 1
        _, members = self._due_members(OUTBOX, 0, _PURGED_AT_ONCE)
        for stored in self._read(dict.fromkeys(tracking_id(member) for member in members)):
            if strays := index.strays(stored.tracking, members):
                self._run(stored.tracking.id, stored.record, stored.record, b"", strays)
        return gone

    def _write(
        self,
        old: Tracking | None,
        new: Tracking,
        expected: bytes,
        record: bytes,
        counters: Sequence[str] = (),
        limit: Limit | None = None,
    ) -> bytes | None:
        body = b""
        if new.ended_at is not None and (old is None or old.ended_at is None):
            body = announcement.body_of(new)
        changes = [*index.moves(old, new, self._retention), *(Move("h", COUNTERS, name, 1) for name in counters)]
        if limit is not None:
            changes += ceilings(old, new, limit)
        found: Any = self._run(new.id, expected, record, body, changes, run=new.run)
        if limit is not None and isinstance(found, list):
            raise TooManyInFlightError(new.account, found[0], limit.in_flight)
        return None if found is None else bytes(found)

    def _run(
        self, identity: str, expected: bytes, record: bytes, body: bytes, changes: Iterable[Move], run: int = 1
    ) -> Any:
        numbers = {record_key(identity): 1, body_key(identity, run): 2}  # of the keys, as Lua counts
        arguments: list[str | bytes | int] = [expected, record, body]
        for kind, key, member, value in changes:
            number = numbers.setdefault(key, len(numbers) + 1)
            arguments += (kind, number, member, "" if value is None else value)
        return self._swap(keys=list(numbers), args=arguments)
