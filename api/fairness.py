"""Keeps one noisy caller from starving the others: a queue per caller, and a share of the slots for waiting."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event


class FairQueue:
    """Admits `at_once` requests of each caller (None: of all without a token); up to `queued` more wait in order.

    A finished request passes its slot to the first that waits, so no later request can overtake it.
    """

    def __init__(self, at_once: int, queued: int) -> None:
        self._at_once = at_once
        self._most_queued = queued
        self._let_in: Counter[str | None] = Counter()
        self._turns: defaultdict[str | None, deque[Event]] = defaultdict(deque)
        self._queued: Counter[str | None] = Counter()

    def queued(self, caller: str | None) -> int:
        """Count the caller's waiting requests."""
        return self._queued[caller]

    def acquire(self, caller: str | None) -> bool:
        """Wait for this caller's turn. Returns False at once if too many of its requests wait."""
        if self.queued(caller) >= self._most_queued:
            return False
        self._queued[caller] += 1
        self._wait(caller)
        self._queued[caller] -= 1
        return True

    def release(self, caller: str | None) -> None:
        """Admit the caller's next request."""
        if self._turns[caller]:
            self._turns[caller].popleft().set()
        else:
            self._let_in[caller] -= 1

    @contextmanager
    def stepped_aside(self, caller: str | None) -> Iterator[None]:
        """Admit another request of the caller during the block."""
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
    """A number of slots for waiting requests. One caller can hold all but `spare`."""

    def __init__(self, slots: int, *, spare: int) -> None:
        self._slots = slots
        self._spare = spare
        self._held: Counter[str] = Counter()

    def acquire(self, caller: str) -> bool:
        """Take a slot; False if none is free for this caller."""
        free = self._held.total() < self._slots and self._held[caller] < self._slots - self._spare
        self._held[caller] += free
        return free

    def release(self, caller: str) -> None:
        """Release a slot."""
        self._held[caller] -= 1
