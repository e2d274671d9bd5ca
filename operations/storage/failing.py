"""The targets with failing deliveries: how many, the first few of each, and retrying all of one target."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from operations.model import DeliveryState, Tracking
from operations.storage.index import DEAD, RETRYING, retrying_range, tracking_of
from operations.storage.records import Records, Stored
from operations.storage.store import Change, Store
from operations.telling import attempts

FAILING = (DeliveryState.RETRYING, DeliveryState.DEAD)

SHOWN = 3
"""How many of a target's retrying deliveries are read, and how many dead ones."""

_AT_ONCE, _RETRIED_AT_ONCE = 1_000, 100


@dataclass(frozen=True, slots=True)
class FailingTarget:
    """A target with failing deliveries, and the trackings of the first few."""

    target: str
    retrying: int
    dead: int
    first: tuple[Stored, ...]


def failing_targets(connection: redis.Redis, records: Records) -> list[FailingTarget]:
    """List the targets with failing deliveries, the one with the most first."""
    retrying, dead, given_up = dict(_retrying(connection)), Counter[str](), defaultdict[str, list[str]](list)
    for member in _dead(connection):
        target = member.partition(" ")[0]
        dead[target] += 1
        if dead[target] <= SHOWN:
            given_up[target].append(member)
    found = []
    for target in dead.keys() | retrying.keys():
        count, again = retrying.get(target, (0, []))
        first = records.read(dict.fromkeys(map(tracking_of, given_up[target] + again)))
        found.append(FailingTarget(target, count, dead[target], tuple(first)))
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


def retry_failing(
    store: Store, connection: redis.Redis, target: str, by: str, state: DeliveryState | None = None
) -> tuple[int, int]:
    """Make the failing deliveries of current runs to a target due now; with a `state`, only those in it.

    Returns how many, and how many it could not. Idempotent for dead ones. Rounds deliver the oldest outcome first.
    """
    states, now = FAILING if state is None else (state,), store.records.now()
    retried = failing = 0
    ids = sorted(failing_ids(connection, target, state))
    for start in range(0, len(ids), _RETRIED_AT_ONCE):
        found = list(store.records.read(ids[start : start + _RETRIED_AT_ONCE]))
        mine = [[d for d in each.tracking.outgoing if d.target == target and d.state in states] for each in found]
        failing += sum(map(len, mine))
        changes = [Change(each, lambda tracking: _retried(tracking, target, states, now, by)) for each in found]
        after = store.update_all(changes)
        retried += sum(
            isinstance(new, Stored) and new.record != old.record for old, new in zip(found, after, strict=True)
        )
    return retried, failing - retried


def _retried(
    tracking: Tracking, target: str, states: Collection[DeliveryState], now: datetime, by: str
) -> Tracking | None:
    """Retry the current run's delivery, if it is in one of these states."""
    mine = (d for d in tracking.deliveries if (d.run, d.target) == (tracking.run, target))
    return attempts.retried(tracking, target, now, by) if any(d.state in states for d in mine) else None


def _retrying(connection: Any) -> Iterator[tuple[str, tuple[int, list[str]]]]:
    """Yield how many there are, and the first few, target by target: with the same score, Redis sorts them by name."""
    start = "-"
    while found := connection.zrangebylex(RETRYING, start, "+", start=0, num=SHOWN):
        members = [member.decode(errors="replace") for member in found]
        target = members[0].partition(" ")[0]
        count = int(connection.zlexcount(RETRYING, *retrying_range(target)))
        yield target, (count, [member for member in members if member.startswith(f"{target} ")])
        start = f"[{target}!"  # the character after the space


def _dead(connection: Any) -> Iterator[str]:
    """Yield all dead deliveries, the latest first: Redis sorts them by time, not by target."""
    start = 0
    while found := connection.zrevrange(DEAD, start, start + _AT_ONCE - 1):
        yield from (member.decode(errors="replace") for member in found)
        start += len(found)
