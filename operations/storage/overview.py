"""What is stored, at a glance: counts, and when something is due. For monitors, the page and the workers' clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import redis

from operations.storage.index import COUNTERS, DUE, IN_FLIGHT, LIVE, OUTBOX, RETRYING, milliseconds, retrying_range
from operations.storage.records import Records


@dataclass(frozen=True, slots=True)
class Overdue:
    """How many have been due for long, and for how many seconds the first of all has been due."""

    count: int
    oldest_s: float


class Overview:
    """Counts what all processes share. Any method raises redis.RedisError when Redis is away."""

    def __init__(self, connection: redis.Redis, records: Records) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._records = records

    def size(self, key: str) -> int:
        """Count what is in a sorted set of the index."""
        return int(self._redis.zcard(key))

    def counters(self) -> dict[str, int]:
        """Read all counters: `looks:<result>`, `outcomes:<state>`, `deliveries:<target>:<state>`; see tallies.py."""
        return {name.decode(): int(count) for name, count in self._redis.hgetall(COUNTERS).items()}

    def in_flight(self) -> dict[str, int]:
        """Count the trackings being watched, by account, and by account and caller (`index.caller_field`)."""
        return {field.decode(): int(count) for field, count in self._redis.hgetall(IN_FLIGHT).items()}

    def retrying(self, targets: Iterable[str]) -> dict[str, int]:
        """Count the deliveries to each target that failed at least once and will be tried again."""
        return {target: int(self._redis.zlexcount(RETRYING, *retrying_range(target))) for target in targets}

    def overdue(self, by: timedelta) -> tuple[Overdue, Overdue]:
        """Tell what looks have been due for longer than that without being claimed, and what deliveries."""
        now, pipe = self._records.now(), self._redis.pipeline(transaction=False)
        for key in (DUE, OUTBOX):
            pipe.zcount(key, "-inf", f"({milliseconds(now - by)}")
            pipe.zrange(key, 0, 0, withscores=True)
        looks, first_look, deliveries, first_delivery = pipe.execute()
        now_ms = milliseconds(now)
        oldest_s = [max(0.0, -_seconds_until(first, now_ms)) for first in (first_look, first_delivery)]
        return Overdue(looks, oldest_s[0]), Overdue(deliveries, oldest_s[1])

    def due_in_s(self) -> tuple[float, float]:
        """Tell in how many seconds the first look is due, and the first delivery; infinity where there is none.

        Zero or less where one is due by now. A message to bring up to date counts as a delivery. One round trip.
        """
        now_ms = milliseconds(self._records.now())
        pipe = self._redis.pipeline(transaction=False)
        pipe.zrange(DUE, 0, 0, withscores=True)
        pipe.zrange(OUTBOX, 0, 0, withscores=True)
        pipe.zrange(LIVE, 0, 0, withscores=True)
        look, delivery, edit = (_seconds_until(found, now_ms) for found in pipe.execute())
        return look, min(delivery, edit)

    def next_look_in_s(self) -> float:
        """Tell in how many seconds the first look is due that is not yet; infinity where there is none."""
        now_ms = milliseconds(self._records.now())
        found = self._redis.zrangebyscore(DUE, f"({now_ms:.0f}", "+inf", start=0, num=1, withscores=True)
        return _seconds_until(found, now_ms)


def _seconds_until(first: list[tuple[bytes, float]], now_ms: float) -> float:
    return (first[0][1] - now_ms) / 1000 if first else float("inf")
