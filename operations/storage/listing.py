"""The list of trackings, newest first, and its pages."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import redis

from operations.model import Tracking
from operations.storage.index import RECENT, tracking_of
from operations.storage.records import Records, Stored

LARGEST_SCAN = 5_000
"""How many trackings one page reads at most. With a filter that matches few, pages may have fewer than `limit`."""

READ_AT_ONCE = 50
"""How many trackings are read at once: enough for most pages."""


class Position(NamedTuple):
    """A place in the list of recent trackings."""

    score: float
    identity: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some trackings, and the cursor of the next page; None on the last."""

    trackings: tuple[Tracking, ...]
    next_cursor: str | None


class Listing:
    """All trackings, newest first. Every method raises redis.RedisError if Redis is away."""

    def __init__(self, connection: redis.Redis, records: Records) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._records = records

    def recent(self, after: Position | None = None, batch: int = READ_AT_ONCE) -> Iterator[tuple[Position, Stored]]:
        """Yield all trackings after the position `after`, newest first, reading in batches."""
        last = after or Position(float("inf"), "")
        start = 0 if after is None else int(self._redis.zcount(RECENT, f"({after.score:.0f}", "+inf"))
        while rows := self._redis.zrevrange(RECENT, start, start + batch - 1, withscores=True):
            positions = {
                name: Position(score, name) for member, score in rows for name in [member.decode(errors="replace")]
            }
            fresh = {identity: position for identity, position in positions.items() if position < last}
            for stored in self._records.read(fresh):
                yield fresh[stored.tracking.id], stored
            last = min(last, *positions.values())
            start += len(rows)

    def first_in(self, key: str, limit: int) -> list[Stored]:
        """List the first trackings of a sorted set of the index."""
        members = self._redis.zrange(key, 0, limit - 1)
        return list(self._records.read(dict.fromkeys(tracking_of(each.decode(errors="replace")) for each in members)))

    def page(
        self,
        matches: Callable[[Tracking], bool],
        *,
        cursor: str | None,
        limit: int,
        largest_scan: int = LARGEST_SCAN,
    ) -> Page:
        """Read the page after `cursor`. It may have fewer than `limit` trackings although more follow."""
        found: list[Tracking] = []
        last: Position | None = None
        for scanned, (position, stored) in enumerate(self.recent(_position(cursor), READ_AT_ONCE), 1):
            if matches(stored.tracking):
                found.append(stored.tracking)
            if len(found) == limit or scanned == largest_scan:
                last = position
                break
        more = last is not None and any(True for _ in islice(self.recent(last), 1))
        return Page(tuple(found), f"{last.score:.0f}_{last.identity}" if more and last is not None else None)


def _position(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    score, _, identity = cursor.partition("_")
    return Position(float(score), identity)
