"""When the next look is due, and which look goes first."""

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operations.kind import Kind
from operations.model import Operation, Tracking
from operations.storage.budget import Allowance
from operations.watching import pace
from operations.watching.durations import Durations
from tests.unit.strategies import NOW, a_tracking

RUNNING = Operation(status="running", type="restart", created_at=NOW)
LEARNED = Durations.learn([44.0, 39.0, 51.0, 46.0, 40.0, 62.0, 45.0, 43.0] * 5)
UNKNOWN = Durations.learn()


def seen(age_s: float, **changes: object) -> Tracking:
    """Return a tracking last seen running at this age."""
    at = NOW + timedelta(seconds=age_s)
    return a_tracking(operation=RUNNING, polls=1, last_polled_at=at, **changes)


def ranked(candidates: Iterable[tuple[Tracking, Durations]], now: datetime) -> list[Tracking]:
    """Return the looks in their order, as if there were a token for each."""
    some = [pace.Candidate(*each) for each in candidates]
    return pace.plan(some, len(some), now, capacity=len(some), glances={}).looks


@given(st.floats(0, 90_000), st.sampled_from([LEARNED, UNKNOWN]))
def test_an_operation_seen_running_is_looked_at_again_after_a_second_at_least_and_a_minute_at_most(
    age_s: float, durations: Durations
) -> None:
    tracking = seen(age_s, timeout_s=1_000_000)
    assert tracking.last_polled_at is not None
    wait_s = (pace.next_look_at(tracking, durations, tracking.last_polled_at) - tracking.last_polled_at).total_seconds()
    assert pace.SHORTEST_WAIT_S <= wait_s <= pace.LONGEST_WAIT_S


@given(st.floats(-90_000, 86_400) | st.floats(-5, 5), st.integers(60, 86_400), st.sampled_from([LEARNED, UNKNOWN]))
def test_the_next_look_is_ahead_and_never_past_a_deadline_that_lies_ahead(
    left_s: float, timeout_s: int, durations: Durations
) -> None:
    deadline = NOW + timedelta(seconds=timeout_s)
    now = max(NOW, deadline - timedelta(seconds=left_s))
    due = pace.next_look_at(a_tracking(timeout_s=timeout_s), durations, now)
    assert due > now
    if now < deadline:
        assert due <= deadline
    else:
        assert due >= now + timedelta(seconds=pace.SHORTEST_WAIT_S)


def test_the_next_look_is_due_when_it_has_probably_been_finished_for_long_enough() -> None:
    for age_s in (0.0, 20.0, 40.0, 50.0, 300.0):
        tracking = seen(age_s)
        due = pace.next_look_at(tracking, LEARNED, NOW + timedelta(seconds=age_s))
        unseen_s = pace.unseen_s(tracking, LEARNED, due)
        at_once = due - NOW <= timedelta(seconds=age_s + pace.SHORTEST_WAIT_S)
        assert unseen_s == pytest.approx(pace.WORTH_A_LOOK_S, abs=1e-4) or (at_once and unseen_s > pace.WORTH_A_LOOK_S)


@pytest.mark.parametrize(("durations", "most"), [(LEARNED, 16), (UNKNOWN, 20)])
def test_an_operation_alone_costs_at_most_twenty_requests(durations: Durations, most: int) -> None:
    looks, age_s = 1, 0.0
    while age_s < 45:
        tracking = seen(age_s)
        age_s = (pace.next_look_at(tracking, durations, NOW + timedelta(seconds=age_s)) - NOW).total_seconds()
        looks += 1
    assert 4 <= looks <= most


def test_what_is_known_of_durations_makes_looks_come_when_it_ends() -> None:
    first = pace.next_look_at(seen(1), LEARNED, NOW + timedelta(seconds=1)) - NOW
    assert timedelta(seconds=12) < first < timedelta(seconds=41)
    assert pace.next_look_at(seen(1), UNKNOWN, NOW + timedelta(seconds=1)) - NOW < timedelta(seconds=8)


def test_a_look_without_an_answer_is_made_again_soon_and_ever_less_often() -> None:
    tracking, now = seen(20, unanswered_since=NOW + timedelta(seconds=40)), NOW + timedelta(seconds=40)
    waits = []
    for _ in range(12):
        due = pace.next_look_at(tracking, LEARNED, now)
        waits.append((due - now).total_seconds())
        now = due
    assert waits[0] == pace.SHORTEST_WAIT_UNANSWERED_S
    assert waits == sorted(waits)
    assert waits[-1] == pace.LONGEST_WAIT_UNANSWERED_S


@pytest.mark.parametrize("began", [None, NOW + timedelta(seconds=9), NOW - timedelta(days=2)])
def test_an_age_counts_from_the_tracking_where_the_api_gives_none_that_can_be(began: object) -> None:
    odd = replace(RUNNING, created_at=began)  # type: ignore[arg-type]
    now = NOW + timedelta(seconds=60)
    assert pace.unseen_s(replace(seen(30), operation=odd), LEARNED, now) == (pace.unseen_s(seen(30), LEARNED, now))


def test_an_operation_tracked_late_is_as_old_as_the_api_says() -> None:
    late = replace(seen(0), operation=replace(RUNNING, created_at=NOW - timedelta(seconds=40)))
    due = pace.next_look_at(late, LEARNED, NOW)
    assert due - NOW < timedelta(seconds=5)


def test_where_all_are_alike_what_was_unseen_for_longest_is_worth_the_first_look() -> None:
    now = NOW + timedelta(seconds=50)
    candidates = [replace(seen(age_s), id=str(age_s)) for age_s in (31, 8, 44, 19)]
    assert [t.id for t in ranked([(t, LEARNED) for t in candidates], now)] == ["8", "19", "31", "44"]


def test_what_has_more_probably_ended_comes_before_what_was_unseen_for_longer() -> None:
    now = NOW + timedelta(seconds=48)
    young = a_tracking(id="young", created_at=NOW + timedelta(seconds=28))  # 20 s old, never seen
    ripe = replace(seen(35), id="ripe")
    assert [t.id for t in ranked([(young, LEARNED), (ripe, LEARNED)], now)] == ["ripe", "young"]


@pytest.mark.parametrize("other", [{"created_by": "one"}, {"app": "single"}, {"region": "osc-secnum-fr1"}])
def test_a_mass_restart_slows_itself_down_and_not_anothers_deploy(other: dict[str, str]) -> None:
    many = [a_tracking(id=f"{number:03}") for number in range(300)]
    one = a_tracking(id="one", created_at=NOW + timedelta(seconds=20), **other)
    ordered = ranked([(t, UNKNOWN) for t in [*many, one]], NOW + timedelta(seconds=30))
    assert ordered[0].id == "one"


@pytest.mark.parametrize("own_s", [[6 * 3600.0] * 50, [86_400.0], [172_800.0] * 50])
def test_what_usually_takes_for_ever_is_looked_at_all_the_same(own_s: list[float]) -> None:
    """One caller has more operations in flight than the budget allows looks; another has one that may fail early."""
    others = {f"{number:03}": a_tracking(id=f"{number:03}", created_by="many") for number in range(200)}
    one = replace(seen(0), id="one", created_by="one")
    gap_s = longest_s = 0.0
    for second in range(0, 3600, 2):  # 30 looks a minute
        now = NOW + timedelta(seconds=second)
        candidates = [(t, LEARNED) for t in others.values()]
        if one.last_polled_at is not None and now >= pace.next_look_at(one, Durations.learn(own_s), one.last_polled_at):
            candidates.append((one, Durations.learn(own_s)))
        first = ranked(candidates, now)[0]
        gap_s = 0.0 if first.id == "one" else gap_s + 2
        longest_s = max(longest_s, gap_s)
        if first.id == "one":
            one = replace(one, last_polled_at=now)
        else:  # it has ended, and another begins
            others[first.id] = a_tracking(id=first.id, created_by="many", created_at=now)
    assert longest_s <= 300


def test_a_caller_gains_nothing_by_spreading_over_many_apps() -> None:
    many = [a_tracking(id=f"{number:03}", app=f"app-{number}", created_by="many") for number in range(300)]
    one = a_tracking(id="one", created_at=NOW + timedelta(seconds=20), created_by="one")
    ordered = ranked([(t, UNKNOWN) for t in [*many, one]], NOW + timedelta(seconds=30))
    assert ordered[0].id == "one"


@settings(max_examples=60)
@given(st.integers(2, 600), st.integers(1, 100), st.lists(st.floats(0.01, 7), min_size=1, max_size=20), st.randoms())
def test_no_sixty_seconds_ever_see_more_looks_than_the_budget(
    requests_per_minute: int, in_flight: int, gaps_s: list[float], random: Random
) -> None:
    size = Allowance.per_minute(requests_per_minute)
    tokens, age_s, number = float(size.capacity), 0.0, 0
    looks: deque[float] = deque()
    due = [NOW] * in_flight
    while age_s < 180:
        now = NOW + timedelta(seconds=age_s)
        granted = min(int(tokens), sum(at <= now for at in due))
        tokens -= granted
        for index in sorted(range(in_flight), key=due.__getitem__)[:granted]:
            due[index] = pace.next_look_at(seen(age_s), random.choice([LEARNED, UNKNOWN]), now)
            looks.append(age_s)
        while looks and looks[0] <= age_s - 60:
            looks.popleft()
        assert len(looks) <= requests_per_minute
        gap_s = gaps_s[number % len(gaps_s)]
        age_s, number = age_s + gap_s, number + 1
        tokens = min(size.capacity, tokens + gap_s * size.per_second)


@given(st.integers(2, 100_000))
def test_a_full_bucket_and_a_minute_of_refill_make_the_budget_and_no_more(requests_per_minute: int) -> None:
    size = Allowance.per_minute(requests_per_minute)
    assert 1 <= size.capacity <= 5
    assert size.per_second > 0
    assert size.capacity + 60 * size.per_second <= requests_per_minute + 1e-6


@pytest.mark.parametrize(
    ("learned_s", "looks", "late_s"), [([], 25, 8.0), ([270.0, 300.0, 310.0, 330.0, 290.0] * 4, 12, 5.0)]
)
def test_a_deployment_of_five_minutes_costs_few_looks_and_is_seen_early(
    learned_s: list[float], looks: int, late_s: float
) -> None:
    durations = Durations.learn(learned_s, learned_s, kind=Kind.DEPLOYMENT)
    costs, late = [], []
    for lasts_s in range(285, 316):
        tracking, at, polls = a_tracking(kind=Kind.DEPLOYMENT, created_at=NOW), NOW, 1
        while (at - NOW).total_seconds() < lasts_s:
            tracking = replace(tracking, last_polled_at=at)
            at, polls = pace.next_look_at(tracking, durations, at), polls + 1
        costs.append(polls)
        late.append((at - NOW).total_seconds() - lasts_s)
    assert sum(costs) / len(costs) <= looks
    assert sum(late) / len(late) <= late_s
