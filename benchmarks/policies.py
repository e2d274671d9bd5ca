"""When to look: Opwatch's way, and the ways it is compared with. Times are seconds since a simulation began."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from operations.model import Operation, Tracking
from operations.watching import pace
from operations.watching.durations import KEPT, Durations

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LONGEST_EXPONENTIAL_S, EXPONENT = 20.0, 1.5


class Policy(Protocol):
    """Decides what to look at; operations are numbers."""

    def begin(self, number: int, at_s: float) -> None:
        """Take in an operation that begins."""

    def choose(self, now_s: float, granted: int) -> list[int]:
        """Say what to look at now, as many as are granted at most."""

    def seen(self, number: int, now_s: float) -> None:
        """Take in that it was seen unfinished."""

    def ended(self, number: int, duration_s: float) -> None:
        """Take in that it was seen to have ended."""


class _Queue:
    """Looks at whatever is due, the most overdue first."""

    def __init__(self) -> None:
        self.due_s: dict[int, float] = {}

    def begin(self, number: int, at_s: float) -> None:
        self.due_s[number] = at_s

    def choose(self, now_s: float, granted: int) -> list[int]:
        due = sorted((at_s, number) for number, at_s in self.due_s.items() if at_s <= now_s)
        return [number for _, number in due[:granted]]

    def ended(self, number: int, _duration_s: float) -> None:
        del self.due_s[number]


class EverySeconds(_Queue):
    """Looks at each operation every so many seconds: Scalingo's command line each second, Terraform each 5."""

    def __init__(self, every_s: float) -> None:
        super().__init__()
        self._every_s = every_s

    def seen(self, number: int, now_s: float) -> None:
        """Look again a fixed time later."""
        self.due_s[number] = now_s + self._every_s


class Exponential(_Queue):
    """Waits 1 s, then half as long again each time, up to 20 s, as google-api-core does."""

    def __init__(self) -> None:
        super().__init__()
        self._wait_s: dict[int, float] = {}

    def seen(self, number: int, now_s: float) -> None:
        """Look again after a wait that grows."""
        wait_s = self._wait_s.get(number, 1.0)
        self.due_s[number] = now_s + wait_s
        self._wait_s[number] = min(LONGEST_EXPONENTIAL_S, wait_s * EXPONENT)


class RoundRobin(_Queue):
    """Spends the whole budget, on what has been unseen for longest."""

    def seen(self, number: int, now_s: float) -> None:
        """Look again when it is the one unseen for longest."""
        self.due_s[number] = now_s


class Clairvoyant(_Queue):
    """Knows when each ends, looks once then: the bound that the budget alone sets."""

    def __init__(self, ends_at_s: Sequence[float]) -> None:
        super().__init__()
        self._ends_at_s = ends_at_s

    def begin(self, number: int, _at_s: float) -> None:
        """Look when it ends."""
        self.due_s[number] = self._ends_at_s[number]

    def seen(self, number: int, now_s: float) -> None:
        """Never: it has ended when it is looked at."""
        message = f"{number} was looked at before its end, at {now_s} s"
        raise AssertionError(message)


class Opwatch:
    """Decides with watching/pace.py and learns as it goes; `history_s` is what it starts with, newest first."""

    def __init__(self, history_s: Sequence[float], app_of: Callable[[int], str] = lambda _: "shop") -> None:
        self._app_of = app_of
        self._known_s = list(history_s)
        self._durations = Durations.of(self._known_s, self._known_s)
        self._due: dict[str, Tracking] = {}

    def begin(self, number: int, at_s: float) -> None:
        """Look at once."""
        at = BEGAN + timedelta(seconds=at_s)
        self._due[str(number)] = Tracking(
            id=str(number),
            app=self._app_of(number),
            operation_id=str(number),
            region="osc-fr1",
            account="default",
            created_at=at,
            created_by="ci",
            timeout_s=86_400,
            next_look_at=at,
        )

    def choose(self, now_s: float, granted: int) -> list[int]:
        """Look at what is due, the most worth it first."""
        now = BEGAN + timedelta(seconds=now_s)
        due = [t for t in self._due.values() if t.next_look_at is not None and t.next_look_at <= now] if granted else []
        return [int(t.id) for t in pace.by_worth([(t, self._durations) for t in due], now)[:granted]]

    def seen(self, number: int, now_s: float) -> None:
        """Look again when the pace says so."""
        now, before = BEGAN + timedelta(seconds=now_s), self._due[str(number)]
        running = Operation(status="running", type="restart", created_at=before.created_at)
        after = replace(before, operation=running, polls=before.polls + 1, last_polled_at=now)
        self._due[str(number)] = replace(after, next_look_at=pace.next_look_at(after, self._durations, now))

    def ended(self, number: int, duration_s: float) -> None:
        """Learn how long it took."""
        del self._due[str(number)]
        self._known_s = [duration_s, *self._known_s][:KEPT]
        self._durations = Durations.of(self._known_s, self._known_s)
