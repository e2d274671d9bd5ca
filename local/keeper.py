"""Starts what has died again: soon at first, less often while it keeps dying."""

import signal
from collections.abc import Callable
from typing import Protocol

from local.errors import KeepsDyingError

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 5.0
WELL_AFTER_S = 10.0
"""Whoever has lived this long was well; its next death is a first one again."""
TRIES = 3


class Startable(Protocol):
    """What a keeper keeps: something named that is started, and found ended with an exit code."""

    @property
    def name(self) -> str:
        """Who it is, for the messages."""

    def start(self) -> None:
        """Start it, without waiting for anything."""

    def poll(self) -> int | None:
        """Return the exit code once it has ended, None while it runs."""


class Keeper:
    """Keeps one process running that was started at `started_s`; `check` it often. Times are monotonic.

    Raises KeepsDyingError from `check` when it has died three times in a row, each time soon, and never worked.
    """

    def __init__(self, process: Startable, say: Callable[[str], None], started_s: float) -> None:
        self._process = process
        self._say = say
        self._started_s = started_s
        self._restart_s: float | None = None
        self._deaths = 0
        self._worked = False

    def worked(self) -> None:
        """Note that it does its work: from now on it is started again however often it dies. Any thread may call."""
        self._worked = True

    def check(self, now_s: float) -> None:
        """Start it again if it is time to."""
        if self._restart_s is not None:
            if now_s >= self._restart_s:
                self._restart_s = None
                self._started_s = now_s
                self._process.start()
            return
        if now_s - self._started_s >= WELL_AFTER_S:
            self._deaths = 0
            self._worked = True
        code = self._process.poll()
        if code is not None:
            self._note_death(code, now_s)

    def _note_death(self, code: int, now_s: float) -> None:
        self._deaths += 1
        ended = f"{self._process.name} {describe_exit(code)}"
        if self._deaths >= TRIES and not self._worked:
            message = f"{ended}, the {TRIES}rd time in a row. Giving up: what it said above is the reason."
            raise KeepsDyingError(message)
        delay_s = restart_delay_s(self._deaths)
        self._restart_s = now_s + delay_s
        self._say(f"{ended}; starting it again in {delay_s:g} s")


def restart_delay_s(deaths: int) -> float:
    """Return how long to wait after so many deaths in a row (at least 1): 0.2 s, doubling up to 5 s."""
    # The exponent is capped because floats are not endless, and something may well die 2,000 times.
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(deaths - 1, 10))


def describe_exit(code: int) -> str:
    """Return what an exit code means, in words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
