"""How much each target is being sent just now; one that hangs or asks for a pause holds up no other."""

import threading
import time
from collections import Counter

LONGEST_HOLD_S = 600.0


class Room:
    """Counts what is under way for each target. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: Counter[str] = Counter()
        self._held_until_s: dict[str, float] = {}
        self._turned_away: set[str] = set()

    def enter(self, target: str, at_once: int) -> bool:
        """Take a place for one delivery, if there is one and the target asked for no pause."""
        with self._lock:
            if self._held_until_s.get(target, 0.0) > time.monotonic() or self._under_way[target] >= at_once:
                self._turned_away.add(target)
                return False
            self._under_way[target] += 1
            return True

    def leave(self, target: str) -> bool:
        """Give the place back; tells whether somebody was turned away meanwhile, so that a new round is worth it."""
        with self._lock:
            self._under_way[target] -= 1
            waiting = target in self._turned_away
            self._turned_away.discard(target)
            return waiting

    def hold(self, target: str, pause_s: float) -> None:
        """Let nobody in for this target during the pause it asked for, ten minutes at most: then one finds out."""
        with self._lock:
            self._held_until_s[target] = time.monotonic() + min(pause_s, LONGEST_HOLD_S)

    def is_held(self, target: str) -> bool:
        """Tell whether it asked for a pause that is not over."""
        with self._lock:
            return self._held_until_s.get(target, 0.0) > time.monotonic()
