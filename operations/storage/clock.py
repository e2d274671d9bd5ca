"""The time by Redis' clock, which all processes share: their own clocks may differ."""

import time
from datetime import UTC, datetime
from typing import Any

import redis

_TRUSTED_FOR_S = 10.0
_READINGS = 5
_PROMPT_S = 0.05


class RedisClock:
    """Tells Redis' time from this process' monotonic clock, and reads it again every 10 s."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._offset_s = 0.0
        self._read_at_s = float("-inf")

    def now(self) -> datetime:
        """Tell the time to the millisecond, never ahead of Redis."""
        if time.monotonic() - self._read_at_s > _TRUSTED_FOR_S:
            self._read()
        return from_milliseconds(int((time.monotonic() + self._offset_s) * 1000))

    def _read(self) -> None:
        """Ask for the time; what is read is as old as its answer was late, so the promptest of a few answers counts."""
        readings = []
        for _ in range(_READINGS):
            asked_at_s = time.monotonic()
            seconds, microseconds = self._redis.time()
            answered_at_s = time.monotonic()
            readings.append((answered_at_s - asked_at_s, seconds + microseconds / 1e6 - answered_at_s))
            if readings[-1][0] < _PROMPT_S:
                break
        self._offset_s = min(readings)[1]
        self._read_at_s = time.monotonic()


def from_milliseconds(at_ms: int) -> datetime:
    """Read a score: milliseconds since 1970."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)
