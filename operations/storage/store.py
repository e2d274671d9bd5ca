"""The store of records in Redis.

A record is one JSON string. The sorted sets `due` (trackings by the time of their next look), `outbox` (deliveries by
the time of their next attempt) and others are derived from it, and written by the same script. So an unfinished
tracking is always in `due`, and an unfinished delivery always in `outbox`. Every write is a compare-and-swap: it
applies only if the record is still the one that the change was computed from. Every method raises redis.RedisError if
Redis is away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import redis

from operations.errors import TooManyInFlightError
from operations.model import Tracking
from operations.storage.index import (
    IndexChange,
    Limit,
    body_key,
    index_changes,
    limits,
    reads_outcome,
    record_key,
)
from operations.storage.listing import Listing
from operations.storage.overview import Overview
from operations.storage.records import Records, Stored, decode, encode
from operations.storage.tallies import tally_changes
from operations.storage.told import Told, told_changes
from operations.telling import alerts, announcement, attempts

_MARKED, _COUNTED, _MOVED = b"marked", b"counted", b"moved"


@dataclass(frozen=True, slots=True)
class Change:
    """A pure change of a record; see `Store.update`. `body` is written with the record of a group."""

    stored: Stored
    apply: Callable[[Tracking], Tracking | None]
    also: Sequence[IndexChange] = ()
    limit: Limit | None = None
    body: bytes = b""


class Store:
    """Changes what all processes share; `records`, `listing` and `overview` read it."""

    def __init__(self, connection: redis.Redis, *, retention: timedelta) -> None:
        self.records = Records(connection)
        self.overview = Overview(connection, self.records)
        self.listing = Listing(connection, self.records)
        self.retention = retention
        self.told = Told(connection, self.records)
        self._swap = connection.register_script((Path(__file__).parent / "swap.lua").read_text())

    def add(self, tracking: Tracking, limit: Limit | None = None) -> Stored | None:
        """Store a new tracking, due now. If its id exists, return the stored one and change nothing.

        Raises TooManyInFlightError if that would exceed `limit`.
        """
        (found,) = self._write([self._swap_of(None, tracking, limit=limit)])
        if isinstance(found, Exception):
            raise found
        return None if found is None else Stored(decode(found), found)

    def update(
        self,
        stored: Stored,
        change: Callable[[Tracking], Tracking | None],
        also: Sequence[IndexChange] = (),
        limit: Limit | None = None,
    ) -> Stored | None:
        """Apply a pure change by compare-and-swap, again after each conflict. Returns the stored record.

        Returns None if `change` returns None (it no longer applies), or the tracking is gone. `also` is written
        with it. Nothing is written if nothing changes. An alert is dropped if its subject has a mark. Raises
        TooManyInFlightError if a new run would exceed `limit`.
        """
        (after,) = self.update_all([Change(stored, change, also, limit)])
        if isinstance(after, Exception):
            raise after
        return after

    def pull_deliveries(self) -> None:
        """Make deliveries due that wait for nothing but Redis's clock, which was set back since they were stored."""
        for stored in self.records.deliveries_ahead():
            self.update(stored, partial(attempts.pulled, now=self.records.now()))

    def update_all(self, changes: Sequence[Change]) -> list[Stored | Exception | None]:
        """Apply many changes in the round trips of one. Each is independent: its error is returned as its result.

        Pass at most about a hundred: Redis does nothing else during the script.
        """
        results: list[Stored | Exception | None] = [None] * len(changes)
        attempts = [_Attempt(number, change.stored) for number, change in enumerate(changes)]
        while attempts:
            swaps: list[tuple[_Attempt, _Swap]] = []
            for attempt in attempts:
                try:
                    swap = self._attempted(changes[attempt.number], attempt)
                except Exception as error:  # noqa: BLE001 - a failed change must not fail the others
                    results[attempt.number] = error
                    continue
                if isinstance(swap, _Swap):
                    swaps.append((attempt, swap))
                else:
                    results[attempt.number] = swap
            answers = self._write([swap for _, swap in swaps])
            attempts = []
            for (attempt, swap), found in zip(swaps, answers, strict=True):
                if found is None or found == swap.record:  # equal: our own write, repeated after its answer was lost
                    results[attempt.number] = Stored(swap.new, swap.record)
                elif found in (_MARKED, _COUNTED):  # counted: another outcome of this app and type was recorded
                    attempts.append(replace(attempt, told=attempt.told or found == _MARKED))
                elif isinstance(found, Exception):
                    results[attempt.number] = found
                elif found and found != _MOVED:
                    attempts.append(replace(attempt, stored=None, found=found))
        return results

    def _attempted(self, change: Change, attempt: "_Attempt") -> "_Swap | Stored | None":
        """Compute what to write. Returns the stored record if nothing changes, None if the change does not apply."""
        stored = attempt.stored or Stored(decode(attempt.found), attempt.found)
        after = change.apply(stored.tracking)
        if after is None:
            return None
        if attempt.told:
            after = alerts.without_news(stored.tracking, after)
        return stored if after == stored.tracking else self._swap_of(stored, after, change)

    def _swap_of(
        self, stored: Stored | None, new: Tracking, change: Change | None = None, limit: Limit | None = None
    ) -> "_Swap":
        old = None if stored is None else stored.tracking
        changes = list(index_changes(old, new, self.retention))
        body = b""
        if change is not None:
            changes += change.also
            limit, body = change.limit, change.body
        if old is None or (old.ended_at, old.outgoing) != (new.ended_at, new.outgoing):  # few claims and looks
            changes += tally_changes(old, new)
            changes += told_changes(old, new, self.retention)
        if limit is not None:
            changes += limits(old, new, limit)
        is_read = old is not None and old.run == new.run and reads_outcome(old)
        return _Swap(
            new=new,
            expected=b"" if stored is None else stored.record,
            record=encode(new),
            body=announcement.body_of(new) if reads_outcome(new) and not is_read and not new.is_group else body,
            changes=changes,
            limit=limit,
        )

    def _write(self, swaps: Sequence["_Swap"]) -> list[bytes | Exception | None]:
        """Carry out each swap. Returns for each: None if done, `_MARKED`, `_COUNTED`, an error, the record found."""
        if not swaps:
            return []
        keys = [key for swap in swaps for key in (record_key(swap.new.id), body_key(swap.new.id, swap.new.run))]
        numbers: dict[str, int] = {}
        arguments: list[str | bytes | int] = [len(swaps)]
        for swap in swaps:
            arguments += [swap.expected, swap.record, swap.body, len(swap.changes)]
            for kind, key, member, value in swap.changes:
                number = numbers.setdefault(key, len(keys) + len(numbers) + 1)  # Lua counts from 1
                arguments += (kind, number, member, "" if value is None else value)
        answers = self._swap(keys=[*keys, *numbers], args=arguments)
        return [_answer(swap, answer) for swap, answer in zip(swaps, answers, strict=True)]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An attempt at the change with this `number`: computed from `stored`, or from the record `found` instead."""

    number: int
    stored: Stored | None
    found: bytes = b""
    told: bool = False


@dataclass(frozen=True, slots=True)
class _Swap:
    """A record that replaces another, and the changes of its entries."""

    new: Tracking
    expected: bytes
    record: bytes
    body: bytes
    changes: list[IndexChange]
    limit: Limit | None = None


def _answer(swap: _Swap, answer: Any) -> bytes | Exception | None:
    if swap.limit is not None and isinstance(answer, list):
        return TooManyInFlightError(swap.new.account, answer[0], swap.limit.in_flight)
    return answer if answer is None or isinstance(answer, Exception) else bytes(answer)
