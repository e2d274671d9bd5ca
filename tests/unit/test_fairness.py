"""Callers take turns, and none takes every place to wait."""

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from api.fairness import Places
from server.turns import Turns

arrivals = st.lists(st.tuples(st.sampled_from(["ci", "deploy", "night", None]), st.integers()))


def served(turns: Turns[tuple[str | None, int]]) -> list[tuple[str | None, int]]:
    found = []
    while (item := turns.next()) is not None:
        found.append(item)
    return found


def test_one_that_comes_late_is_served_after_one_of_each_other() -> None:
    turns = Turns[tuple[str | None, int]]()
    for number in range(100):
        turns.add("flood", ("flood", number))
    turns.add("calm", ("calm", 0))
    turns.add(None, (None, 0))
    assert served(turns)[:5] == [("flood", 0), ("calm", 0), (None, 0), ("flood", 1), ("flood", 2)]


@given(arrivals)
def test_everything_is_served_once_and_each_callers_in_its_order(items: list[tuple[str | None, int]]) -> None:
    turns = Turns[tuple[str | None, int]]()
    for caller, number in items:
        turns.add(caller, (caller, number))
    order = served(turns)
    assert sorted(order, key=str) == sorted(items, key=str)
    for caller in {caller for caller, _ in items}:
        assert [item for item in order if item[0] == caller] == [item for item in items if item[0] == caller]


def test_where_too_many_wait_the_newest_of_the_largest_crowd_is_turned_away() -> None:
    turns = Turns[tuple[str | None, int]]()
    for caller, number in [("flood", 0), ("flood", 1), ("calm", 0), ("flood", 2), ("calm", 1)]:
        turns.add(caller, (caller, number))
    assert len(turns) == 5
    assert turns.turn_away() == ("flood", 2)
    assert served(turns) == [("flood", 0), ("calm", 0), ("flood", 1), ("calm", 1)]
    assert len(turns) == 0


@given(st.integers(1, 8), st.integers(0, 9))
def test_there_is_always_a_place_for_somebody(places: int, spare: int) -> None:
    assert Places(places, spare=spare).take("ci")


def test_a_place_given_back_is_free_again() -> None:
    places = Places(2, spare=1)
    assert [places.take("ci") for _ in range(2)] == [True, False]
    assert places.take("deploy")
    places.give_back("ci")
    assert places.take("ci")


def test_never_more_places_are_held_than_there_are() -> None:
    places = Places(8, spare=2)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda number: places.take(f"caller-{number % 5}"), range(200)))
    assert sum(taken) == 8
