"""Callers do not stand in each other's way: requests queue per caller, and no caller takes every slot to wait in."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Semaphore


class FairQueue:
    """Lets in `at_once` requests of each caller (None: of all without a token); up to `queued` more wait in order."""

    def __init__(self, at_once: int, queued: int) -> None:
        self._slots: defaultdict[str | None, Semaphore] = defaultdict(lambda: Semaphore(at_once))
        self._most_queued = queued
        self._queued: Counter[str | None] = Counter()

    def acquire(self, caller: str | None) -> bool:
        """Wait until this caller's turn comes; False, at once, where too many wait for it already."""
        if self._slots[caller].acquire(blocking=False):
            return True
        if self._queued[caller] >= self._most_queued:
            return False
        self._queued[caller] += 1
        self._slots[caller].acquire()
        self._queued[caller] -= 1
        return True

    def release(self, caller: str | None) -> None:
        """Let the caller's next request in."""
        self._slots[caller].release()

    @contextmanager
    def stepped_aside(self, caller: str | None) -> Iterator[None]:
        """Let another request in meanwhile."""
        self._slots[caller].release()
        try:
            yield
        finally:
            self._slots[caller].acquire()


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
