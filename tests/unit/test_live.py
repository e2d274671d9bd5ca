"""Live messages: when the next edit is due, what it shows, and which delivery waits for it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from operations.errors import OpwatchError, PermanentError, RateLimitedError, TransientError
from operations.model import LiveMessage, MessageRef, Operation, Slow, State, Tracking, Usual, Verdict
from operations.telling import attempts, audience, live
from operations.telling.audience import Rule
from operations.telling.live import LEASE, REFRESH_EVERY_S, SPACING, Written
from operations.telling.progress import progress_of
from operations.watching import looks
from operations.watching.durations import Durations
from tests.unit.strategies import NOW, a_delivery, a_tracking

RULES = {"slack": Rule(live=True), "other": Rule()}
RUNNING = Operation(status="running", type="restart")
POSTED = MessageRef(channel="C1", ts="1.2")
LATER = NOW + timedelta(seconds=5)
ID = f"{a_tracking().id}_1_live_slack"


def watched(*messages: LiveMessage, **changes: Any) -> Tracking:
    """Return a tracking in flight, just looked at, with these messages."""
    sample = {"operation": RUNNING, "last_polled_at": NOW, "live": messages}
    return a_tracking(**{**sample, **changes})


def a_message(**changes: Any) -> LiveMessage:
    """Return a message that is posted and current, and waits for its refresh."""
    shows = progress_of(watched(), LiveMessage(target="slack", run=1), NOW).digest
    sample = LiveMessage(
        id=ID, target="slack", run=1, due_at=NOW + timedelta(seconds=20), posted=POSTED, shows=shows, shown_at=NOW
    )
    return replace(sample, **changes)


def under_way(**changes: Any) -> LiveMessage:
    """Return a claimed message."""
    return a_message(**{"claim": "ours", "due_at": NOW + LEASE, **changes})


def edited(tracking: Tracking, result: Written | OpwatchError | None, messages: int = 1) -> Tracking | None:
    """Return the record after an edit of its first message with this result, at LATER."""
    wanted = progress_of(tracking, tracking.live[0], LATER)
    return live.after_edit(tracking, ID, "ours", result, now=LATER, messages=messages, wanted=wanted)


def after(tracking: Tracking, result: Written | OpwatchError | None, messages: int = 1) -> LiveMessage:
    """Return the message after an edit with this result, at LATER."""
    taken_in = edited(tracking, result, messages)
    assert taken_in is not None
    return taken_in.live[0]


def due_in_s(message: LiveMessage) -> float | None:
    return None if message.due_at is None else (message.due_at - LATER).total_seconds()


def ended(tracking: Tracking, verdict: State = State.SUCCEEDED) -> Tracking:
    """End a run at NOW, and plan its deliveries."""
    over = replace(tracking, state=verdict, next_look_at=None, ended_at=NOW)
    deliveries = audience.deliveries(over, Verdict(verdict), RULES, NOW)
    return live.left_to_deliveries(replace(over, deliveries=deliveries))


class TestLooks:
    def test_the_first_look_that_shows_the_operation_begins_the_message(self) -> None:
        (message,) = live.followed(watched(), RULES).live
        assert message == LiveMessage(id=ID, target="slack", run=1, due_at=NOW)

    @pytest.mark.parametrize(
        "tracking",
        [
            watched(operation=None),
            watched(notify_all=False),
            watched(notify_all=False, notify=("other", "gone")),
            watched(state=State.SUCCEEDED),
        ],
    )
    def test_nothing_is_begun_where_there_is_nothing_to_show_or_nobody_to_show_it_to(self, tracking: Tracking) -> None:
        assert live.followed(tracking, RULES) == tracking

    def test_a_rule_that_leaves_the_app_out_has_no_message(self) -> None:
        assert live.followed(watched(), {"slack": Rule(live=True, apps=("blog",))}).live == ()

    @pytest.mark.parametrize(
        ("message", "due_in_s"),
        [
            (a_message(), 20.0),
            (a_message(shows="pending"), 4.0),
            (a_message(shows="pending", shown_at=NOW - timedelta(seconds=3)), 1.0),
            (a_message(shows="pending", shown_at=NOW - timedelta(seconds=30)), 0.0),
            (a_message(shows="pending", due_at=NOW - timedelta(seconds=1)), -1.0),
            (a_message(shows="pending", run=2), 20.0),
            (under_way(shows="pending"), LEASE.total_seconds()),
            (a_message(posted=None, shows=None, shown_at=None), 20.0),
            (a_message(due_at=None, shows="pending"), None),
        ],
    )
    def test_what_a_look_changes_is_written_soon_but_never_in_two_breaths(
        self, message: LiveMessage, due_in_s: float | None
    ) -> None:
        found = live.followed(watched(message, run=1), RULES).live[0]
        assert found == replace(message, due_at=None if due_in_s is None else NOW + timedelta(seconds=due_in_s))

    @pytest.mark.parametrize(
        ("messages", "due"),
        [
            ((), False),
            ((LiveMessage(target="slack", run=1, due_at=NOW),), True),
            ((a_message(due_at=LATER),), False),
            ((a_message(due_at=None),), False),
            ((a_message(claim="somebody", due_at=NOW),), False),
        ],
    )
    def test_a_bell_is_rung_for_what_is_due(self, messages: tuple[LiveMessage, ...], *, due: bool) -> None:
        assert attempts.is_anything_due(watched(*messages), NOW) is due


class TestShown:
    @pytest.mark.parametrize("change", [
        {"operation": Operation(status="pending", waiting=True, type="restart")},
        {"usual": Usual(p50=1, p90=2, samples=9)},
        {"slow": Slow(body="", deliveries=())},
        {"state": State.CANCELLED},
        {"run": 2},
        {"unanswered_since": NOW - timedelta(seconds=31), "last_error": "503"},
    ])  # fmt: skip
    def test_a_message_differs_in_whatever_is_seen_of_it(self, change: dict[str, Any]) -> None:
        assert progress_of(watched(**change), a_message(), NOW).digest != a_message().shows

    def test_that_time_passes_makes_no_difference(self) -> None:
        later = progress_of(watched(polls=9, next_look_at=LATER), a_message(), LATER)
        assert (later.age_s, later.digest) == (5.0, a_message().shows)

    @pytest.mark.parametrize(("silent_s", "trouble"), [(29, None), (30, "the API answered 503")])
    def test_that_the_api_does_not_answer_is_shown_after_a_while(self, silent_s: int, trouble: str | None) -> None:
        since = NOW - timedelta(seconds=silent_s)
        tracking = watched(unanswered_since=since, last_error="the API answered 503")
        assert progress_of(tracking, a_message(), NOW).trouble == trouble


class TestAttempts:
    def test_a_claim_is_for_the_message_as_it_was_read(self) -> None:
        taken = live.claimed(watched(a_message()), a_message(), "ours", NOW)
        assert taken is not None
        assert taken.live == (under_way(),)
        assert live.claimed(watched(a_message(shows="x")), a_message(), "ours", NOW) is None

    @pytest.mark.parametrize("result", [None, Written(POSTED, "x"), TransientError("no")])
    def test_who_has_lost_the_claim_changes_nothing(self, result: Written | OpwatchError | None) -> None:
        for message in (under_way(claim="theirs"), a_message()):
            assert edited(watched(message), result) is None

    @pytest.mark.parametrize(
        ("age_s", "messages", "wait_s"), [(10, 1, 20), (400, 9, 20), (600, 1, 30), (3600, 60, 180), (60, 60, 120)]
    )
    def test_the_time_is_counted_on_calmly(self, age_s: int, messages: int, wait_s: float) -> None:
        tracking = watched(under_way(), created_at=LATER - timedelta(seconds=age_s))
        written = after(tracking, Written(POSTED, a_message().shows or ""), messages)
        assert (written.shown_at, due_in_s(written)) == (LATER, wait_s)

    def test_what_changed_meanwhile_is_written_next(self) -> None:
        message = after(watched(under_way()), Written(POSTED, "pending"))
        assert (message.claim, message.shows, due_in_s(message)) == (None, "pending", SPACING.total_seconds())

    def test_what_was_posted_is_known_from_then_on(self) -> None:
        message = after(watched(under_way(posted=None, failures=2)), Written(POSTED, "x"))
        assert (message.posted, message.failures) == (POSTED, 0)

    @pytest.mark.parametrize(
        ("message", "error", "wait_s", "failures"),
        [
            (under_way(), TransientError("500"), REFRESH_EVERY_S, 1),
            (under_way(failures=99), TransientError("500"), REFRESH_EVERY_S, 100),
            (under_way(), RateLimitedError("429", retry_after_s=30), 30, 0),
            (under_way(), RateLimitedError("429", retry_after_s=86400), 600, 0),
            (under_way(), PermanentError("not_in_channel"), None, 1),
            (under_way(posted=None, failures=1), TransientError("500"), REFRESH_EVERY_S, 2),
            (under_way(posted=None, failures=2), TransientError("500"), None, 3),
            (under_way(posted=None, failures=2), RateLimitedError("429"), REFRESH_EVERY_S, 2),
        ],
    )
    def test_a_failure_waits_for_its_turn(
        self, message: LiveMessage, error: OpwatchError, wait_s: float | None, failures: int
    ) -> None:
        failed = after(watched(message), error)
        assert (due_in_s(failed), failed.failures, failed.posted) == (wait_s, failures, message.posted)

    def test_an_attempt_that_was_not_made_is_due_at_once(self) -> None:
        assert after(watched(under_way(failures=2)), None) == a_message(due_at=LATER, failures=2)


class TestOutcomes:
    def test_the_message_is_left_to_the_delivery_of_the_outcome(self) -> None:
        over = ended(watched(a_message()))
        assert over.live == (a_message(due_at=None),)
        delivery = next(d for d in over.deliveries if d.target == "slack")
        assert delivery.next_attempt_at == NOW
        assert live.posted_for(over, delivery) == POSTED

    def test_it_waits_for_who_is_at_the_message_and_for_nobody_longer_than_the_lease(self) -> None:
        over = ended(watched(under_way(posted=None)))
        assert {d.target: d.next_attempt_at for d in over.deliveries} == {"slack": NOW + LEASE, "other": NOW}
        for result in (Written(POSTED, "x"), TransientError("500"), PermanentError("no"), None):
            freed = edited(over, result)
            assert freed is not None
            assert {d.target: d.next_attempt_at for d in freed.deliveries} == {"slack": LATER, "other": NOW}
            assert freed.live[0].due_at is None
            assert freed.live[0].posted == (POSTED if isinstance(result, Written) else None)

    def test_it_does_not_wait_for_a_lease_that_has_run_out(self) -> None:
        over = ended(watched(under_way(due_at=NOW - timedelta(seconds=1))))
        assert {d.next_attempt_at for d in over.deliveries} == {NOW}

    def test_only_what_waits_to_be_attempted_first_is_let_go(self) -> None:
        retrying = a_delivery(attempts=1, next_attempt_at=NOW + timedelta(hours=1))
        earlier = a_delivery(run=2, next_attempt_at=NOW + timedelta(hours=1))
        over = watched(under_way(due_at=None), state=State.FAILED, ended_at=NOW, deliveries=(retrying, earlier))
        freed = edited(over, None)
        assert freed is not None
        assert freed.deliveries == (retrying, earlier)

    def test_alerts_other_targets_and_other_runs_do_not_know_the_message(self) -> None:
        tracking = watched(a_message())
        for delivery in (a_delivery(target="other"), a_delivery(run=2)):
            assert live.posted_for(tracking, delivery) is None
        assert live.posted_for(tracking, a_delivery(verdict=None)) == POSTED, "a warning"

    def test_a_look_that_ends_the_watch_at_first_sight_has_no_message(self) -> None:
        claimed = looks.claimed(a_tracking(), "ours", NOW)
        seen = Operation(status="done", outcome=Verdict.SUCCEEDED, type="restart")
        looked = looks.after_look(claimed, "ours", seen, now=NOW, durations=Durations.learn(), rules=RULES)
        assert looked is not None
        assert looked.live == ()


class TestCancelled:
    def test_a_message_says_in_the_end_that_nobody_watches(self) -> None:
        over = looks.cancelled(watched(a_message()), LATER)
        assert over is not None
        assert over.live == (a_message(due_at=LATER),)
        shown = progress_of(over, over.live[0], LATER)
        assert shown.over
        last = after(watched(under_way(), state=State.CANCELLED, ended_at=LATER), Written(POSTED, shown.digest))
        assert last.due_at is None

    @pytest.mark.parametrize(
        ("message", "left"),
        [
            (a_message(posted=None), a_message(posted=None, due_at=None)),
            (a_message(due_at=None), a_message(due_at=None)),
            (under_way(), under_way()),
        ],
    )
    def test_what_was_never_posted_is_dropped_and_what_is_under_way_goes_on(
        self, message: LiveMessage, left: LiveMessage
    ) -> None:
        over = looks.cancelled(watched(message), LATER)
        assert over is not None
        assert over.live == (left,)

    @pytest.mark.parametrize(
        ("message", "result", "wait_s"),
        [
            (under_way(posted=None), Written(POSTED, "running"), 4),
            (under_way(posted=None), TransientError("500"), None),
            (under_way(failures=3), TransientError("500"), REFRESH_EVERY_S),
            (under_way(failures=4), TransientError("500"), None),
            (under_way(), PermanentError("gone"), None),
        ],
    )
    def test_the_last_edit_is_tried_a_few_times(
        self, message: LiveMessage, result: Written | OpwatchError, wait_s: float | None
    ) -> None:
        over = watched(message, state=State.CANCELLED, ended_at=NOW)
        assert due_in_s(after(over, result)) == wait_s

    def test_a_run_that_starts_anew_posts_a_new_message_and_lets_the_old_one_be_finished(self) -> None:
        old = watched(
            a_message(due_at=NOW),
            a_message(target="told", due_at=None),
            a_message(target="untold", due_at=None),
            state=State.CANCELLED,
            deliveries=(a_delivery(target="untold", verdict=Verdict.LOST),),
        )
        anew = looks.started_anew(old, a_tracking())
        assert [message.target for message in anew.live] == ["slack", "untold"]
        seen = live.followed(replace(anew, operation=RUNNING, last_polled_at=NOW), RULES)
        assert [(m.target, m.run) for m in seen.live] == [("slack", 1), ("untold", 1), ("slack", 2)]
        assert progress_of(seen, seen.live[0], NOW).over
        assert not progress_of(seen, seen.live[2], NOW).over
