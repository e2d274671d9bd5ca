"""What a late message says, who goes first, and what a 429 or a dead worker counts for."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from notifiers import wording
from notifiers.email import Email
from notifiers.slack import message as slack_message
from operations.errors import OpwatchError, PermanentError, RateLimitedError, Reason, TransientError
from operations.history import Attempt
from operations.model import Delivery, DeliveryState, Operation, State, Tracking, Verdict
from operations.telling import alerts, attempts, retries
from operations.telling.announcement import Announcement, announce, as_told, end_of, slow_body_of
from operations.telling.announcement import read as read_body
from operations.telling.attempts import Policy, Result
from tests.support.slack_samples import CALLING
from tests.unit.strategies import NOW, a_delivery, a_tracking, attempting
from tests.unit.test_messages import CHATS, MAIL, chat, shown

ENDED = NOW + timedelta(seconds=42)
SECOND = timedelta(seconds=1)


def failed(**changes: Any) -> Tracking:
    """Return a tracking of an operation that failed at ENDED, and was seen then."""
    operation = Operation(status="error", type="restart", error="it broke")
    return replace(a_tracking(state=State.FAILED, operation=operation, ended_at=ENDED, duration_s=42.0), **changes)


def told(after: timedelta, newest: datetime | None = None, **changes: Any) -> Announcement:
    """Return the announcement as it is told so long after the end."""
    return as_told(announce(failed(**changes)), ENDED + after, newest)


LATE = told(timedelta(minutes=25))
LONG_LATE = told(timedelta(hours=50))
OVERTAKEN = told(timedelta(seconds=5), ENDED + 3 * SECOND)


@pytest.mark.parametrize(
    ("announced", "said"),
    [
        (told(timedelta(0)), ""),
        (told(timedelta(seconds=60), ENDED), ""),
        (told(-SECOND, ENDED - SECOND), ""),
        (told(timedelta(seconds=61)), ", ended 12:00 UTC, told 61\u00a0s late"),
        (LATE, ", ended 12:00 UTC, told 25\u00a0min late"),
        (LONG_LATE, ", ended 2026-03-01 12:00 UTC, told 50\u00a0h late"),
        (OVERTAKEN, ", ended 12:00 UTC, overtaken by a newer outcome"),
        (
            told(timedelta(minutes=25), ENDED + SECOND),
            ", ended 12:00 UTC, told 25\u00a0min late, overtaken by a newer outcome",
        ),
    ],
)
def test_a_late_message_says_when_it_ended_and_what_has_overtaken_it(announced: Announcement, said: str) -> None:
    assert wording.headline(announced) == f"❌ shop: restart failed after 42\u00a0s{said}"


@pytest.mark.parametrize("announced", [LATE, OVERTAKEN])
def test_every_kind_says_it_and_calls_nobody_for_what_is_overtaken(announced: Announcement) -> None:
    calls = announced is LATE
    for kind in CHATS:
        document = chat(kind).document(announced)
        assert "ended 12:00 UTC" in shown(kind, document)
        text = shown(kind, document)
        assert (text.startswith(("@", "<at>")) or "<at>" in text) is calls
    mention = CALLING.mention_for(announced)
    for built in (slack_message.message(announced, mention), slack_message.reply(announced, mention)):
        stamp = f"ended <!date^{int(ENDED.timestamp())}^{{date_short_pretty}} at {{time}}|12:00 UTC>"
        assert stamp in built["blocks"][0]["text"]["text"]
        assert ("<!here>" in json.dumps(built)) is calls
        assert "ended 12:00 UTC" in built["text"]
    assert stamp in slack_message.final_message(announced)["blocks"][0]["text"]["text"]
    mail = Email.model_validate(MAIL).message(announced)
    assert "ended 12:00 UTC" in mail["Subject"]
    assert parsedate_to_datetime(mail["Date"]) == ENDED


@pytest.mark.parametrize(
    ("finished_at", "end"),
    [
        (None, ENDED),
        (ENDED - 30 * SECOND, ENDED - 30 * SECOND),
        (NOW - timedelta(hours=3), NOW - timedelta(hours=3)),  # it was tracked late
        (NOW - timedelta(days=4000), ENDED),
        (ENDED + SECOND, ENDED),
    ],
)
def test_the_end_is_that_of_the_api_if_it_is_credible(finished_at: datetime | None, end: datetime) -> None:
    operation = Operation(status="error", type="restart", finished_at=finished_at)
    tracking = failed(operation=operation)
    assert end_of(tracking) == announce(tracking).ended_at == announce(tracking).at == end
    assert end_of(replace(tracking, state=State.TIMED_OUT)) == ENDED
    assert end_of(replace(tracking, state=State.CANCELLED)) is None


def test_a_warning_that_is_late_says_how_long_it_runs_by_now() -> None:
    warning = read_body("an-id", slow_body_of(a_tracking(), 65.0, NOW))
    assert wording.headline(as_told(warning, NOW + SECOND, None)).endswith("still running after 1\u00a0min 5\u00a0s")
    assert wording.headline(as_told(warning, NOW + timedelta(minutes=3), None)).endswith(
        "still running after 4\u00a0min 5\u00a0s"
    )


def waiting(**changes: Any) -> Delivery:
    """Return a delivery that waits for its next attempt, after one that failed a moment ago."""
    tried = (Attempt(at=NOW - 60 * SECOND, error="500"),)
    fields = {"state": DeliveryState.RETRYING, "next_attempt_at": NOW + 300 * SECOND, "history": tried, **changes}
    return a_delivery(**{"target": "older", **fields})


LIMITED = {"limited_since": NOW - SECOND}


@pytest.mark.parametrize(
    ("older", "chosen"),
    [
        (None, "due"),
        (waiting(), "older"),  # ahead of its schedule
        (waiting(history=(Attempt(at=NOW, error="500"),)), "due"),  # it was just tried
        (waiting(**LIMITED), None),
        (waiting(**LIMITED, next_attempt_at=NOW), "older"),
        (waiting(**LIMITED, next_attempt_at=NOW + timedelta(hours=1)), "due"),
        (waiting(asked_until=NOW + SECOND), "due"),  # the target asked for that
        (waiting(asked_until=NOW), "older"),
    ],
)
def test_an_older_message_goes_first_but_holds_up_no_other_for_long(older: Delivery | None, chosen: str | None) -> None:
    first = retries.first(a_delivery(target="due"), older, NOW)
    assert (first and first.target) == chosen


DELAYS_S = (5.0, 15.0, 45.0)


def after(error: OpwatchError | None, at: datetime = NOW, alert_target: str | None = "ops", **changes: Any) -> Tracking:
    """Record the result of an attempt of the delivery to `slack`."""
    delivery = a_delivery(**{"claim": "ours", "attempts": 1, **changes})
    policy = Policy(delays_s=DELAYS_S, alert_target=alert_target, alerted_at=NOW - timedelta(hours=1))
    recorded = attempts.after_attempt(failed(deliveries=(delivery,)), delivery, Result(error=error), at, policy)
    assert recorded is not None
    return recorded


def test_a_429_uses_up_no_retry_and_is_no_alert() -> None:
    at = NOW
    state: dict[str, Any] = {"failures": 2, "attempts": 1}
    for wait_s in (7, 7, 30, 7):
        recorded = after(RateLimitedError("429", retry_after_s=wait_s), at, **state)
        (delivery,) = recorded.deliveries
        assert (delivery.state, delivery.failures, recorded.alerts) == (DeliveryState.RETRYING, 2, ())
        assert delivery.next_attempt_at == at + wait_s * SECOND
        at += wait_s * SECOND
        state = {"failures": 2, "attempts": delivery.attempts + 1, "limited_since": delivery.limited_since}
    (delivery,) = after(TransientError("500"), at, **state).deliveries
    assert (delivery.failures, delivery.limited_since) == (3, None)


@pytest.mark.parametrize(
    ("lasted_s", "tried", "state"),
    [(64, 60, DeliveryState.RETRYING), (66, 4, DeliveryState.DEAD), (9_000, 3, DeliveryState.RETRYING)],
)
def test_429s_end_it_only_after_the_time_and_the_attempts_of_all_retries(
    lasted_s: int, tried: int, state: DeliveryState
) -> None:
    error = RateLimitedError("429", retry_after_s=0)
    recorded = after(error, limited_since=NOW - lasted_s * SECOND, attempts=tried)
    (delivery,) = recorded.deliveries
    assert delivery.state is state
    assert len(recorded.alerts) == (state is DeliveryState.DEAD)
    if state is DeliveryState.RETRYING:
        assert delivery.next_attempt_at == NOW + lasted_s / 10 * SECOND  # the longer it lasts, the less often


def test_another_answer_that_asks_for_a_pause_is_a_failure() -> None:
    error = RateLimitedError("502", retry_after_s=60, reason=Reason.SERVER_ERROR)
    assert after(error).deliveries[0].failures == 1
    assert len(after(error, failures=2).alerts) == 1


def test_an_attempt_ahead_of_its_schedule_does_not_change_the_schedule() -> None:
    planned_at = NOW + timedelta(minutes=10)
    tracking = failed(deliveries=(waiting(target="slack", next_attempt_at=planned_at, failures=2),))
    begun = attempting(tracking, frozenset({tracking.deliveries[0].id}), "ours", NOW)
    (claimed,) = begun.deliveries

    def then(error: OpwatchError | None) -> Delivery:
        recorded = attempts.after_attempt(begun, claimed, Result(error=error), NOW, Policy(delays_s=DELAYS_S))
        assert recorded is not None
        return recorded.deliveries[0]

    again = then(TransientError("500"))
    assert (again.next_attempt_at, again.failures, again.planned_retry_at) == (planned_at, 2, None)
    assert then(PermanentError("410")).state is DeliveryState.DEAD
    assert then(None).state is DeliveryState.DELIVERED
    released = attempts.released(begun, claimed.id, "ours", NOW)
    assert released is not None
    assert replace(released.deliveries[0], attempts=1) == replace(tracking.deliveries[0], attempts=1)


def test_attempts_that_kill_their_worker_end_dead_after_the_schedule_and_are_told_to_the_operator() -> None:
    tracking, at = failed(deliveries=(a_delivery(target="poison"),)), NOW
    waits_s, told_at = [], []
    policy = Policy(delays_s=DELAYS_S, alert_target="ops")
    while tracking.deliveries[0].unfinished:
        begun = attempting(tracking, frozenset({tracking.deliveries[0].id}), "dead", at)
        at += attempts.LEASE
        recorded = attempts.abandoned(begun, begun.deliveries[0], at, policy)
        assert recorded is not None
        tracking, due_at = recorded, recorded.deliveries[0].next_attempt_at or at
        waits_s.append((due_at - at).total_seconds())
        told_at.append(len(alerts.news(begun, recorded)))
        at = due_at
    (delivery,) = tracking.deliveries
    assert (waits_s, delivery.attempts, delivery.state) == ([0, 0, 15, 0], 4, DeliveryState.DEAD)
    assert told_at[2:] == [1, 1]
    assert "the worker died" in (delivery.last_error or "")
    alert = tracking.alerts[0].alert
    assert alert is not None
    assert alert.subject == "poison"
    assert "deliveries to `poison` are failing: the worker died during the attempt" in alert.body


def test_the_operator_is_told_that_deliveries_work_again() -> None:
    recorded = after(None)
    (alert,) = recorded.alerts
    assert alert.alert is not None
    assert json.loads(alert.alert.body) == {
        "type": "delivery.recovered",
        "timestamp": "2026-03-01T12:00:00.000Z",
        "data": {
            "message": "deliveries to `slack` work again",
            "failing_since": "2026-03-01T11:00:00.000Z",
            "target": "slack",
            "delivery": recorded.deliveries[0].id,
            "state": "delivered",
            "attempts": 1,
            "verdict": "failed",
            "id": recorded.id,
            "app": "shop",
            "operation_id": recorded.operation_id,
            "region": "osc-fr1",
            "account": "default",
            "context": {},
            "run": 1,
        },
    }
    announced = alerts.read(recorded, alert, None)
    assert wording.headline(announced) == "✅ deliveries to `slack` work again"
    assert not wording.went_wrong(announced)
    assert CALLING.mention_for(announced) is None
    for kind in CHATS:
        assert "work again" in shown(kind, chat(kind).document(announced))
    for quiet in (after(None, alert_target=None), after(None, alert_target="slack")):
        assert quiet.alerts == ()


@pytest.mark.parametrize(
    ("state", "repeated"),
    [
        (DeliveryState.DELIVERED, False),
        (DeliveryState.RETRYING, False),
        (DeliveryState.SKIPPED, True),
        (DeliveryState.DEAD, True),
        (None, True),
    ],
)
def test_an_alert_does_not_repeat_an_outcome_that_its_target_is_told(
    state: DeliveryState | None,
    repeated: bool,  # noqa: FBT001
) -> None:
    recorded = after(PermanentError("410 Gone"))
    if state is not None:
        own = a_delivery(target="ops", state=state)
        recorded = replace(recorded, deliveries=(*recorded.deliveries, own))
    (alert,) = recorded.alerts
    announced = alerts.read(recorded, alert, announce(recorded).body)
    built = slack_message.message(announced, CALLING.mention_for(announced))
    assert ("restart" in json.dumps(built)) is repeated
    assert built["text"].startswith("<!here> ⚠️" if repeated else "⚠️")
    assert announced.verdict is (Verdict.FAILED if repeated else Verdict.LOST)
