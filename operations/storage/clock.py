"""Redis's clock, which all processes share."""

import time
from datetime import UTC, datetime
from typing import Any

import redis

_TRUSTED_FOR_S = 1.0
_READINGS = 5
_PROMPT_S = 0.05


class Clock:
    """Computes Redis's time from this process's monotonic clock, and reads it again every second."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._offset_s = 0.0
        self._read_at_s = float("-inf")

    def now(self) -> datetime:
        """Return the time in milliseconds, never ahead of Redis."""
        if time.monotonic() - self._read_at_s > _TRUSTED_FOR_S:
            self._read()
        return from_milliseconds(int((time.monotonic() + self._offset_s) * 1000))

    def _read(self) -> None:
        """Read the time. An answer is as old as it took to arrive, so the fastest of a few is used."""
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


def milliseconds(at: datetime) -> int:
    """Write a time as a score: milliseconds since 1970."""
    return round(at.timestamp() * 1000)


def from_milliseconds(at_ms: int) -> datetime:
    """Read a time from a score, the reverse of `milliseconds`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)
