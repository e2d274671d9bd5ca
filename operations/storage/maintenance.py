"""Maintenance: deletes expired trackings, and heals the indexes.

It walks every sorted set in windows and removes orphans: entries without a record, or left behind by an older version.
It adds entries that an older version did not write. It skips records that this version cannot read. Each removal is a
compare-and-swap, so any number of workers can do this. https://riverqueue.com/docs/maintenance-services
"""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import redis

from operations.model import State, Tracking
from operations.storage import index
from operations.storage.due import DueSets
from operations.storage.filling import fill
from operations.storage.records import Records, Stored
from operations.storage.tallies import ORPHANS
from operations.telling.attempts import last_end

WITHIN_S = 0.2
"""How long one run works. The clock that calls it must send a heartbeat each second."""

KEPT_CANCELLED, KEPT_ENDED = 1_000, 10_000
"""How many ended trackings of a caller are kept: cancelled without a delivery, and in all. See docs/operating.md."""

_WINDOW = 500
_LARGEST_GROUP = 5_000
_KEYS_AT_ONCE = 200
_SCRIPTS_AT_ONCE = 100
_DUE = (index.DUE, index.OUTBOX, index.LIVE)
_WHOLE = (index.RECENT, index.BY_END, index.WRONG, index.RETRYING, index.DEAD)
_OF_CALLERS = (f"{index.CANCELLED}:", f"{index.ENDED_BY}:")
_MAY_DIFFER = (index.OUTBOX, index.LIVE, index.WRONG, index.RETRYING, index.DEAD, *_OF_CALLERS)
"""How the keys begin of sets with entries that an older version may leave behind when it writes a record."""

_RECOUNT = "if redis.call('EXISTS', KEYS[1]) == 0 then return redis.call('UNLINK', KEYS[2]) end return 0"
"""If nothing is due, nothing is in flight. Then any count of operations in flight belongs to lost records."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Removal:
    """What to delete if the record of `identity` is still `expected` (empty: still missing)."""

    identity: str
    expected: bytes
    keys: Sequence[str] = ()
    entries: Sequence[tuple[str, str]] = ()


class Maintenance:
    """Deletes and heals a bounded amount per run, and remembers its position. Only `trim` is thread-safe."""

    def __init__(self, connection: redis.Redis, records: Records, retention: timedelta | None = None) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._records = records
        self._retention = retention
        self._callers: set[str] = set()
        self._due = DueSets(connection)
        self._script = connection.register_script((Path(__file__).parent / "remove.lua").read_text())
        self._recount: Any = connection.register_script(_RECOUNT)
        self._offsets: dict[str, int] = defaultdict(int)
        self._cursors: dict[str, int] = defaultdict(int)

    def run(self, within_s: float = WITHIN_S) -> bool:
        """Delete expired trackings, and heal one window of each index. Tells whether more work is waiting."""
        until_s = time.monotonic() + within_s
        while more := self._pass():
            if time.monotonic() > until_s:
                break
        return more

    def orphans(self) -> dict[str, int]:
        """Count the entries without a record, by sorted set. Removes nothing."""
        counts = {}
        for key in (*_DUE, index.EXPIRING, *_WHOLE):
            members = [_text(member) for member, _ in self._redis.zscan_iter(key, count=_WINDOW)]
            counts[key] = sum(len(each.entries) for each in self._orphan_removals({key: members}))
        return {key: count for key, count in counts.items() if count}

    def _pass(self) -> bool:
        removed = [self._walk_due(key, partial(self._heal, key)) for key in _DUE]
        removed += [self._scan(key) for key in _WHOLE]
        removed += [self._walk_due(index.EXPIRING, self._delete_expired), self._scan_expiring(), self._scan_keys()]
        removed += [self.trim(caller) for caller in self._callers]
        self._recount(keys=[index.DUE, index.IN_FLIGHT])
        return any(removed) or self._offsets[index.EXPIRING] > 0

    def _walk_due(self, key: str, work: Callable[[list[str]], int]) -> int:
        """Work on the next window of due members, after those that earlier runs left. Returns how many were removed."""
        offset = self._offsets[key]
        members = [_text(member) for member, _ in self._due.list(key, offset, _WINDOW)[1]]
        removed = work(members)
        self._offsets[key] = offset + len(members) - removed if len(members) == _WINDOW else 0
        return removed

    def _scan(self, key: str) -> int:
        self._cursors[key], found = self._redis.zscan(key, self._cursors[key], count=_WINDOW)
        members = [_text(member) for member, _ in found]
        return self._heal(key, members) + (fill(self._redis, self._records, members) if key == index.RECENT else 0)

    def _scan_expiring(self) -> int:
        """Delete what has expired by the present retention, and note whose trackings there are."""
        self._cursors[index.EXPIRING], found = self._redis.zscan(
            index.EXPIRING, self._cursors[index.EXPIRING], count=_WINDOW
        )
        known = list(self._read(_text(member) for member, _ in found))
        self._callers.update(stored.tracking.created_by for stored in known)
        return self._delete(index.EXPIRING, known) if self._retention is not None else 0

    def _delete_expired(self, members: list[str]) -> int:
        return self._delete(index.EXPIRING, self._read(members)) + self._heal(index.EXPIRING, members)

    def trim(self, caller: str, slack: int = 0) -> int:
        """Delete a caller's oldest ended trackings, if they exceed a limit by more than `slack`."""
        removed = 0
        for name, kept in ((index.CANCELLED, KEPT_CANCELLED), (index.ENDED_BY, KEPT_ENDED)):
            key = index.caller_key(name, caller)
            excess = self._redis.zcard(key) - kept
            if excess > slack:
                members = [_text(member) for member in self._redis.zrange(key, 0, min(excess, _WINDOW) - 1)]
                removed += self._delete(key, self._read(members)) + self._heal(key, members)
        return removed

    def _delete(self, key: str, found: Iterable[Stored]) -> int:
        """Delete records that belong in this set (if it is `expiring`: and have expired). Returns how many."""
        removals, now = [], self._records.now()
        for stored in found:
            tracking, last = stored.tracking, last_end(stored.tracking)
            if last is None or index.orphans(tracking, key, [tracking.id]):
                continue  # an older version, which does not know the set, has started the next run
            if key == index.EXPIRING and self._retention is not None and last + self._retention > now:
                continue
            runs = index.body_runs(tracking) | {tracking.run}
            keys = [index.record_key(tracking.id), *(index.body_key(tracking.id, run) for run in runs)]
            removals.append(_Removal(tracking.id, stored.record, keys, list(index.deletions(tracking))))
        return sum(removed > 0 for removed in self._remove(removals))

    def _heal(self, key: str, members: Collection[str]) -> int:
        """Remove orphans from a window of a sorted set. Returns how many."""
        removals = self._orphan_removals({key: members})
        if key.startswith(_MAY_DIFFER):
            for stored in self._read(dict.fromkeys(map(index.tracking_of, members))):
                if left := [(key, member) for member in index.orphans(stored.tracking, key, members)]:
                    removals.append(_Removal(stored.tracking.id, stored.record, entries=left))
        return sum(self._remove(removals, ORPHANS))

    def _scan_keys(self) -> int:
        """Heal the sets of groups and callers, and the bodies, among the next keys of the server."""
        self._cursors[""], found = self._redis.scan(self._cursors[""], match="opwatch:*", count=2 * _WINDOW)
        sets, bodies = [], defaultdict[str, list[str]](list)
        for key in map(_text, found):
            if key.startswith((f"{index.GROUP}:", *_OF_CALLERS)):
                sets.append(key)
            elif key.startswith(f"{index.BODY}:"):
                bodies[key.removeprefix(f"{index.BODY}:").rpartition(":")[0]].append(key)
        return sum(map(self._heal_whole, _batches(sets, _SCRIPTS_AT_ONCE))) + self._drop_bodies(bodies)

    def _heal_whole(self, keys: Sequence[str]) -> int:
        """Remove the entries without a record from sorted sets. Returns how many."""
        pipe = self._redis.pipeline(transaction=False)
        for key in keys:
            pipe.zrange(_raw(key), 0, _LARGEST_GROUP - 1)
        sets = {key: map(_text, members) for key, members in zip(keys, pipe.execute(), strict=True)}
        return sum(self._remove(self._orphan_removals(sets), ORPHANS))

    def _drop_bodies(self, bodies: dict[str, list[str]]) -> int:
        """Delete announcements that are no longer needed: their record is gone, or in a later run."""
        known = {stored.tracking.id: stored for stored in self._read(bodies)}
        removals = []
        for identity in set(bodies).difference(known):
            removals += [_Removal(identity, b"", keys=some) for some in _batches(bodies[identity], _KEYS_AT_ONCE)]
        for identity, stored in known.items():
            left = [key for key in bodies[identity] if not _may_be_read(stored.tracking, key)]
            removals += [_Removal(identity, stored.record, keys=some) for some in _batches(left, _KEYS_AT_ONCE)]
        return sum(self._remove(removals, ORPHANS))

    def _orphan_removals(self, sets: Mapping[str, Iterable[str]]) -> list[_Removal]:
        """Plan the removal of the members without a record from these sorted sets."""
        named = defaultdict[str, list[tuple[str, str]]](list)
        for key, members in sets.items():
            for member in members:
                named[index.tracking_of(member)].append((key, member))
        gone: set[str] = set()
        for some in _batches(list(named), _WINDOW):
            keys = [_raw(index.record_key(identity)) for identity in some]
            if self._redis.exists(*keys) < len(keys):
                pipe = self._redis.pipeline(transaction=False)
                for raw in keys:
                    pipe.exists(raw)
                found = pipe.execute()
                gone.update(identity for identity, there in zip(some, found, strict=True) if not there)
        return [_Removal(identity, b"", entries=named[identity]) for identity in gone]

    def _read(self, identities: Iterable[str]) -> Iterator[Stored]:
        for some in _batches([each for each in identities if each.isascii()], _SCRIPTS_AT_ONCE):
            yield from self._records.read(some)

    def _remove(self, removals: Sequence[_Removal], counter: str = "") -> list[int]:
        """Carry out each removal on its own, and count it. Returns how much each removed."""
        removed: list[int] = []
        for some in _batches(removals, _SCRIPTS_AT_ONCE):
            pipe = self._redis.pipeline(transaction=False)
            for each in some:
                keys = [index.record_key(each.identity), index.COUNTERS, *each.keys, *(key for key, _ in each.entries)]
                members = [_raw(member) for _, member in each.entries]
                arguments: list[bytes | str | int] = [each.expected, counter, len(each.keys), *members]
                self._script(keys=[_raw(key) for key in keys], args=arguments, client=pipe)
            removed += pipe.execute()
        return removed


def _may_be_read(tracking: Tracking, body: str) -> bool:
    """Tell whether a delivery may still need this announcement.

    That of the current outcome is kept even without deliveries: an older version needs it for a target added later.
    """
    runs = index.body_runs(tracking) | (set() if tracking.state is State.CANCELLED else {tracking.run})
    return body in {index.body_key(tracking.id, run) for run in runs}


def _batches(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _text(member: bytes) -> str:
    """Decode a member so that `_raw` returns the same bytes, even if they are not UTF-8."""
    return member.decode(errors="surrogateescape")


def _raw(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
