"""The targets with failing deliveries: how many deliveries, and the first few of each."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import redis

from operations.storage.index import DEAD, RETRYING, retrying_range, tracking_of
from operations.storage.records import Records, Stored

SHOWN = 3
"""How many of a target's retrying deliveries are read, and how many dead ones."""

DEAD_COUNTED = 1_000
"""How many dead deliveries are counted by target, latest first, since Redis sorts them by time."""


@dataclass(frozen=True, slots=True)
class FailingTarget:
    """A target with failing deliveries, and the trackings of the first few."""

    target: str
    retrying: int
    dead: int
    first: tuple[Stored, ...]


@dataclass(slots=True)
class _Members:
    count: int = 0
    first: list[str] = field(default_factory=list)


def failing_targets(connection: redis.Redis, records: Records) -> list[FailingTarget]:
    """List the targets with failing deliveries, the one with the most first."""
    retrying, dead = dict(_retrying(connection)), _dead(connection)
    found = []
    for target in dead.keys() | retrying.keys():
        given_up, again = dead.get(target, _Members()), retrying.get(target, _Members())
        first = records.read(dict.fromkeys(map(tracking_of, given_up.first + again.first)))
        found.append(FailingTarget(target, again.count, given_up.count, tuple(first)))
    return sorted(found, key=lambda each: (-each.retrying - each.dead, each.target))


def _retrying(connection: Any) -> Iterator[tuple[str, _Members]]:
    """Yield target by target: all members have the same score, so Redis sorts them by target."""
    start = "-"
    while found := connection.zrangebylex(RETRYING, start, "+", start=0, num=SHOWN):
        members = [member.decode(errors="replace") for member in found]
        target = members[0].partition(" ")[0]
        count = int(connection.zlexcount(RETRYING, *retrying_range(target)))
        yield target, _Members(count, [member for member in members if member.startswith(f"{target} ")])
        start = f"[{target}!"  # the character after the space


def _dead(connection: Any) -> dict[str, _Members]:
    by_target: dict[str, _Members] = defaultdict(_Members)
    for member in connection.zrevrange(DEAD, 0, DEAD_COUNTED - 1):
        text = member.decode(errors="replace")
        own = by_target[text.partition(" ")[0]]
        own.count += 1
        if len(own.first) < SHOWN:
            own.first.append(text)
    return by_target
