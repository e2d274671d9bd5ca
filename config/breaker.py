"""A circuit breaker: while Redis hangs, only one command a second tries it, and requests do not queue up."""

import time
from typing import Any

import redis

PAUSE_S = 1.0
"""The pause after a timeout. Then one command may try."""


class NotAskedError(redis.ConnectionError):
    """Redis timed out a moment ago, and was not asked again."""


class Breaker:
    """Decides which commands may be sent: all, or after a timeout one a second."""

    def __init__(self) -> None:
        self._closed_until_s: float | None = None  # None while Redis answers

    def admits(self, now_s: float) -> bool:
        """Tell whether to ask now. After a pause, only the first caller may."""
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
        """End the pause."""
        self._closed_until_s = None


class GuardedRedis(redis.Redis):
    """A client whose single commands go through a breaker. During a pause they raise NotAskedError at once.

    Pipelines do not: only the doorbell uses them, in its own thread.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._breaker = Breaker()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command, unless Redis is known to hang."""
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
