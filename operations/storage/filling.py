"""Adds the index entries that an older version, which does not know their sets, did not write with its records."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from operations.model import Tracking
from operations.storage import index
from operations.storage.records import Records

_FILLED = (index.BY_END, index.WRONG, index.RETRYING, index.DEAD)
_AT_ONCE = 100

_ADD = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local added = 0
for i = 2, #KEYS do
  added = added + redis.call('ZADD', KEYS[i], 'CH', ARGV[2 * i - 2], ARGV[2 * i - 1])
end
return added
"""
"""Adds entries if the record is still the one that they were derived from."""


def fill(connection: Any, records: Records, identities: Iterable[str]) -> int:
    """Add the entries of these trackings that are missing, or have another score. Returns how many.

    Raises redis.RedisError if Redis is away.
    """
    wanted, added = [each for each in identities if each.isascii()], 0
    for start in range(0, len(wanted), _AT_ONCE):
        known = [(stored, _entries(stored.tracking)) for stored in records.read(wanted[start : start + _AT_ONCE])]
        pipe = connection.pipeline(transaction=False)
        for entry in (entry for _, entries in known for entry in entries):
            pipe.zscore(entry.key, entry.member)
        scores = iter(pipe.execute())
        for stored, entries in known:
            if missing := [entry for entry in entries if next(scores) != entry.value]:
                keys = [index.record_key(stored.tracking.id), *(entry.key for entry in missing)]
                arguments = [part for entry in missing for part in (entry.value, entry.member)]
                pipe.eval(_ADD, len(keys), *keys, stored.record, *arguments)
        added += sum(pipe.execute())
    return added


def _entries(tracking: Tracking) -> list[index.IndexChange]:
    changes = index.index_changes(None, tracking, timedelta())
    return [each for each in changes if each.kind is index.ChangeKind.SCORE and each.key in _FILLED]
