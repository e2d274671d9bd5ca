"""Who is served next: callers in turn, so that one that floods waits behind itself. Pure."""

from collections import deque
from collections.abc import Mapping
from typing import Generic, TypeVar

from pydantic import SecretStr

from config.callers import bearer_of, caller_of
from server.arrival import Arrival

T = TypeVar("T")

HEALTH_CHECK = "/healthz"
"""The turn of a router that asks whether the process is alive; no caller has such a name."""


def turn_of(arrival: Arrival, tokens: Mapping[str, SecretStr]) -> str | None:
    """Tell in whose turn a request is served: its caller's, the health check's, or that of all others."""
    return HEALTH_CHECK if arrival.checks_health else caller_of(bearer_of(arrival.authorization), tokens)


class Turns(Generic[T]):
    """What waits to be served, by caller (None: nobody known); those of one caller keep their order."""

    def __init__(self) -> None:
        self._waiting: dict[str | None, deque[T]] = {}  # in the order of their turns

    def add(self, caller: str | None, item: T) -> None:
        """Let something wait for this caller's turn."""
        self._waiting.setdefault(caller, deque()).append(item)

    def __len__(self) -> int:
        """Count all that waits."""
        return sum(map(len, self._waiting.values()))

    def turn_away(self) -> T:
        """Give up what came last of the caller with most waiting; raises ValueError where nothing waits."""
        caller, items = max(self._waiting.items(), key=lambda each: len(each[1]))
        item = items.pop()
        if not items:
            del self._waiting[caller]
        return item

    def next(self) -> T | None:
        """Take what is served next; its caller's next turn comes after everybody else's."""
        if not self._waiting:
            return None
        caller = next(iter(self._waiting))
        items = self._waiting.pop(caller)
        item = items.popleft()
        if items:
            self._waiting[caller] = items
        return item
