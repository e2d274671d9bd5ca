"""Failures in a row: what counts, and how messages say it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from notifiers import wording
from operations.model import Operation, State, Usual
from operations.telling.announcement import Earlier, announce, failures_in_a_row
from tests.unit.strategies import NOW, a_tracking

SECOND = timedelta(seconds=1)
ENDED = a_tracking(ended_at=NOW, duration_s=42.0, operation=Operation(status="x", type="restart"))


@pytest.mark.parametrize(
    ("state", "earlier", "expected"),
    [
        (State.FAILED, Earlier(), 1),
        (State.FAILED, Earlier(2, NOW - SECOND), 3),
        (State.FAILED, Earlier(2, NOW + SECOND), 3),
        (State.FAILED, Earlier(0, NOW + SECOND), None),
        (State.SUCCEEDED, Earlier(), 0),
        (State.SUCCEEDED, Earlier(2, NOW - SECOND), 2),
        (State.SUCCEEDED, Earlier(2, NOW), 2),
        (State.SUCCEEDED, Earlier(2, NOW + SECOND), None),
        (State.SUCCEEDED, Earlier(0, NOW + SECOND), 0),
        (State.TIMED_OUT, Earlier(2), None),
        (State.LOST, Earlier(2), None),
        (State.CANCELLED, Earlier(2), None),
        (State.FAILED, None, None),
    ],
)
def test_failures_count_and_a_success_ends_the_row_unless_a_newer_outcome_says_otherwise(
    state: State, earlier: Earlier | None, expected: int | None
) -> None:
    assert failures_in_a_row(replace(ENDED, state=state), earlier) == expected


@pytest.mark.parametrize(
    ("state", "failures", "said"),
    [
        (State.FAILED, None, "❌ shop: restart failed after 42 s"),
        (State.FAILED, 1, "❌ shop: restart failed after 42 s"),
        (State.FAILED, 3, "❌ shop: restart failed after 42 s (3rd in a row)"),
        (State.SUCCEEDED, 0, "✅ shop: restart succeeded after 42 s"),
        (State.SUCCEEDED, 1, "✅ shop: restart succeeded again after 1 failure, in 42 s"),
        (State.SUCCEEDED, 2, "✅ shop: restart succeeded again after 2 failures, in 42 s"),
    ],
)
def test_a_message_says_which_failure_in_a_row_it_is_and_that_it_works_again(
    state: State, failures: int | None, said: str
) -> None:
    told = announce(replace(ENDED, state=state, failures_in_a_row=failures))
    assert wording.for_terminals(wording.headline(told)) == said


def test_the_usual_duration_follows_the_row() -> None:
    ended = replace(ENDED, state=State.FAILED, failures_in_a_row=2, usual=Usual(p50=15.2, p90=20.4, samples=9))
    said = wording.for_terminals(wording.headline(announce(ended)))
    assert said == "❌ shop: restart failed after 42 s (2nd in a row), usually 15–20 s"


def test_places_are_written_in_english() -> None:
    written = [wording.ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 101, 111, 112)]
    assert written == ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "101st", "111th", "112th"]
