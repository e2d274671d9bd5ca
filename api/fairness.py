"""Callers do not stand in each other's way: requests queue per caller, and no caller takes every slot to wait in."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event


class FairQueue:
    """Lets in `at_once` requests of each caller (None: of all without a token); up to `queued` more wait in order.

    A request that ends hands its slot to the first that waits: none that comes later can overtake it.
    """

    def __init__(self, at_once: int, queued: int) -> None:
        self._at_once = at_once
        self._most_queued = queued
        self._let_in: Counter[str | None] = Counter()
        self._turns: defaultdict[str | None, deque[Event]] = defaultdict(deque)
        self._queued: Counter[str | None] = Counter()

    def queued(self, caller: str | None) -> int:
        """Count the caller's requests that have not been let in yet."""
        return self._queued[caller]

    def acquire(self, caller: str | None) -> bool:
        """Wait until this caller's turn comes; False, at once, where too many wait for it already."""
        if self.queued(caller) >= self._most_queued:
            return False
        self._queued[caller] += 1
        self._wait(caller)
        self._queued[caller] -= 1
        return True

    def release(self, caller: str | None) -> None:
        """Let the caller's next request in."""
        if self._turns[caller]:
            self._turns[caller].popleft().set()
        else:
            self._let_in[caller] -= 1

    @contextmanager
    def stepped_aside(self, caller: str | None) -> Iterator[None]:
        """Let another request in meanwhile."""
        self.release(caller)
        try:
            yield
        finally:
            self._wait(caller)

    def _wait(self, caller: str | None) -> None:
        if self._let_in[caller] < self._at_once:
            self._let_in[caller] += 1
        else:
            turn = Event()
            self._turns[caller].append(turn)
            turn.wait()


class WaitSlots:
    """A number of slots to wait in, of which one caller may hold all but `spare`."""

    def __init__(self, slots: int, *, spare: int) -> None:
        self._slots = slots
        self._spare = spare
        self._held: Counter[str] = Counter()

    def acquire(self, caller: str) -> bool:
        """Take a slot; False where there is none for this caller."""
        free = self._held.total() < self._slots and self._held[caller] < self._slots - self._spare
        self._held[caller] += free
        return free

    def release(self, caller: str) -> None:
        """Give a slot back."""
        self._held[caller] -= 1
