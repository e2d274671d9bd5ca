"""Places to wait for an end: no caller takes them all from the others."""

import threading
from collections import Counter


class Places:
    """A number of places, of which one caller may hold all but `spare`. Safe in any number of threads."""

    def __init__(self, places: int, *, spare: int) -> None:
        self._places = places
        self._spare = min(spare, places - 1)
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, caller: str) -> bool:
        """Take a place, if there is one for this caller."""
        with self._lock:
            room = self._held.total() < self._places and self._held[caller] < self._places - self._spare
            self._held[caller] += room
            return room

    def give_back(self, caller: str) -> None:
        """Give a place back."""
        with self._lock:
            self._held[caller] -= 1
