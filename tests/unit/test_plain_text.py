"""A tracking or a problem in one line for scripts: `read -r state id rest`."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given

from api import plain_text
from operations.kind import Kind
from operations.model import Operation, State, Tracking, Usual, Verdict
from operations.telling import groups
from operations.text import plain
from tests.unit.strategies import NOW, OPERATION_ID, a_text, a_tracking, trackings

USUAL = Usual(p50=15.2, p90=20.4, samples=23)
RUNNING = Operation(status="running", type="restart", created_at=NOW)
ONE_OFF = Operation(status="done", outcome=Verdict.SUCCEEDED, type="start-one-off")
TOO_SLOW = Operation(
    status="timeout-error",
    outcome=Verdict.FAILED,
    error=" !   → Timeout: shop took too long to boot\n !   Error deploying the application",
)
BROKEN = Operation(
    status="error", outcome=Verdict.FAILED, type="restart", error="\x1b[31mweb-1 failed to restart\x1b[0m\nno port"
)


def ended(state: State, **changes: Any) -> Tracking:
    return a_tracking(**{"state": state, "ended_at": NOW, "duration_s": 42.3, "operation": BROKEN, **changes})


@pytest.mark.parametrize(
    ("tracking", "words"),
    [
        (a_tracking(), "tracking shop: operation not seen yet"),
        (a_tracking(operation=RUNNING), "tracking shop: restart running for 12 s"),
        (a_tracking(operation=RUNNING, usual=USUAL), "tracking shop: restart running for 12 s (usually 15–20 s)"),
        (
            a_tracking(operation=RUNNING, last_error="the API answered 503\nforged"),
            "tracking shop: restart running for 12 s: the last look failed: the API answered 503",
        ),
        (
            a_tracking(created_at=NOW - timedelta(minutes=20), timeout_s=60, last_error="404"),
            "tracking shop: operation not seen yet: past its deadline for 19 min 12 s: the last look failed: 404",
        ),
        (
            a_tracking(created_at=NOW - timedelta(minutes=16), timeout_s=60),
            "tracking shop: operation not seen yet",
        ),
        (a_tracking(operation=Operation(status="a\nb")), "tracking shop: operation a for 12 s"),
        (
            ended(State.FAILED, usual=USUAL),
            "failed shop: restart failed after 42 s (usually 15–20 s): web-1 failed to restart",
        ),
        (
            ended(State.FAILED, operation=Operation(status="error", outcome=Verdict.FAILED, error="x" * 400)),
            f"failed shop: operation failed after 42 s: {'x' * 299}…",
        ),
        (ended(State.SUCCEEDED, operation=RUNNING), "succeeded shop: restart succeeded after 42 s"),
        (ended(State.SUCCEEDED, operation=ONE_OFF), "succeeded shop: one-off started after 42 s"),
        (
            ended(State.FAILED, kind=Kind.DEPLOYMENT, operation=TOO_SLOW, place="agency in osc-secnum-fr1"),
            "failed shop (agency in osc-secnum-fr1): deployment failed after 42 s: Timeout: shop took too long to boot",
        ),
        (
            a_tracking(operation=RUNNING, place="osc-secnum-fr1"),
            "tracking shop (osc-secnum-fr1): restart running for 12 s",
        ),
        (
            ended(State.TIMED_OUT, operation=RUNNING, duration_s=60.0, reason="still running after 60 s"),
            "timed_out shop: restart still running after 1 min; Opwatch stopped watching",
        ),
        (
            ended(State.LOST, operation=None, reason="404 (3 times over 64 s)"),
            "lost shop: operation: end unknown (Scalingo no longer knows this operation): 404 (3 times over 64 s)",
        ),
        (ended(State.CANCELLED, operation=RUNNING), "cancelled shop: restart cancelled after 0.0 s"),
    ],
)
def test_a_line_names_state_and_id_and_says_the_rest_in_the_words_of_a_message(tracking: Tracking, words: str) -> None:
    state, _, rest = words.partition(" ")
    assert plain_text.tracking_line(tracking, NOW + timedelta(seconds=12)) == f"{state} osc-fr1-{OPERATION_ID} {rest}\n"


@given(trackings())
def test_whatever_came_from_outside_stays_in_the_one_line_behind_state_and_id(tracking: Tracking) -> None:
    line = plain_text.tracking_line(tracking, NOW)
    assert line.splitlines(keepends=True) == [line]
    assert line.split(" ")[:2] == [tracking.state, tracking.id]
    assert plain(line) == line


@given(a_text())
def test_a_problem_is_one_line_that_no_state_begins(detail: str) -> None:
    line = plain_text.problem_line(HTTPStatus.CONFLICT, detail)
    assert line.splitlines(keepends=True) == [line]
    assert line.startswith("error 409 ")
    assert "error" not in list(State)


@pytest.mark.parametrize(
    ("states", "size", "after", "waits_in_vain"),
    [
        ((State.SUCCEEDED,), 2, 29, False),
        ((State.SUCCEEDED, State.FAILED), 3, 30, True),
        ((State.TRACKING, State.FAILED), 3, 31, False),
        ((State.FAILED,) * 7, 7, 31, False),
    ],
)
def test_a_groups_line_names_what_went_wrong_and_says_if_it_waits_in_vain(
    states: tuple[State, ...], size: int, after: int, *, waits_in_vain: bool
) -> None:
    numbered = [{"id": f"osc-fr1-{number}", "group_size": size} for number in range(len(states))]
    members = [
        a_tracking(**each) if state is State.TRACKING else ended(state, **each)
        for state, each in zip(states, numbered, strict=True)
    ]
    now = NOW + timedelta(minutes=after)
    line = plain_text.group_line(groups.summarize("7", members, now), now)
    assert line.startswith(("failed 7 failed after", "tracking 7 1 of ", "tracking 7 2 of "))
    assert ("; no other has joined for 30 min" in line) == waits_in_vain
    assert line.count("; shop: restart failed after 42 s: web-1 failed") == min(states.count(State.FAILED), 5)
    assert line.endswith("; and 2 more\n") == (len(states) == 7)
