"""Policies of looks: Opwatch's, and others for comparison. Times are seconds since the simulation began."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from operations.kind import Kind
from operations.model import Operation, Tracking
from operations.watching import pace
from operations.watching.durations import KEPT, Durations

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LONGEST_EXPONENTIAL_S, EXPONENT = 20.0, 1.5


class Policy(Protocol):
    """Decides which operations to look at. Operations are numbers."""

    def begin(self, number: int, at_s: float) -> None:
        """Note that an operation begins."""

    def choose(self, now_s: float, granted: int) -> list[int]:
        """Return the operations to look at now, at most `granted`."""

    def seen(self, number: int, now_s: float) -> None:
        """Note that it was seen unfinished."""

    def ended(self, number: int, duration_s: float) -> None:
        """Note that its end was seen."""


class _Queue:
    """Looks at due operations, the most overdue first."""

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
    """Looks at each operation at a fixed interval: Scalingo's command line every second, Terraform every 5 s."""

    def __init__(self, every_s: float) -> None:
        super().__init__()
        self._every_s = every_s

    def seen(self, number: int, now_s: float) -> None:
        """Look again a fixed time later."""
        self.due_s[number] = now_s + self._every_s


class Exponential(_Queue):
    """Waits 1 s, then 1.5 times as long each time, up to 20 s, as google-api-core does."""

    def __init__(self) -> None:
        super().__init__()
        self._wait_s: dict[int, float] = {}

    def seen(self, number: int, now_s: float) -> None:
        """Look again after a growing wait."""
        wait_s = self._wait_s.get(number, 1.0)
        self.due_s[number] = now_s + wait_s
        self._wait_s[number] = min(LONGEST_EXPONENTIAL_S, wait_s * EXPONENT)


class RoundRobin(_Queue):
    """Spends the whole budget, on the operation that was not looked at for longest."""

    def seen(self, number: int, now_s: float) -> None:
        """Look again when it has waited for longest."""
        self.due_s[number] = now_s


class Clairvoyant(_Queue):
    """Knows each end, and looks once then: the limit that the budget alone sets."""

    def __init__(self, ends_at_s: Sequence[float]) -> None:
        super().__init__()
        self._ends_at_s = ends_at_s

    def begin(self, number: int, _at_s: float) -> None:
        """Look when it ends."""
        self.due_s[number] = self._ends_at_s[number]

    def seen(self, number: int, now_s: float) -> None:
        """Fail: it has always ended when it is looked at."""
        message = f"{number} was looked at before its end, at {now_s} s"
        raise AssertionError(message)


class Opwatch:
    """Decides with watching/pace.py, and learns. `history_s` are the durations known at the start, newest first."""

    def __init__(
        self,
        history_s: Sequence[float],
        app_of: Callable[[int], str] = lambda _: "shop",
        kind: Kind = Kind.OPERATION,
    ) -> None:
        self._app_of = app_of
        self._kind = kind
        self._known_s = list(history_s)
        self._durations = Durations.learn(self._known_s, self._known_s, kind=self._kind)
        self._due: dict[str, Tracking] = {}

    def begin(self, number: int, at_s: float) -> None:
        """Look at once."""
        at = BEGAN + timedelta(seconds=at_s)
        self._due[str(number)] = Tracking(
            id=str(number),
            app=self._app_of(number),
            operation_id=str(number),
            region="osc-fr1",
            kind=self._kind,
            account="default",
            created_at=at,
            created_by="ci",
            timeout_s=86_400,
            next_look_at=at,
        )

    def choose(self, now_s: float, granted: int) -> list[int]:
        """Look at due operations, by worth."""
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
        """Learn its duration."""
        del self._due[str(number)]
        self._known_s = [duration_s, *self._known_s][:KEPT]
        self._durations = Durations.learn(self._known_s, self._known_s, kind=self._kind)
