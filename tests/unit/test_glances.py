"""What glances mean, how far they are believed, and what a round spends its tokens on."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from benchmarks.liars import LIARS, without_and_with_glances
from operations.kind import Kind
from operations.model import Operation, Tracking, Verdict
from operations.watching import pace
from operations.watching.durations import Durations
from operations.watching.glances import NO_HINT, Hint, Sight, Source, Status, Trust, View, Word, evidence, hint, merged
from tests.unit.strategies import NOW, a_tracking

RUNNING = Operation(status="running", type="restart", created_at=NOW)
LEARNED = Durations.learn([44.0, 39.0, 51.0, 46.0, 40.0, 62.0, 45.0, 43.0] * 5)
TRUSTED = Trust([("operation:restart", word, True) for word in Word for _ in range(10)])
HERE = View("osc-fr1", Source.APPS)
COSTS = {HERE: 1.0}


def at(seconds: float) -> datetime:
    """Return the time so many seconds after the operations began."""
    return NOW + timedelta(seconds=seconds)


def running(name: str, seen_s: float = 20.0, began_s: float = 0.0, **changes: object) -> Tracking:
    """Return a tracking of an app of its own that began at `began_s`, and was last looked at at `seen_s`."""
    operation = replace(RUNNING, created_at=at(began_s))
    changes = {"operation": operation, "polls": 1, "created_at": at(began_s), "last_polled_at": at(seen_s)} | changes
    return a_tracking(id=name, app=f"app-{name}", **changes)


@pytest.mark.parametrize(
    ("sight", "word", "since_s"),
    [
        (None, None, None),  # it is not listed
        (Sight("restarting", busy_at=at(30)), Word.BUSY, 30),
        (Sight("restarting", busy_at=at(19)), None, None),  # the look is newer
        (Sight("running", busy_at=at(28), idle_since=at(30)), Word.TURNED, 30),
        (Sight("running", busy_at=at(10), idle_since=at(15)), None, None),  # a look has seen it unfinished since
        (Sight("running", idle_since=at(-60)), None, None),
        (Sight("running", busy_at=at(-90), idle_since=at(-60)), None, None),  # of an earlier operation
    ],
)
def test_what_a_glance_says_of_an_operation(sight: Sight | None, word: Word | None, since_s: float | None) -> None:
    said = hint(running("one"), sight, at(31), TRUSTED, is_newest=True)
    assert (said.word, said.at) == (word, None if since_s is None else at(since_s))


def test_an_app_that_was_never_busy_tells_of_an_end_only_once_the_operation_should_show() -> None:
    fresh, idle = a_tracking(), Sight("running", idle_since=at(-60))
    assert hint(fresh, idle, at(4), TRUSTED, is_newest=True).word is None
    said = hint(fresh, idle, at(6), TRUSTED, is_newest=True)
    assert (said.word, said.at) == (Word.IDLE, at(5))


def test_a_busy_app_says_nothing_of_the_operation_before_its_newest() -> None:
    assert hint(running("one"), Sight("restarting", busy_at=at(30)), at(30), TRUSTED, is_newest=False) == NO_HINT


def test_a_glance_is_added_to_what_is_known() -> None:
    before = {
        "one": Sight("restarting", busy_at=at(1)),
        "two": Sight("running", at(1), at(2)),
        "gone": Sight("running"),
    }
    seen = {name: Status("running", busy=False) for name in ("one", "two")} | {"new": Status("booting", busy=True)}
    assert merged(before, seen, at(9)) == {
        "one": Sight("running", busy_at=at(1), idle_since=at(9)),
        "two": Sight("running", busy_at=at(1), idle_since=at(2)),
        "new": Sight("booting", busy_at=at(9)),
    }


@pytest.mark.parametrize(
    ("hinted", "ended_s", "found"),
    [
        (NO_HINT, 30, []),
        (Hint(Word.TURNED, at(30), busy_at=at(29)), 29, [(Word.TURNED, True), (Word.BUSY, True)]),
        (Hint(Word.TURNED, at(30), busy_at=at(29)), None, [(Word.TURNED, False)]),
        (Hint(Word.IDLE, at(30)), 20, [(Word.IDLE, True)]),
        (Hint(Word.IDLE, at(30)), None, [(Word.IDLE, False)]),
        (Hint(Word.BUSY, at(30), busy_at=at(30)), 20, [(Word.BUSY, False)]),  # it had ended 10 s before
        (Hint(Word.BUSY, at(30), busy_at=at(30)), 29, []),
        (Hint(Word.BUSY, at(30), busy_at=at(30)), None, []),
        (Hint(Word.TURNED, at(40), busy_at=at(39)), 30, [(Word.TURNED, True), (Word.BUSY, False)]),  # it turned late
    ],
)
def test_each_look_says_whether_the_glance_before_was_right(
    hinted: Hint, ended_s: float | None, found: list[tuple[Word, bool]]
) -> None:
    done = Operation(status="done", outcome=Verdict.SUCCEEDED, finished_at=at(ended_s or 0))
    assert evidence(hinted, RUNNING if ended_s is None else done) == found


def test_trust_is_earned_and_lost_by_type() -> None:
    trust = Trust([("operation:restart", Word.TURNED, True)] * 8 + [("operation:start-one-off", Word.IDLE, False)] * 5)
    one_off = a_tracking(operation=Operation(status="running", type="start-one-off"))
    assert trust.of(running("one"), Word.TURNED) > 0.9
    assert 0.5 < trust.of(running("one"), Word.IDLE) < 0.7
    assert trust.of(one_off, Word.IDLE) == 0


Hinted = tuple[Tracking, Hint]


def planned(hinted: list[Hinted], now_s: float, tokens: int = 5, glances: dict[View, float] = COSTS) -> pace.Plan:
    """Plan for these trackings, of 45 s each."""
    some = [pace.Candidate(tracking, LEARNED, said) for tracking, said in hinted]
    return pace.plan(some, tokens, at(now_s), capacity=5, glances=glances)


UNSEEN = Hint(shows=0.8)
MANY = [(running(f"{number}"), UNSEEN) for number in range(20)]


class TestPlans:
    """A round spends its tokens where they show the most probable unseen time."""

    def test_many_in_flight_are_glanced_at_and_one_alone_is_looked_at(self) -> None:
        assert planned(MANY, 42).glances == [HERE]
        alone = planned([(running("one"), UNSEEN)], 42)
        assert (alone.glances, [t.id for t in alone.looks]) == ([], ["one"])

    def test_a_glance_that_is_not_possible_or_too_dear_or_not_believed_is_not_made(self) -> None:
        assert len(planned(MANY, 42, glances={}).looks) == 5
        assert planned(MANY, 42, glances={HERE: 1000.0}).glances == []
        assert planned([(tracking, NO_HINT) for tracking, _ in MANY], 42).glances == []

    def test_deployments_are_shown_by_events_and_not_by_apps(self) -> None:
        deployments = [(running(f"{number}", 10.0, kind=Kind.DEPLOYMENT), UNSEEN) for number in range(20)]
        events = View("osc-fr1", Source.EVENTS)
        assert planned(deployments, 42, glances=COSTS).glances == []
        assert planned([*deployments, *MANY], 42, glances=COSTS | {events: 1.0}).glances == [events, HERE]

    def test_while_what_was_revealed_waits_there_is_no_other_glance(self) -> None:
        revealed = Hint(Word.TURNED, at(41), "running", at(39), trust=0.9)
        plan = planned([*MANY, (running("ended"), revealed)], 42, tokens=1)
        assert (plan.glances, [t.id for t in plan.looks]) == ([], ["ended"])

    def test_what_a_trusted_glance_saw_busy_a_moment_ago_waits(self) -> None:
        said = Hint(Word.BUSY, at(47.5), "restarting", at(47.5), trust=0.95, shows=0.8)
        doubted = Hint(Word.BUSY, at(47.5), "restarting", at(47.5))
        looks = planned([(running("busy"), said), (running("unsure"), doubted)], 48, tokens=4, glances={}).looks
        assert looks[0].id == "unsure"
        assert planned([(running("busy"), said)], 48, tokens=2, glances={}).looks == []

    def test_a_status_that_sticks_does_not_put_off_a_look_for_long(self) -> None:
        busy = Hint(Word.BUSY, at(80), "restarting", at(80), trust=0.98, shows=0.95)
        others = [(running(f"{number}", 80.0, 45.0), busy) for number in range(8)]
        assert [t.id for t in planned([*others, (running("stuck"), busy)], 90, tokens=1).looks] == ["stuck"]

    @pytest.mark.parametrize(("capacity", "views"), [(1, []), (2, []), (3, [HERE])])
    def test_with_a_small_budget_there_is_no_glance(self, capacity: int, views: list[View]) -> None:
        some = [pace.Candidate(tracking, LEARNED, said) for tracking, said in MANY]
        assert pace.plan(some, capacity, at(42), capacity=capacity, glances=COSTS).glances == views

    def test_a_single_deploy_goes_before_a_mass_restart_that_was_revealed(self) -> None:
        revealed = Hint(Word.TURNED, at(45), "running", at(44), trust=0.9)
        mass = [(running(f"{number}", created_by="many"), revealed) for number in range(200)]
        single = running("single", created_by="one")
        assert planned([*mass, (single, UNSEEN)], 55, tokens=1).looks == [single]

    def test_requests_are_dearer_while_the_bucket_is_low(self) -> None:
        ripe = [(running("one", 38.0), UNSEEN)]
        assert [len(planned(ripe, 41.5, tokens).looks) for tokens in (5, 1)] == [1, 0]
        needed = [(running("one", hurried=True), UNSEEN), (running("two", unanswered_since=at(41)), UNSEEN)]
        assert len(planned(needed, 41.5, 2, {}).looks) == 2

    @pytest.mark.parametrize("needed", [{"hurried": True}, {"unanswered_since": at(20)}, {"timeout_s": 60}])
    def test_no_glance_puts_off_a_look_that_is_needed(self, needed: dict[str, Any]) -> None:
        busy = Hint(Word.BUSY, at(56), "restarting", at(56), trust=0.98, shows=0.95)
        others = [(running(f"{number}", 50.0, 15.0), busy) for number in range(6)]
        plan = planned([*others, (running("needed", **needed), busy)], 60, tokens=1)
        assert (plan.glances, [t.id for t in plan.looks]) == ([], ["needed"])

    @pytest.mark.parametrize("word", [None, Word.BUSY, Word.TURNED])
    def test_when_the_clock_was_set_back_all_is_looked_at(self, word: Word | None) -> None:
        said = Hint() if word is None else Hint(word, at(40), "running", at(40), trust=0.98, shows=0.9)
        looks = planned([(running("seen"), said), (running("new", 9.0, 9.0), said)], -3600, tokens=3).looks
        assert {t.id for t in looks} == {"seen", "new"}


@pytest.mark.parametrize("liar", LIARS)
def test_a_glance_that_lies_makes_nothing_noticed_later_by_more_than_three_seconds(liar: str) -> None:
    without_s, with_s = without_and_with_glances(liar, seeds=1)
    assert with_s <= without_s + 3.0
