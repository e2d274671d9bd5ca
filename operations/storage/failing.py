"""The targets with failing deliveries: how many deliveries, and the first few of each."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import redis

from operations.model import DeliveryState
from operations.storage.index import DEAD, RETRYING, retrying_range, tracking_of
from operations.storage.records import Records, Stored

FAILING = (DeliveryState.RETRYING, DeliveryState.DEAD)

SHOWN = 3
"""How many of a target's retrying deliveries are read, and how many dead ones."""

_AT_ONCE = 1_000


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
    retrying, dead = dict(_retrying(connection)), defaultdict[str, _Members](_Members)
    for member in _dead(connection):
        own = dead[member.partition(" ")[0]]
        own.count += 1
        if len(own.first) < SHOWN:
            own.first.append(member)
    found = []
    for target in dead.keys() | retrying.keys():
        given_up, again = dead.get(target, _Members()), retrying.get(target, _Members())
        first = records.read(dict.fromkeys(map(tracking_of, given_up.first + again.first)))
        found.append(FailingTarget(target, again.count, given_up.count, tuple(first)))
    return sorted(found, key=lambda each: (-each.retrying - each.dead, each.target))


def failing_ids(connection: Any, target: str | None, state: str | None = None) -> set[str]:
    """Return the ids of all trackings with failing deliveries to this target (or any), in this state (or both)."""
    members: list[str] = []
    if state != DeliveryState.DEAD:
        bounds = ("-", "+") if target is None else retrying_range(target)
        members += [member.decode(errors="replace") for member in connection.zrangebylex(RETRYING, *bounds)]
    if state != DeliveryState.RETRYING:
        members += [member for member in _dead(connection) if target is None or member.startswith(f"{target} ")]
    return set(map(tracking_of, members))


def _retrying(connection: Any) -> Iterator[tuple[str, _Members]]:
    """Yield target by target: all members have the same score, so Redis sorts them by target."""
    start = "-"
    while found := connection.zrangebylex(RETRYING, start, "+", start=0, num=SHOWN):
        members = [member.decode(errors="replace") for member in found]
        target = members[0].partition(" ")[0]
        count = int(connection.zlexcount(RETRYING, *retrying_range(target)))
        yield target, _Members(count, [member for member in members if member.startswith(f"{target} ")])
        start = f"[{target}!"  # the character after the space


def _dead(connection: Any) -> Iterator[str]:
    """Yield all dead deliveries, the latest first: Redis sorts them by time, not by target."""
    start = 0
    while found := connection.zrevrange(DEAD, start, start + _AT_ONCE - 1):
        yield from (member.decode(errors="replace") for member in found)
        start += len(found)
