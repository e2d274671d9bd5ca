"""Policies of requests: Opwatch's, and others for comparison. Times are seconds since the simulation began."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from operations.kind import Kind
from operations.model import Operation, Tracking, Verdict
from operations.storage.budget import LARGEST_BURST
from operations.watching import glances, pace
from operations.watching.durations import KEPT, Durations
from operations.watching.glances import NO_HINT, Hint, Sight, Status, Trust

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LONGEST_EXPONENTIAL_S, EXPONENT = 20.0, 1.5
GLANCE = -1
"""Among the chosen numbers: a glance at all operations."""


class Policy(Protocol):
    """Decides which operations to look at. Operations are numbers."""

    def begin(self, number: int, at_s: float) -> None:
        """Note that an operation begins."""

    def choose(self, now_s: float, granted: int) -> list[int]:
        """Return the operations to look at now, or GLANCE, at most `granted`."""

    def glanced(self, busy: set[int], now_s: float) -> None:
        """Note which operations a glance shows as busy."""

    def seen(self, number: int, now_s: float) -> None:
        """Note that it was seen unfinished."""

    def ended(self, number: int, duration_s: float, now_s: float) -> None:
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

    def glanced(self, _busy: set[int], _now_s: float) -> None:
        """Never glance."""

    def ended(self, number: int, _duration_s: float, _now_s: float) -> None:
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


class BeforeGlances(_Queue):
    """Opwatch's pace until commit 7645211: one price for all looks, and no glances."""

    PRICE_S = 0.25

    def __init__(self, history_s: Sequence[float]) -> None:
        super().__init__()
        self._known_s = list(history_s)
        self._durations = Durations.learn(self._known_s, self._known_s)
        self._began_s: dict[int, float] = {}
        self._seen_s: dict[int, float] = {}

    def begin(self, number: int, at_s: float) -> None:
        """Look at once."""
        super().begin(number, at_s)
        self._began_s[number] = at_s

    def choose(self, now_s: float, granted: int) -> list[int]:
        """Look at what has probably been finished for longest."""
        if not granted:
            return []
        due = [number for number, at_s in self.due_s.items() if at_s <= now_s]
        return sorted(due, key=lambda number: -self._worth_s(number, now_s))[:granted]

    def seen(self, number: int, now_s: float) -> None:
        """Look again when it has probably been finished for a quarter of a second."""
        age_s, self._seen_s[number] = now_s - self._began_s[number], now_s
        wait_s = self._durations.age_s(age_s, self.PRICE_S) - age_s
        self.due_s[number] = now_s + min(pace.LONGEST_WAIT_S, max(pace.SHORTEST_WAIT_S, wait_s))

    def ended(self, number: int, duration_s: float, now_s: float) -> None:
        """Learn its duration."""
        super().ended(number, duration_s, now_s)
        self._known_s = [duration_s, *self._known_s][:KEPT]
        self._durations = Durations.learn(self._known_s, self._known_s)

    def _worth_s(self, number: int, now_s: float) -> float:
        began_s = self._began_s[number]
        waits = (now_s - self._seen_s.get(number, began_s)) / pace.LONGEST_WAIT_S
        seen_at_s = self._seen_s.get(number, began_s) - began_s
        return max(self._durations.unseen_s(seen_at_s, now_s - began_s), self.PRICE_S * waits * waits)


class Opwatch:
    """Decides with watching/pace.py, and learns. `history_s` are the durations known at the start, newest first.

    With a history, glances are as trusted as after so many right ones. With `may_glance` unset, it never glances.
    """

    def __init__(
        self,
        history_s: Sequence[float],
        app_of: Callable[[int], str] = "shop-{}".format,
        kind: Kind = Kind.OPERATION,
        *,
        may_glance: bool = True,
    ) -> None:
        self._app_of = app_of
        self._kind = kind
        self._may_glance = may_glance
        self._known_s = list(history_s)
        self._durations = Durations.learn(self._known_s, self._known_s, kind=self._kind)
        self._flying: dict[str, Tracking] = {}
        self._sights: dict[str, Sight] = {}
        self._glanced_at = BEGAN
        self._hints: dict[str, Hint] = {}
        known = f"{kind}:restart"
        self._evidence = [(known, word, True) for word in (*glances.Word,) for _ in history_s[: len(history_s) // 3]]
        self._trust = Trust(self._evidence)
        self.glances = 0

    def begin(self, number: int, at_s: float) -> None:
        """Look at once."""
        at = BEGAN + timedelta(seconds=at_s)
        self._flying[str(number)] = Tracking(
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
        """Carry out the plan of watching/pace.py."""
        now = BEGAN + timedelta(seconds=now_s)
        flying = self._flying.values() if granted else ()
        due = [t for t in flying if t.next_look_at is not None and t.next_look_at <= now]
        newest = {t.app: t.id for t in due}
        self._hints = {t.id: self._hint(t, is_newest=newest[t.app] == t.id) for t in due}
        candidates = [pace.Candidate(t, self._durations, self._hints[t.id]) for t in due]
        views = {glances.view_of(t): 1.0 for t in due} if self._may_glance else {}
        plan = pace.plan(candidates, granted, now, capacity=LARGEST_BURST, glances=views)
        self.glances += len(plan.glances)
        return [int(t.id) for t in plan.looks] + [GLANCE] * len(plan.glances)

    def glanced(self, busy: set[int], now_s: float) -> None:
        """Remember what was busy."""
        self._glanced_at = BEGAN + timedelta(seconds=now_s)
        seen = {t.app: Status("restarting", busy=False) for t in self._flying.values()}
        seen |= {self._app_of(number): Status("restarting", busy=True) for number in busy}
        self._sights = glances.merged(self._sights, seen, self._glanced_at)

    def seen(self, number: int, now_s: float) -> None:
        """Look again when the pace says so."""
        now, before = BEGAN + timedelta(seconds=now_s), self._flying[str(number)]
        running = Operation(status="running", type="restart", created_at=before.created_at)
        self._learn(before, running)
        after = replace(before, operation=running, polls=before.polls + 1, last_polled_at=now)
        self._flying[str(number)] = replace(after, next_look_at=pace.next_look_at(after, self._durations, now))

    def ended(self, number: int, duration_s: float, _now_s: float) -> None:
        """Learn its duration, and whether the glances were right."""
        ended = self._flying.pop(str(number))
        finished_at = ended.created_at + timedelta(seconds=duration_s)
        done = Operation(status="done", outcome=Verdict.SUCCEEDED, type="restart", finished_at=finished_at)
        self._learn(ended, done)
        self._known_s = [duration_s, *self._known_s][:KEPT]
        self._durations = Durations.learn(self._known_s, self._known_s, kind=self._kind)

    def _hint(self, tracking: Tracking, *, is_newest: bool) -> Hint:
        sight = self._sights.get(tracking.app)
        return glances.hint(tracking, sight, self._glanced_at, self._trust, is_newest=is_newest)

    def _learn(self, tracking: Tracking, seen: Operation) -> None:
        found = glances.evidence(self._hints.get(tracking.id, NO_HINT), seen)
        if found:
            known = glances.type_of(replace(tracking, operation=seen))
            self._evidence = ([(known, *each) for each in found] + self._evidence)[: glances.EVIDENCE_KEPT]
            self._trust = Trust(self._evidence)
