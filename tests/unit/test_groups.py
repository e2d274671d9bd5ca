"""The joint state of the operations of one deploy, in any order."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.model import State, Tracking
from operations.telling import groups, view
from operations.telling.groups import SETTLE, WORST_FIRST, Group
from tests.unit.strategies import NOW, a_tracking

ENDED = [state for state in State if state is not State.TRACKING]


def at(second: float) -> datetime:
    return NOW + timedelta(seconds=second)


def member(number: int, joined: float, ended: float | None, state: State = State.SUCCEEDED, **more: Any) -> Tracking:
    """Return a member that joined and ended at these seconds; without an end it is in flight."""
    return a_tracking(
        id=f"osc-fr1-{number:024x}",
        group="build 7",
        created_at=at(joined),
        state=State.TRACKING if ended is None else state,
        next_look_at=at(joined) if ended is None else None,
        ended_at=None if ended is None else at(ended),
        **more,
    )


def group_at(second: float, *members: Tracking) -> Group:
    return groups.summarize("build 7", members, at(second))


@st.composite
def several(draw: st.DrawFn) -> list[Tracking]:
    """Draw the members of a group in any order."""
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(0, 60),
                st.none() | st.integers(0, 60),
                st.sampled_from(ENDED),
                st.none() | st.integers(1, 6),
            ),
            min_size=1,
            max_size=6,
        )
    )
    return [
        member(number, joined, None if took is None else joined + took, state, group_size=size)
        for number, (joined, took, state, size) in enumerate(drawn)
    ]


@pytest.mark.parametrize("worst", ENDED)
def test_the_worst_verdict_wins(worst: State) -> None:
    better = WORST_FIRST[WORST_FIRST.index(worst) :]
    group = group_at(90, *(member(number, 0, 5, state) for number, state in enumerate(better)))
    assert group.state is worst


def test_failed_is_worse_than_what_nobody_knows_and_a_cancelled_one_is_no_success() -> None:
    assert [str(state) for state in WORST_FIRST] == ["failed", "lost", "timed_out", "cancelled", "succeeded"]
    assert {*WORST_FIRST, State.TRACKING} == set(State)


@pytest.mark.parametrize(
    ("members", "final_from"),
    [
        ([member(0, 0, 5)], 20),
        ([member(0, 0, 5, group_size=1)], 5),
        ([member(0, 0, 5, group_size=2)], None),
        ([member(0, 0, 5, group_size=2), member(1, 30, 31)], 31),
        ([member(0, 0, 5), member(1, 0, 9)], 24),
        ([member(0, 0, None)], None),
        ([member(0, 0, 5, group_size=1), member(1, 2, None)], None),
        ([member(0, 0, 5, group_size=1), member(1, 2, 7)], 7),
        ([member(0, 0, 5, group_size=2), member(1, 2, 7, group_size=3)], None),
        ([member(0, 0, 5, group_size=3), member(1, 2, 7, group_size=2), member(2, 3, 6)], 7),
        ([member(0, 0, 5, State.CANCELLED, group_size=2), member(1, 2, 7)], 7),
        ([member(0, 0, 60), member(1, 61, 62)], 77),
    ],
)
def test_a_group_is_final_once_all_have_ended_and_no_more_are_expected(
    members: list[Tracking], final_from: float | None
) -> None:
    last = max(each.ended_at or each.created_at for each in members)  # before that, it is not known
    for second in range(int((last - NOW).total_seconds()), 90):
        assert group_at(second, *members).final == (final_from is not None and second >= final_from), second


def test_without_a_size_the_wait_for_another_member_begins_at_the_last_end() -> None:
    restarted = member(0, 0, 40)
    group = group_at(41, restarted)
    assert (group.state, group.final, group.settles_at, group.ended_at) == (State.TRACKING, False, at(55), None)
    scaled = member(1, 54, None)
    group = group_at(56, restarted, scaled)
    assert (group.final, group.settles_at, group.reopened_at) == (False, None, None)


def test_a_final_group_says_how_long_it_took() -> None:
    group = group_at(90, member(1, 3, 42), member(0, 0, 30))
    assert (group.created_at, group.ended_at, group.duration_s, group.settles_at) == (at(0), at(42), 42.0, None)
    assert [each.created_at for each in group.members] == [at(0), at(3)]
    assert group.counts == {**dict.fromkeys(State, 0), State.SUCCEEDED: 2}


def test_one_that_joins_late_reopens_the_group() -> None:
    first = member(0, 0, 5)
    assert group_at(20, first).final
    reopened = group_at(21, first, member(1, 20, None))
    assert (reopened.state, reopened.reopened_at, reopened.duration_s) == (State.TRACKING, at(20), None)
    again = group_at(60, first, member(1, 20, 44, State.FAILED))
    assert (again.state, again.reopened_at, again.duration_s) == (State.FAILED, at(20), 44.0)


def test_one_that_is_watched_anew_reopens_the_group() -> None:
    first, lost = member(0, 0, 5, group_size=2), member(1, 0, 9, State.LOST)
    assert group_at(10, first, lost).state is State.LOST
    anew = replace(lost, run=2, state=State.TRACKING, created_at=at(30), next_look_at=at(30), ended_at=None)
    assert not group_at(31, first, anew).final


def test_one_beyond_the_size_reopens_the_group_until_it_has_ended() -> None:
    both = (member(0, 0, 5, group_size=2), member(1, 0, 9))
    assert group_at(31, *both, member(2, 30, None)).reopened_at == at(30)
    assert group_at(40, *both, member(2, 30, 40)).final


def test_of_very_many_members_those_that_went_wrong_are_chosen_first() -> None:
    members = [member(number, number, number + 1) for number in range(200)]
    members[150] = member(150, 150, 160, State.FAILED)
    members[199] = member(199, 199, None)
    shown = group_at(300, *members).most_telling(100)
    assert shown == (*members[:98], members[150], members[199])
    written = view.group_as_json(group_at(300, *members))
    assert [each["id"] for each in written["members"]] == [each.id for each in shown]
    assert written["counts"] == {**dict.fromkeys(map(str, State), 0), "succeeded": 198, "failed": 1, "tracking": 1}


def test_one_that_may_still_succeed_is_more_telling_than_one_that_runs() -> None:
    states = (State.SUCCEEDED, State.TRACKING, State.TIMED_OUT, State.CANCELLED, State.LOST, State.FAILED)
    members = [member(at, at, None if state is State.TRACKING else 9, state) for at, state in enumerate(states)]
    group = group_at(30, *members)
    assert [each.state for each in group.worst_first] == [
        State.FAILED,
        State.LOST,
        State.TIMED_OUT,
        State.TRACKING,
        State.CANCELLED,
        State.SUCCEEDED,
    ]
    assert {each.state for each in group.most_telling(3)} == {State.FAILED, State.LOST, State.TIMED_OUT}


@given(several(), st.randoms())
def test_the_order_in_which_members_are_found_does_not_matter(members: list[Tracking], random: Any) -> None:
    shuffled = list(members)
    random.shuffle(shuffled)
    assert group_at(60, *shuffled) == group_at(60, *members)


@given(several(), st.integers(0, 200))
def test_a_group_is_final_only_when_every_member_has_ended_and_then_has_the_state_of_one(
    members: list[Tracking], second: int
) -> None:
    group = group_at(second, *members)
    if group.final:
        assert group.state in {each.state for each in members}
        assert all(WORST_FIRST.index(group.state) <= WORST_FIRST.index(each.state) for each in members)
        assert len(members) >= (group.size or 0)
        assert group.size is not None or all(each.ended_at + SETTLE <= at(second) for each in members if each.ended_at)
    else:
        assert group.state is State.TRACKING
        assert group.ended_at is None


@given(several(), st.integers(121, 200), st.integers(0, 200))
def test_what_is_final_stays_so_until_another_joins(members: list[Tracking], second: int, later: int) -> None:
    if group_at(second, *members).final:
        assert group_at(second + later, *members) == group_at(second, *members)
        joined = member(99, second + later, None)
        reopened = group_at(second + later, *members, joined)
        assert (reopened.final, reopened.reopened_at) == (False, at(second + later))


@given(several())
def test_the_settling_ends_when_it_says(members: list[Tracking]) -> None:
    settles_at = group_at(125, *members).settles_at
    if settles_at is not None:
        assert groups.summarize("build 7", members, settles_at).final
        assert not groups.summarize("build 7", members, settles_at - timedelta(milliseconds=1)).final
