"""Heartbeats of the workers: which are alive, and which have fallen silent."""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import redis

from operations.storage.index import milliseconds

SILENT_AFTER = timedelta(seconds=3)
"""A worker without a beat for this long is presumed dead, and others may look at what it had claimed."""

FIRST_BEATS_S = 1.5
"""A worker that has just started waits this long for the others to beat: Redis may have come back only now."""

LONGEST_PAUSE_S = 2.0
"""Beats come each second. After a longer pause Redis was away, perhaps for all workers."""

GONE_AFTER = timedelta(seconds=10)
"""Without any beat for this long, the service has no worker."""

_WORKERS = "opwatch:workers"


class Beats(NamedTuple):
    """How many workers are alive, and the time of the last beat in seconds since 1970 (0 where none is known)."""

    alive: int
    last_at_s: float


class Heartbeat:
    """Tells the other processes that this worker is alive, and which of them are not."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._beat_at_s: float | None = None
        self._settled_from_s = float("inf")

    @property
    def is_settled(self) -> bool:
        """Whether Redis has answered this worker for long enough to trust that silent workers are dead.

        Right after an outage the others still have to beat, and to record what they found out meanwhile.
        """
        now_s = time.monotonic()
        beats = self._beat_at_s is not None and now_s - self._beat_at_s <= LONGEST_PAUSE_S
        return beats and now_s >= self._settled_from_s

    def beat(self, worker: str, now: datetime) -> frozenset[str]:
        """Record that this worker's clock runs; returns the workers that have fallen silent."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zadd(_WORKERS, {worker: milliseconds(now)})
        pipe.zrangebyscore(_WORKERS, "-inf", milliseconds(now - SILENT_AFTER))
        _, silent = pipe.execute()
        before_s, self._beat_at_s = self._beat_at_s, time.monotonic()
        if before_s is None:
            self._settled_from_s = self._beat_at_s + FIRST_BEATS_S
        elif self._beat_at_s - before_s > LONGEST_PAUSE_S:
            self._settled_from_s = self._beat_at_s + SILENT_AFTER.total_seconds()
        return frozenset(name.decode() for name in silent)

    def forget(self, workers: Iterable[str]) -> None:
        """Take workers off the list: one that stops, or silent ones whose work was released."""
        self._redis.zrem(_WORKERS, *workers)

    def has_worker(self) -> bool:
        """Tell whether any worker's clock beat within the last 10 s."""
        return self.beats().alive > 0

    def beats(self) -> Beats:
        """Count the workers whose clock beat within the last 10 s, and tell when the last beat was."""
        seconds, _ = self._redis.time()
        pipe = self._redis.pipeline(transaction=False)
        pipe.zcount(_WORKERS, (seconds - GONE_AFTER.total_seconds()) * 1000, "+inf")
        pipe.zrange(_WORKERS, -1, -1, withscores=True)
        alive, last = pipe.execute()
        return Beats(int(alive), last[0][1] / 1000 if last else 0.0)
