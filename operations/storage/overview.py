"""Counts, and when something is due: for metrics, the page and the workers' clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import repeat
from typing import Any

import redis

from operations.storage.clock import milliseconds
from operations.storage.due import due_in_s
from operations.storage.index import COUNTERS, DUE, GROUPS, IN_FLIGHT, LIVE, OUTBOX, RETRYING, retrying_range
from operations.storage.records import Records


@dataclass(frozen=True, slots=True)
class Overdue:
    """How many are overdue, and for how many seconds the oldest has been due."""

    count: int
    oldest_s: float


class Overview:
    """Reads counts from Redis. Every method raises redis.RedisError if Redis is away."""

    def __init__(self, connection: redis.Redis, records: Records) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._records = records

    def size(self, key: str) -> int:
        """Count the members of a sorted set of the index."""
        return int(self._redis.zcard(key))

    def counters(self) -> dict[str, int]:
        """Read all counters: `looks:<result>`, `outcomes:<state>`, `deliveries:<target>:<state>`; see tallies.py."""
        return {name.decode(): int(count) for name, count in self._redis.hgetall(COUNTERS).items()}

    def in_flight(self) -> dict[str, int]:
        """Count the operations in flight, by account, and by account and caller (`index.caller_field`)."""
        return {field.decode(): int(count) for field, count in self._redis.hgetall(IN_FLIGHT).items()}

    def retrying(self, targets: Iterable[str]) -> dict[str, int]:
        """Count the deliveries to each target that failed and will be retried."""
        return {target: int(self._redis.zlexcount(RETRYING, *retrying_range(target))) for target in targets}

    def overdue(self, by: timedelta) -> tuple[Overdue, Overdue]:
        """Return the unclaimed looks, and deliveries, that have been due for longer than `by`."""
        now, pipe = self._records.now(), self._redis.pipeline(transaction=False)
        for key in (DUE, OUTBOX):
            pipe.zcount(key, "-inf", f"({milliseconds(now - by)}")
            pipe.zrange(key, 0, 0, withscores=True)
        looks, first_look, deliveries, first_delivery = pipe.execute()
        now_ms = milliseconds(now)
        oldest_s = [max(0.0, -_seconds_until(first, now_ms)) for first in (first_look, first_delivery)]
        return Overdue(looks, oldest_s[0]), Overdue(deliveries, oldest_s[1])

    def due_in_s(self) -> tuple[float, float]:
        """Return in how many seconds the first look is due, and the first delivery; infinity if there is none.

        Zero or less means now. Edits of live messages and checks of groups count as deliveries. One round trip.
        """
        now, keys = self._records.now(), (DUE, OUTBOX, LIVE, GROUPS)
        pipe = self._redis.pipeline(transaction=False)
        for key in keys:
            pipe.zrange(key, 0, 0, withscores=True)
            pipe.zrange(key, -1, -1, withscores=True)
        ends = pipe.execute()
        look, *others = map(due_in_s, keys, ends[::2], ends[1::2], repeat(now))
        return look, min(others)

    def next_look_in_s(self) -> float:
        """Return in how many seconds the first look that is not yet due becomes due; infinity if there is none."""
        now_ms = milliseconds(self._records.now())
        found = self._redis.zrangebyscore(DUE, f"({now_ms:.0f}", "+inf", start=0, num=1, withscores=True)
        return _seconds_until(found, now_ms)


def _seconds_until(first: list[tuple[bytes, float]], now_ms: float) -> float:
    return (first[0][1] - now_ms) / 1000 if first else float("inf")
