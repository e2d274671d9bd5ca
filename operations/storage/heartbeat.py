"""Heartbeats of the workers: which are alive, and which are silent."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import redis

from operations.storage.clock import milliseconds

SILENT_AFTER = timedelta(seconds=3)
"""A worker without a heartbeat for so long is presumed dead, and its looks are released."""

FIRST_BEATS_S = 1.5
"""A worker that starts waits so long for the others' heartbeats, since Redis may have just come back."""

LONGEST_PAUSE_S = 2.0
"""Heartbeats are sent each second. After a longer pause, Redis was away, perhaps for all workers."""

GONE_AFTER = timedelta(seconds=10)
"""Without any heartbeat for so long, the service has no worker."""

_WORKERS = "opwatch:workers"


class Beats(NamedTuple):
    """How many workers are alive, and the time of the last heartbeat in seconds since 1970 (0 if unknown)."""

    alive: int
    last_at_s: float


class Heartbeat:
    """Sends this worker's heartbeats, and finds silent workers."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._beat_at_s: float | None = None
        self._beat_at = datetime.min.replace(tzinfo=UTC)
        self._settled_from_s = float("inf")

    @property
    def is_settled(self) -> bool:
        """Tell whether Redis has answered for long enough to presume silent workers dead.

        Directly after an outage, or after Redis's clock was set back, the others still have to send heartbeats and
        record their results.
        """
        now_s = time.monotonic()
        beats = self._beat_at_s is not None and now_s - self._beat_at_s <= LONGEST_PAUSE_S
        return beats and now_s >= self._settled_from_s

    def beat(self, worker: str, now: datetime) -> frozenset[str]:
        """Send a heartbeat. Returns the silent workers."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zadd(_WORKERS, {worker: milliseconds(now)})
        pipe.zrangebyscore(_WORKERS, "-inf", milliseconds(now - SILENT_AFTER))
        pipe.zrangebyscore(_WORKERS, milliseconds(now + SILENT_AFTER), "+inf")  # from before Redis's clock was set back
        _, silent, ahead = pipe.execute()
        before_s, self._beat_at_s = self._beat_at_s, time.monotonic()
        before, self._beat_at = self._beat_at, now
        if before_s is None:
            self._settled_from_s = self._beat_at_s + FIRST_BEATS_S
        elif self._beat_at_s - before_s > LONGEST_PAUSE_S or now < before:
            self._settled_from_s = self._beat_at_s + SILENT_AFTER.total_seconds()
        return frozenset(name.decode() for name in [*silent, *ahead])

    def forget(self, workers: Iterable[str]) -> None:
        """Remove workers: one that stops, or silent ones whose looks were released."""
        self._redis.zrem(_WORKERS, *workers)

    def has_worker(self) -> bool:
        """Tell whether any worker sent a heartbeat in the last 10 s."""
        return self.beats().alive > 0

    def beats(self) -> Beats:
        """Count the workers with a heartbeat in the last 10 s, and return the time of the last heartbeat."""
        seconds, _ = self._redis.time()
        pipe = self._redis.pipeline(transaction=False)
        gone_s = GONE_AFTER.total_seconds()
        pipe.zcount(_WORKERS, (seconds - gone_s) * 1000, (seconds + gone_s) * 1000)
        pipe.zrange(_WORKERS, -1, -1, withscores=True)
        alive, last = pipe.execute()
        return Beats(int(alive), last[0][1] / 1000 if last else 0.0)
