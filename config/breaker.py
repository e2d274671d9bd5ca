"""Asks a Redis that hangs only now and then, so that nobody waits behind others who wait for it."""

import time
from typing import Any

import redis

PAUSE_S = 1.0
"""How long nobody asks after a timeout; then one command may try."""


class NotAskedError(redis.ConnectionError):
    """Redis did not answer a moment ago, and was not asked again."""


class Breaker:
    """Who may ask: everybody, or one each second while the last answer stayed away."""

    def __init__(self) -> None:
        self._closed_until_s: float | None = None  # none while all is well

    def admits(self, now_s: float) -> bool:
        """Tell whether to ask now; after a pause, only the first to want it does."""
        if self._closed_until_s is None:
            return True
        if now_s < self._closed_until_s:
            return False
        self._closed_until_s = now_s + PAUSE_S
        return True

    def timed_out(self, now_s: float) -> None:
        """Begin a pause."""
        self._closed_until_s = now_s + PAUSE_S

    def answered(self) -> None:
        """Let everybody ask again."""
        self._closed_until_s = None


class GuardedRedis(redis.Redis):
    """A client whose single commands go through a breaker; they raise NotAskedError at once during a pause.

    Pipelines do not: only the doorbell uses them, in a thread of its own.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._breaker = Breaker()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command unless Redis is known to hang."""
        if not self._breaker.admits(time.monotonic()):
            raise NotAskedError("Redis did not answer a moment ago")
        try:
            answer = super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except redis.TimeoutError:
            self._breaker.timed_out(time.monotonic())
            raise
        except redis.ResponseError:
            self._breaker.answered()
            raise
        self._breaker.answered()
        return answer
