"""When the next look is due, and which goes first."""

from collections import Counter, deque
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from operations import pace
from operations.budget import Allowance
from tests.unit.strategies import NOW, a_tracking

ages_s = st.floats(0, 86_400)
in_flights = st.integers(0, 5_000)
rates = st.floats(1 / 60, 1_000)


@given(ages_s, in_flights, rates)
def test_a_wait_is_at_least_two_seconds_and_at_most_thirty_or_what_the_budget_asks_for(
    age_s: float, in_flight: int, rate: float
) -> None:
    wait_s = pace.wait_s(age_s, in_flight=in_flight, looks_per_s=rate)
    assert 2 <= wait_s <= max(30, in_flight / rate)
    assert wait_s >= in_flight / rate


@given(ages_s, ages_s)
def test_waits_grow_with_age_from_two_to_thirty_seconds(one_s: float, other_s: float) -> None:
    young_s, old_s = sorted((one_s, other_s))
    waits_s = [pace.wait_s(age_s, in_flight=1, looks_per_s=1) for age_s in (0, young_s, old_s, 86_400)]
    assert waits_s == sorted(waits_s)
    assert (waits_s[0], waits_s[-1]) == (2, 30)


@given(st.floats(-90_000, 86_400) | st.floats(-5, 5), in_flights, rates, st.integers(60, 86_400))
def test_the_next_look_is_ahead_and_never_past_a_deadline_that_lies_ahead(
    left_s: float, in_flight: int, rate: float, timeout_s: int
) -> None:
    deadline = NOW + timedelta(seconds=timeout_s)
    now = max(NOW, deadline - timedelta(seconds=left_s))
    due = pace.next_look_at(a_tracking(timeout_s=timeout_s), now, in_flight=in_flight, looks_per_s=rate)
    assert due > now
    if now < deadline:
        assert due <= deadline
    else:
        assert due >= now + timedelta(seconds=pace.SHORTEST_WAIT_S)


@given(st.lists(st.integers(1, 2_000), min_size=1, max_size=9), rates)
def test_every_caller_comes_up_for_its_share_of_the_looks(own: list[int], rate: float) -> None:
    total, callers = sum(own), len(own)
    looks_per_s = [
        mine / pace.wait_s(0, in_flight=pace.crowd(mine, total=total, callers=callers), looks_per_s=rate)
        for mine in own
    ]
    for mine, looks in zip(own, looks_per_s, strict=True):
        fair = min(rate / callers, mine / pace.SHORTEST_WAIT_S)  # or whatever it can use
        assert looks >= fair * 0.999


def test_a_caller_with_one_operation_is_looked_at_soon_beside_one_with_a_thousand() -> None:
    assert pace.crowd(1, total=1001, callers=2) == 2
    assert pace.crowd(1000, total=1001, callers=2) == 1001
    many = [a_tracking(id=str(number), created_by="many", created_at=NOW) for number in range(1000)]
    one = a_tracking(id="one", created_by="one", created_at=NOW + timedelta(seconds=9))
    assert [t.id for t in pace.by_worth([*many, one])[:3]] == ["0", "one", "1"]


def test_where_a_callers_own_are_not_counted_all_are() -> None:
    assert pace.crowd(0, total=40, callers=0) == 40
    assert pace.crowd(0, total=40, callers=3) == 40


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 99)), max_size=12))
def test_callers_take_turns_each_with_what_was_unseen_for_longest(due: list[tuple[str, int]]) -> None:
    candidates = [
        a_tracking(id=f"{number:02}", created_by=caller, created_at=NOW - timedelta(seconds=age))
        for number, (caller, age) in enumerate(due)
    ]
    ordered = pace.by_worth(candidates)
    for caller in "abc":
        mine = [t for t in ordered if t.created_by == caller]
        assert mine == sorted(mine, key=lambda t: (t.created_at, t.id))
    for end in range(len(ordered)):
        had = Counter(t.created_by for t in ordered[:end])
        waiting = {t.created_by for t in ordered[end:]}
        assert all(had[caller] <= had[other] + 1 for caller in had for other in waiting)


@given(st.lists(st.tuples(st.integers(0, 99), st.none() | st.integers(0, 99)), max_size=9))
def test_what_was_unseen_for_longest_is_worth_the_first_look(ages: list[tuple[int, int | None]]) -> None:
    candidates = [
        a_tracking(
            id=str(number),
            created_at=NOW - timedelta(seconds=created),
            last_polled_at=None if polled is None else NOW - timedelta(seconds=polled),
        )
        for number, (created, polled) in enumerate(ages)
    ]
    ordered = pace.by_worth(candidates)
    seen = [t.last_polled_at or t.created_at for t in ordered]
    assert seen == sorted(seen)
    assert sorted(t.id for t in ordered) == sorted(t.id for t in candidates)


@settings(max_examples=60)
@given(st.integers(2, 600), st.integers(1, 300), st.lists(st.floats(0.01, 7), min_size=1, max_size=20))
def test_no_sixty_seconds_ever_see_more_looks_than_the_budget(
    requests_per_minute: int, in_flight: int, gaps_s: list[float]
) -> None:
    size = Allowance.of(requests_per_minute)
    tokens, now_s, number = float(size.capacity), 0.0, 0
    looks: deque[float] = deque()
    due_s = [0.0] * in_flight
    while now_s < 180:
        granted = min(int(tokens), sum(at_s <= now_s for at_s in due_s))
        tokens -= granted
        for index in sorted(range(in_flight), key=due_s.__getitem__)[:granted]:
            due_s[index] = now_s + pace.wait_s(now_s, in_flight=in_flight, looks_per_s=size.per_second)
            looks.append(now_s)
        while looks and looks[0] <= now_s - 60:
            looks.popleft()
        assert len(looks) <= requests_per_minute
        gap_s = gaps_s[number % len(gaps_s)]
        now_s, number = now_s + gap_s, number + 1
        tokens = min(size.capacity, tokens + gap_s * size.per_second)


@given(st.integers(2, 100_000))
def test_a_full_bucket_and_a_minute_of_refill_make_the_budget_and_no_more(requests_per_minute: int) -> None:
    size = Allowance.of(requests_per_minute)
    assert 1 <= size.capacity <= 5
    assert size.per_second > 0
    assert size.capacity + 60 * size.per_second <= requests_per_minute + 1e-6
