"""All transitions of a tracking, and of a delivery."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operations.errors import (
    AccessRefusedError,
    OperationMissingError,
    OpwatchError,
    PermanentError,
    RateLimitedError,
    SignInRejectedError,
    TransientError,
)
from operations.model import Delivery, DeliveryState, Operation, State, Tracking, Verdict
from operations.telling import attempts, audience
from operations.telling.attempts import LEASE
from operations.telling.audience import Rule, Rules
from operations.watching import looks
from operations.watching.durations import Durations
from operations.watching.looks import CLOCK_SKEW
from tests.unit.strategies import NOW, a_delivery, a_tracking, attempted_by, attempting, operations, trackings

RUNNING, DONE, ERROR = (
    Operation(status="running"),
    Operation(status="done", outcome=Verdict.SUCCEEDED),
    Operation(status="error", outcome=Verdict.FAILED, error="boom"),
)
UNKNOWN = Operation(status="finished")
AWAY, LIMITED, REJECTED = (
    TransientError("away"),
    RateLimitedError("429", retry_after_s=600),
    SignInRejectedError("token"),
)
MISSING, REFUSED = OperationMissingError("no such operation"), AccessRefusedError("invite the account")
DEADLINE_S = 3600

Seen = Operation | OpwatchError
Looks = Sequence[tuple[float, Seen]]
NO_RULES: Rules = {}


def at(seconds: float) -> Any:
    """Return the time so many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def look(
    tracking: Tracking, seconds: float, seen: Seen, claim: str = "ours", rules: Rules = NO_RULES
) -> Tracking | None:
    """Apply what the holder of `claim` saw."""
    return looks.after_look(tracking, claim, seen, now=at(seconds), durations=Durations.learn(), rules=rules)


def after(made: Looks, rules: Rules = NO_RULES, **changes: Any) -> Tracking:
    """Claim and look until the run ends."""
    tracking = a_tracking(timeout_s=DEADLINE_S, **changes)
    for seconds, seen in made:
        following = look(looks.claimed(tracking, "ours", at(seconds)), seconds, seen, rules=rules)
        assert following is not None, f"it had ended before {seconds} s"
        tracking = following
    return tracking


def every(gap_s: int, start_s: int, end_s: int, seen: Seen) -> list[tuple[float, Seen]]:
    """Repeat the same look, also at the end."""
    return [*((float(seconds), seen) for seconds in range(start_s, end_s, gap_s)), (float(end_s), seen)]


FINISHED = {"created_at": at(0), "finished_at": at(7)}


@pytest.mark.parametrize(
    ("made", "state", "reason"),
    [
        ([(1, DONE)], "succeeded", None),
        ([(1, ERROR)], "failed", None),
        ([(1, replace(DONE, **FINISHED))], "succeeded", None),
        ([(1, replace(ERROR, **FINISHED))], "failed", None),
        ([(1, Operation(status="error", outcome=Verdict.FAILED))], "failed", None),
        ([(1, replace(DONE, error="boom"))], "succeeded", None),
        ([(1, Operation(status="pending", waiting=True, **FINISHED))], "tracking", None),
        ([(1, Operation(status="running", **FINISHED, error="boom"))], "tracking", None),
        ([(1, UNKNOWN)], "tracking", None),
        ([(1, Operation(status="DONE"))], "tracking", None),
        ([(9_999, DONE)], "succeeded", None),
        ([(9_999, ERROR)], "failed", None),
        # The deadline
        ([(3599.999, RUNNING)], "tracking", None),
        ([(3600, RUNNING)], "timed_out", "still running after 3600 s"),
        ([(3600, UNKNOWN)], "timed_out", "still finished after 3600 s"),
        ([(3590, RUNNING), (3600, AWAY), (3610, RUNNING)], "timed_out", "still running after 3600 s"),
        ([(3600, AWAY)], "tracking", None),
        (every(30, 0, 3599, AWAY), "tracking", None),
        (every(30, 0, 3600, AWAY), "timed_out", "no usable answer for 3600 s"),
        (every(30, 3599, 4498, AWAY), "tracking", None),
        (every(30, 3599, 4499, LIMITED), "timed_out", "no usable answer for 900 s"),
        ([(3000, AWAY), (3500, RUNNING), (3590, AWAY), (4489, AWAY)], "tracking", None),
        ([(3000, AWAY), (3500, RUNNING), (3590, AWAY), (4490, REJECTED)], "timed_out", "last failure: token"),
        ([(3000, AWAY), (5000, DONE)], "succeeded", None),
        # The documented 404
        ([(0, MISSING), (30, MISSING)], "tracking", None),
        ([(0, MISSING), (70, MISSING)], "tracking", None),
        ([(0, MISSING), (30, MISSING), (59.999, MISSING)], "tracking", None),
        (every(2, 0, 58, MISSING), "tracking", None),
        ([(0, MISSING), (30, MISSING), (60, MISSING)], "lost", "no such operation (3 times over 60 s)"),
        ([(0, MISSING), (30, MISSING), (60, AWAY), (61, MISSING)], "lost", "3 times over 61 s"),
        ([(0, MISSING), (30, MISSING), (60, AWAY)], "tracking", None),
        ([(0, MISSING), (30, MISSING), (50, RUNNING), (60, MISSING), (90, MISSING)], "tracking", None),
        ([(0, AWAY), (60, MISSING), (61, MISSING), (62, MISSING)], "tracking", None),
        ([(0, MISSING), (30, MISSING), (50, DONE)], "succeeded", None),
        # The 403
        (every(30, 0, 299, REFUSED), "tracking", None),
        (every(30, 0, 300, REFUSED), "lost", "invite the account"),
        ([(0, REFUSED), (200, RUNNING), (301, REFUSED)], "tracking", None),
        ([(0, REFUSED), (301, AWAY)], "tracking", None),
        ([(0, REFUSED), (10, AWAY), (301, REFUSED)], "tracking", None),
        ([(0, REFUSED), (10, REFUSED), (200, AWAY), (301, REFUSED)], "lost", "invite the account"),
        ([(0, AWAY), (300, REFUSED)], "tracking", None),
        ([(0, REFUSED), (100, DONE)], "succeeded", None),
        # What ends no run
        (every(30, 0, 3599, REJECTED), "tracking", None),
        (every(30, 0, 3599, LIMITED), "tracking", None),
        (every(30, 0, 3599, OpwatchError("anything")), "tracking", None),
    ],
)
def test_a_watch_ends_only_as_the_rules_say(made: Looks, state: str, reason: str | None) -> None:
    tracking = after(made)
    assert tracking.state == state
    assert (reason is None) == (tracking.reason is None)
    assert reason is None or reason in (tracking.reason or "")
    assert (tracking.next_look_at is None) == (tracking.ended_at is not None) == (state != "tracking")
    assert (tracking.claim, tracking.polls, tracking.last_polled_at) == (None, len(made), at(made[-1][0]))


@pytest.mark.parametrize("seen", [AWAY, LIMITED, REJECTED, MISSING, REFUSED])
def test_a_look_that_failed_shows_until_one_succeeds(seen: OpwatchError) -> None:
    assert after([(1, RUNNING), (2, seen)]).last_error == str(seen)
    assert after([(1, RUNNING), (2, seen)]).operation == RUNNING
    mended = after([(1, seen), (2, RUNNING)])
    assert (mended.last_error, mended.missing_looks, mended.refused_looks) == (None, 0, 0)
    assert {mended.missing_since, mended.refused_since, mended.unanswered_since} == {None}


transient = st.sampled_from([AWAY, LIMITED, REJECTED])
anything = st.sampled_from([AWAY, LIMITED, REJECTED, MISSING, REFUSED, RUNNING, UNKNOWN, DONE, ERROR])


@given(st.lists(st.tuples(st.floats(0, 3599.999), transient | st.just(RUNNING)), min_size=1, max_size=30))
def test_no_series_of_transient_errors_ends_a_watch_before_its_deadline(looks: list[tuple[float, Seen]]) -> None:
    tracking = after(sorted(looks, key=lambda entry: entry[0]))
    assert tracking.state is State.TRACKING
    assert tracking.next_look_at is not None
    assert tracking.next_look_at > (tracking.last_polled_at or NOW)


@given(st.lists(st.tuples(st.integers(0, 900), anything), max_size=12))
def test_whatever_is_seen_the_end_has_its_cause_and_comes_once(gaps: list[tuple[int, Seen]]) -> None:
    tracking, seconds, missing = a_tracking(timeout_s=DEADLINE_S), 0.0, 0
    for gap_s, seen in gaps:
        seconds += gap_s
        missing += seen is MISSING
        following = look(looks.claimed(tracking, "ours", at(seconds)), seconds, seen)
        assert following is not None
        tracking = following
        assert (tracking.state is State.SUCCEEDED) == (seen is DONE)
        assert (tracking.state is State.FAILED) == (seen is ERROR)
        if tracking.state is State.TIMED_OUT:
            assert seconds >= DEADLINE_S
            assert tracking.reason
        if tracking.state is State.LOST:
            assert seen is REFUSED or (seen is MISSING and missing >= 3)
        assert (tracking.next_look_at is None) == (tracking.state is not State.TRACKING)
        if tracking.next_look_at is None:
            break


ENDED = [State.SUCCEEDED, State.FAILED, State.TIMED_OUT, State.LOST, State.CANCELLED]


@settings(max_examples=20)
@given(trackings(), operations | st.sampled_from([AWAY, MISSING, REFUSED]))
def test_the_first_outcome_wins_and_a_foreign_claim_changes_nothing(tracking: Tracking, seen: Seen) -> None:
    ours = replace(tracking, state=State.TRACKING, claim="ours")
    assert look(ours, 1, seen, "theirs") is None
    assert looks.released(ours, "theirs", NOW) is None
    assert look(replace(ours, claim=None), 1, seen) is None
    for state in ENDED:
        ended = replace(ours, state=state)
        assert look(ended, 1, seen) is None
        assert looks.released(ended, "ours", NOW) is None
        assert looks.cancelled(ended, NOW) is None


def test_a_claim_lasts_a_lease_and_can_be_released() -> None:
    claimed = looks.claimed(a_tracking(), "ours", at(5))
    assert (claimed.claim, claimed.next_look_at) == ("ours", at(5) + LEASE)
    assert looks.released(claimed, "ours", at(6)) == a_tracking(next_look_at=at(6))


def test_a_cancelled_watch_tells_nobody_and_is_no_longer_due() -> None:
    cancelled = looks.cancelled(looks.claimed(a_tracking(notify=("slack",)), "ours", NOW), at(9))
    assert cancelled is not None
    assert (cancelled.state, cancelled.ended_at, cancelled.duration_s) == (State.CANCELLED, at(9), 9)
    assert (cancelled.claim, cancelled.next_look_at) == (None, None)
    assert cancelled.deliveries == ()


SKEW_S = CLOCK_SKEW.total_seconds()


@pytest.mark.parametrize(
    ("start_s", "end_s", "duration_s"),
    [
        (-2, 40.5, 42.5),
        (-5000, 40, 5040),
        (10, 10, 0),
        (0, 60 + SKEW_S, 60 + SKEW_S),
        (0, 60 + SKEW_S + 1, 60),
        (40, -2, 60),
        (None, 40, 60),
        (0, None, 60),
        (None, None, 60),
    ],
)
def test_the_duration_is_the_apis_where_sane_and_else_ours(
    start_s: float | None, end_s: float | None, duration_s: float
) -> None:
    start, end = (None if seconds is None else at(seconds) for seconds in (start_s, end_s))
    for outcome in (Verdict.SUCCEEDED, Verdict.FAILED):
        seen = Operation(status="over", outcome=outcome, created_at=start, finished_at=end)
        assert after([(60, seen)]).duration_s == duration_s


def test_a_watch_that_ran_out_lasted_as_long_as_we_watched() -> None:
    assert after([(3600, replace(RUNNING, **FINISHED))]).duration_s == 3600


# Which targets are told

RULES = {"slack": Rule(), "blog": Rule(apps=("blog",)), "failures": Rule(on=frozenset({Verdict.FAILED}))}


def targets(tracking: Tracking) -> dict[str, str]:
    """Return each delivery's state by run and target."""
    return {f"{d.run} {d.target}": d.state.value for d in tracking.deliveries}


def test_an_outcome_is_announced_to_everyone_whose_rules_match() -> None:
    ended = after([(1, DONE)], RULES)
    assert targets(ended) == {"1 slack": "pending", "1 blog": "skipped", "1 failures": "skipped"}
    assert [d.next_attempt_at for d in ended.deliveries] == [at(1), None, None]
    assert after([(1, RUNNING)], RULES).deliveries == ()


def test_starting_anew_counts_a_run_and_keeps_only_what_is_still_to_be_told() -> None:
    old = a_tracking(
        run=2, state=State.LOST, deliveries=tuple(a_delivery(target=s.value, state=s) for s in DeliveryState)
    )
    anew = looks.started_anew(old, a_tracking(app="other"))
    assert (anew.run, anew.state, anew.app, anew.next_look_at) == (3, State.TRACKING, "other", NOW)
    assert targets(anew) == {"1 pending": "pending", "1 retrying": "retrying"}
    ended = look(looks.claimed(anew, "ours", NOW), 1, ERROR, rules={"pending": Rule()})
    assert ended is not None
    assert targets(ended) == {
        "1 pending": "pending", "1 retrying": "retrying", "3 pending": "pending",
    }  # fmt: skip
    assert frozenset({State.CANCELLED, State.TIMED_OUT, State.LOST}) == looks.RESTARTABLE


@pytest.mark.parametrize(
    ("made", "notify_all", "names", "expected"),
    [
        ([(1, RUNNING)], True, ("blog",), {}),
        ([(1, DONE)], True, (), {"slack": "pending", "blog": "skipped", "failures": "skipped"}),
        ([(1, DONE)], True, ("slack",), {"slack": "pending", "blog": "skipped", "failures": "skipped"}),
        ([(1, DONE)], True, ("blog", "blog"), {"slack": "pending", "blog": "pending", "failures": "skipped"}),
        ([(1, DONE)], True, ("failures",), {"slack": "pending", "blog": "skipped", "failures": "skipped"}),
        ([(1, DONE)], False, ("failures", "gone"), {"failures": "skipped", "gone": "pending"}),
        ([(1, ERROR)], False, ("failures",), {"failures": "pending"}),
    ],
)
def test_targets_named_later_are_told_once_by_their_verdicts_not_their_apps(
    made: Looks,
    notify_all: bool,  # noqa: FBT001
    names: tuple[str, ...],
    expected: dict[str, str],
) -> None:
    tracking = after(made, RULES, notify_all=notify_all)
    told = audience.also_told(tracking, names, RULES, at(50))
    assert {d.target: d.state.value for d in told.deliveries} == expected
    assert len(told.deliveries) == len(expected)
    assert audience.also_told(told, names, RULES, at(60)) == told
    if told.ended_at is None:
        ended = look(looks.claimed(told, "ours", at(60)), 60, DONE, rules=RULES)
        assert ended is not None
        assert targets(ended)["1 blog"] == "pending"
    for delivery in told.deliveries:
        if delivery not in tracking.deliveries and delivery.unfinished:
            assert delivery.next_attempt_at == at(50)


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.RETRYING])
def test_naming_a_target_again_never_repeats_what_it_was_told(state: DeliveryState) -> None:
    tracking = a_tracking(state=State.FAILED, ended_at=NOW, next_look_at=None, deliveries=(a_delivery(state=state),))
    assert audience.also_told(tracking, ("slack",), RULES, NOW).deliveries == tracking.deliveries


def test_naming_targets_of_a_cancelled_watch_tells_nobody() -> None:
    cancelled = looks.cancelled(a_tracking(), at(1))
    assert cancelled is not None
    assert audience.also_told(cancelled, ("slack",), RULES, at(2)).deliveries == ()


# Deliveries

ID = a_delivery().id


def with_delivery(**changes: Any) -> Tracking:
    """Return a failed tracking with one delivery."""
    return a_tracking(state=State.FAILED, ended_at=NOW, next_look_at=None, deliveries=(a_delivery(**changes),))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            None,
            {"state": DeliveryState.DELIVERED, "ended_at": at(9), "next_attempt_at": None, "last_error": None},
        ),
        (
            TransientError("reset"),
            {"state": DeliveryState.RETRYING, "failures": 1, "next_attempt_at": at(99), "last_error": "reset"},
        ),
        (
            PermanentError("gone"),
            {"state": DeliveryState.DEAD, "ended_at": at(9), "next_attempt_at": None, "last_error": "gone"},
        ),
    ],
)
def test_an_attempt_counts_from_its_start_and_is_recorded_by_its_holder_alone(
    error: OpwatchError | None, expected: dict[str, Any]
) -> None:
    begun = attempting(with_delivery(last_error="before"), frozenset({ID}), "ours", at(5))
    assert begun.deliveries[0] == a_delivery(
        last_error="before", attempts=1, claim="ours", next_attempt_at=at(5) + LEASE
    )
    assert attempted_by(begun, ID, "theirs", error, at(9)) is None
    assert attempted_by(begun, "another", "ours", error, at(9)) is None
    recorded = attempted_by(begun, ID, "ours", error, at(9))
    assert recorded is not None
    (made,) = recorded.deliveries[0].history
    assert (made.at, made.error) == (at(9), expected["last_error"])
    assert recorded.deliveries[0] == a_delivery(attempts=1, history=(made,), **expected)
    assert attempted_by(recorded, ID, "ours", None, at(10)) is None


def test_a_released_delivery_counts_no_attempt() -> None:
    begun = attempting(with_delivery(), frozenset({ID}), "ours", at(5))
    assert attempts.released(begun, ID, "theirs", at(6)) is None
    assert attempts.released(begun, ID, "ours", at(6)) == with_delivery(next_attempt_at=at(6))


def test_only_the_named_deliveries_are_attempted() -> None:
    tracking = with_delivery()
    assert attempting(tracking, frozenset(), "ours", NOW) == tracking


@pytest.mark.parametrize(
    ("delivery", "expected"),
    [
        (a_delivery(
            state=DeliveryState.DEAD, attempts=10, failures=9, ended_at=NOW, next_attempt_at=None, last_error="gone"),
         a_delivery(attempts=0, next_attempt_at=at(7), last_error="gone")),
        (a_delivery(state=DeliveryState.RETRYING, attempts=3, next_attempt_at=at(9999)),
         a_delivery(state=DeliveryState.RETRYING, attempts=3, next_attempt_at=at(7))),
        (a_delivery(), a_delivery(next_attempt_at=at(7))),
        (a_delivery(attempts=1, claim="ours", next_attempt_at=at(30)),
         a_delivery(attempts=1, claim="ours", next_attempt_at=at(30))),
        (a_delivery(state=DeliveryState.DELIVERED, ended_at=NOW, next_attempt_at=None), None),
        (a_delivery(state=DeliveryState.SKIPPED, next_attempt_at=None), None),
        (a_delivery(target="webhook", state=DeliveryState.DEAD), None),
        (a_delivery(run=2, state=DeliveryState.DEAD), None),
    ],
)  # fmt: skip
def test_a_retry_by_hand_hurries_what_is_not_yet_told(delivery: Delivery, expected: Delivery | None) -> None:
    tracking = replace(with_delivery(), deliveries=(delivery,))
    retried = attempts.retried(tracking, "slack", at(7))
    assert (None if retried is None else retried.deliveries) == (None if expected is None else (expected,))


def test_every_error_has_a_result_that_the_metrics_list() -> None:
    def all_of(kind: type[OpwatchError]) -> list[type[OpwatchError]]:
        return [kind, *(each for child in kind.__subclasses__() for each in all_of(child))]

    results = {looks.result(kind.__new__(kind)) for kind in all_of(OpwatchError)}
    assert results <= set(looks.RESULTS)
    assert len(results) == len(looks.RESULTS) - 1, "all but answered"
    assert (looks.result(Operation(status="done")), looks.result(RateLimitedError("429"))) == (
        "answered",
        "rate_limited",
    )
