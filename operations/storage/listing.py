"""Lists of trackings, the newest first or the latest end first, and their pages."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import redis

from operations.model import Tracking
from operations.storage.filling import fill
from operations.storage.index import BY_END, DUE, RECENT
from operations.storage.records import Records, Stored

LARGEST_SCAN = 5_000
"""How many trackings one page reads at most. With a filter that matches few, pages may have fewer than `limit`."""

READ_AT_ONCE = 50
"""How many trackings are read at once: enough for most pages."""

_NAMES_AT_ONCE = 1_000
_FILLED_AT_ONCE = 500


class Position(NamedTuple):
    """A place in a list of trackings."""

    score: float
    identity: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some trackings, and the cursor of the next page; None on the last."""

    trackings: tuple[Tracking, ...]
    next_cursor: str | None


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

    def in_flight(self, limit: int) -> list[Tracking]:
        """List the newest operations in flight. Looks do not change that order."""
        due = self.ids(DUE)
        if len(due) > limit:
            return list(self.page(_is_in_flight, cursor=None, limit=limit, among=due).trackings)
        found = (stored.tracking for stored in self._records.read(due) if _is_in_flight(stored.tracking))
        return sorted(found, key=lambda tracking: tracking.created_at, reverse=True)

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
    ) -> Page:
        """Read the page after `cursor`. It may have fewer than `limit` trackings although more follow."""
        if by == BY_END:
            self._fill()
        found: list[Tracking] = []
        last: Position | None = None
        for scanned, (position, stored) in enumerate(self.recent(_position(cursor), by=by, among=among), 1):
            if matches(stored.tracking):
                found.append(stored.tracking)
            if len(found) == limit or scanned == LARGEST_SCAN:
                last = position
                break
        more = last is not None and any(True for _ in self.recent(last, 1, by=by, among=among))
        return Page(tuple(found), f"{last.score:.0f}_{last.identity}" if more and last is not None else None)

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
            start += len(rows)

    def _fill(self) -> None:
        """Add the newest to the index by end if an older version has not. Maintenance adds the rest."""
        pipe = self._redis.pipeline(transaction=False)
        for key in (RECENT, BY_END, DUE):
            pipe.zcard(key)
        known, ended, in_flight = pipe.execute()
        if known > ended + in_flight:
            newest = self._redis.zrevrange(RECENT, 0, _FILLED_AT_ONCE - 1)
            fill(self._redis, self._records, [member.decode(errors="replace") for member in newest])


def _is_in_flight(tracking: Tracking) -> bool:
    return tracking.ended_at is None


def _position(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    score, _, identity = cursor.partition("_")
    return Position(float(score), identity)
