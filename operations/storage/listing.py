"""Pages of the list of trackings, newest first."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from operations.model import Tracking
from operations.storage.records import Position, Records

LARGEST_SCAN = 5_000
"""How many trackings one page reads at most; a rare filter is gone through in several pages."""

READ_AT_ONCE = 50
"""How many trackings are read at once: most pages are full with these."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some trackings, and the cursor of what comes after them; None where nothing does."""

    trackings: tuple[Tracking, ...]
    next_cursor: str | None


def page(
    records: Records,
    matches: Callable[[Tracking], bool],
    *,
    cursor: str | None,
    limit: int,
    largest_scan: int = LARGEST_SCAN,
) -> Page:
    """Read the next page behind `cursor`; it may hold fewer than `limit` although there are more."""
    found: list[Tracking] = []
    last: Position | None = None
    for scanned, (position, stored) in enumerate(records.recent(_position(cursor), READ_AT_ONCE), 1):
        if matches(stored.tracking):
            found.append(stored.tracking)
        if len(found) == limit or scanned == largest_scan:
            last = position
            break
    more = last is not None and any(True for _ in islice(records.recent(last), 1))
    return Page(tuple(found), f"{last.score:.0f}_{last.identity}" if more and last is not None else None)


def _position(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    score, _, identity = cursor.partition("_")
    return Position(float(score), identity)
