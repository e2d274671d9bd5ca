"""Lists of trackings, the newest first or the latest end first, and their pages."""

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import redis
from pydantic import TypeAdapter

from operations.history import Moment
from operations.kind import Kind
from operations.model import State, Tracking
from operations.storage.filling import fill
from operations.storage.index import BY_END, DUE, RECENT, record_key
from operations.storage.records import Records, Stored

LARGEST_SCAN = 5_000
"""How many trackings one page reads at most. With a filter that matches few, pages may have fewer than `limit`."""

READ_AT_ONCE = 50
"""How many trackings are read at once: enough for most pages."""

_NAMES_AT_ONCE = 1_000
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Type:
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How and when one operation ended: what statistics need of a record, and read ten times as fast."""

    app: str
    place: str = ""
    kind: Kind = Kind.OPERATION
    operation: _Type | None = None
    state: State
    ended_at: Moment
    duration_s: float | None = None


_END = TypeAdapter(End)


class Position(NamedTuple):
    """A place in a list of trackings."""

    score: float
    identity: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some trackings, the cursor of the next page (None on the last), and how many were looked through."""

    trackings: tuple[Tracking, ...]
    next_cursor: str | None
    looked_through: int = 0


class Listing:
    """All trackings in the order of an index: RECENT (the newest first) or BY_END (the latest end first).

    `among` limits a list to these ids: no others are read. Every method raises redis.RedisError if Redis is away.
    """

    def __init__(self, connection: redis.Redis, records: Records) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._records = records

    def recent(
        self,
        after: Position | None = None,
        batch: int = READ_AT_ONCE,
        *,
        by: str = RECENT,
        among: Collection[str] | None = None,
    ) -> Iterator[tuple[Position, Stored]]:
        """Yield all trackings after the position `after`, reading in batches."""
        positions = self._positions(by, after, among, batch)
        while some := {position.identity: position for position in islice(positions, batch)}:
            for stored in self._records.read(some):
                yield some[stored.tracking.id], stored

    def in_flight(self, limit: int, matches: Callable[[Tracking], bool]) -> list[Tracking]:
        """List the newest operations in flight. Looks do not change that order."""

        def flying(tracking: Tracking) -> bool:
            return tracking.ended_at is None and matches(tracking)

        due = self.ids(DUE)
        if len(due) > limit:
            return list(self.page(flying, cursor=None, limit=limit, among=due).trackings)
        found = filter(flying, (stored.tracking for stored in self._records.read(due)))
        return sorted(found, key=lambda tracking: tracking.created_at, reverse=True)

    def ends(self, most: int) -> Iterator[End]:
        """Yield at most so many ends, the latest first."""
        found = [member.decode(errors="replace") for member in self._redis.zrevrange(BY_END, 0, most - 1)]
        for start in range(0, len(found), _AT_ONCE):
            for record in self._redis.mget([record_key(each) for each in found[start : start + _AT_ONCE]]):
                with suppress(ValueError):  # it is gone, in flight again, or of a newer version
                    yield _END.validate_json(record or b"")

    def ids(self, key: str) -> set[str]:
        """Return the ids of all trackings in this index."""
        return {member.decode(errors="replace") for member in self._redis.zrange(key, 0, -1)}

    def page(
        self,
        matches: Callable[[Tracking], bool],
        *,
        cursor: str | None,
        limit: int,
        by: str = RECENT,
        among: Collection[str] | None = None,
        worth: Callable[[bytes], bool] = lambda _: True,
    ) -> Page:
        """Read the page after `cursor`. It may have fewer than `limit` trackings although more follow.

        `worth` tells cheaply, from its bytes, whether a record may match: decoding takes most of the time.
        """
        if by == BY_END:
            self._fill()
        found: list[Tracking] = []
        last, looked_through = _position(cursor), 0
        positions = self._positions(by, last, among, READ_AT_ONCE)
        while looked_through < LARGEST_SCAN and len(found) < limit:
            size = READ_AT_ONCE if looked_through < limit else _AT_ONCE
            some = {each.identity: each for each in islice(positions, min(size, LARGEST_SCAN - looked_through))}
            if not some:
                return Page(tuple(found), None, looked_through)
            names = list(some)
            for stored in self._records.read(names, worth):
                if matches(stored.tracking):
                    found.append(stored.tracking)
                if len(found) == limit:
                    names = names[: names.index(stored.tracking.id) + 1]
                    break
            last, looked_through = some[names[-1]], looked_through + len(names)
        more = any(True for _ in self.recent(last, 1, by=by, among=among))
        return Page(
            tuple(found), f"{last.score:.0f}_{last.identity}" if more and last is not None else None, looked_through
        )

    def _positions(
        self, by: str, after: Position | None, among: Collection[str] | None, batch: int
    ) -> Iterator[Position]:
        last = after or Position(float("inf"), "")
        start = 0 if after is None else int(self._redis.zcount(by, f"({after.score:.0f}", "+inf"))
        left, step = None if among is None else set(among), batch if among is None else _NAMES_AT_ONCE
        while left != set() and (rows := self._redis.zrevrange(by, start, start + step - 1, withscores=True)):
            for member, score in rows:
                position = Position(score, member.decode(errors="replace"))
                if position < last and (left is None or position.identity in left):
                    yield position
                    last = position
                    if left is not None:
                        left.remove(position.identity)
            start, step = start + len(rows), _NAMES_AT_ONCE

    def _fill(self) -> None:
        """Add the newest to the index by end if an older version has not. Maintenance adds the rest."""
        pipe = self._redis.pipeline(transaction=False)
        for key in (RECENT, BY_END, DUE):
            pipe.zcard(key)
        known, ended, in_flight = pipe.execute()
        if known > ended + in_flight:
            newest = self._redis.zrevrange(RECENT, 0, _AT_ONCE - 1)
            fill(self._redis, self._records, [member.decode(errors="replace") for member in newest])


def _position(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    score, _, identity = cursor.partition("_")
    return Position(float(score), identity)
