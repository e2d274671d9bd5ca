"""When the operator is alerted, about what, and in which words."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import ClientSession
from hypothesis import given, settings
from hypothesis import strategies as st

from notifiers import wording
from notifiers.console import Console
from notifiers.slack.message import message
from operations.errors import OpwatchError, PermanentError, RateLimitedError, SignInRejectedError, TransientError
from operations.model import AlertKind, Delivery, DeliveryState, Operation, State, Tracking, Verdict
from operations.storage.records import decode, encode
from operations.telling import alerts, attempts, audience, view
from operations.telling.announcement import BODY_LIMIT_BYTES, Announcement, body_of, read, read_alert
from operations.text import json_bytes
from operations.watching import looks
from tests.unit.strategies import (
    NOW,
    a_delivery,
    a_text,
    a_tracking,
    attempted_by,
    attempting,
    target_names,
    times,
    trackings,
)

REJECTED = SignInRejectedError("Scalingo rejects the API token of the account default")
GONE = "deliveries to `ci-hook` are failing: 410 Gone. Fix it, then: python -m admin retry-dead ci-hook"


def failed(**changes: Any) -> Tracking:
    """Return a failed tracking whose one delivery, to `ci-hook`, is being attempted."""
    delivery = a_delivery(**{"target": "ci-hook", "claim": "ours", "attempts": 1, **changes})
    return a_tracking(
        state=State.FAILED,
        next_look_at=None,
        ended_at=NOW,
        duration_s=42.0,
        context={"actor": "jane"},
        operation=Operation(status="error", outcome=Verdict.FAILED, type="restart", error="it broke\ntwice"),
        deliveries=(delivery,),
    )


def attempted(tracking: Tracking, error: OpwatchError | None, alert_target: str | None = "ops") -> Tracking:
    """Record how the first delivery's attempt ended, as a worker does."""
    after = attempted_by(tracking, tracking.deliveries[0].id, "ours", error, NOW, alert_target=alert_target)
    assert after is not None
    return after


def alert_of(tracking: Tracking) -> tuple[Delivery, dict[str, Any]]:
    """Return a tracking's one alert, and what its body says."""
    (delivery,) = tracking.alerts
    assert delivery.alert is not None
    return delivery, json.loads(delivery.alert.body)


AGAIN, DEAD = TransientError("500 Internal Server Error"), PermanentError("410 Gone")


@pytest.mark.parametrize(
    ("nth_failure", "error", "alert_target", "told"),
    [
        (1, DEAD, "ops", True),
        (9, DEAD, "ops", True),
        (1, AGAIN, "ops", False),
        (2, AGAIN, "ops", False),
        (3, AGAIN, "ops", True),
        (4, AGAIN, "ops", True),
        (1, None, "ops", False),
        (5, None, "ops", False),
        (1, DEAD, "ci-hook", False),  # the alert target itself
        (3, AGAIN, "ci-hook", False),
        (1, DEAD, None, False),
        (3, AGAIN, None, False),
    ],
)
def test_the_operator_is_told_of_what_is_dead_or_failed_three_times(
    nth_failure: int,
    error: OpwatchError | None,
    alert_target: str | None,
    told: bool,  # noqa: FBT001
) -> None:
    before = failed(failures=nth_failure - 1, attempts=nth_failure + 5)  # attempts that died with a worker do not count
    after = attempted(before, error, alert_target)
    assert bool(after.alerts) is told
    assert replace(after, alerts=()) == attempted(before, error, None), "nothing else changes"


@pytest.mark.parametrize("error", [DEAD, AGAIN])
def test_the_operator_is_never_told_of_an_alert(error: OpwatchError | None) -> None:
    tracking = attempted(failed(), DEAD)
    (alert,) = tracking.alerts
    alert_id = alert.id
    for _ in range(4):
        begun = attempting(tracking, frozenset({alert_id}), "mine", NOW)
        assert begun.deliveries == tracking.deliveries
        after = attempted_by(begun, alert_id, "mine", error, NOW)
        assert after is not None
        assert alerts.with_alert(after, alert_id, "another", None, NOW) == after


def test_an_alert_is_due_at_once_to_the_alert_target_and_hidden_from_callers() -> None:
    before = failed()
    after = attempted(before, DEAD)
    delivery, _ = alert_of(after)
    assert (delivery.target, delivery.run, delivery.verdict) == ("ops", 1, None)
    assert (delivery.state, delivery.attempts, delivery.next_attempt_at) == (DeliveryState.PENDING, 0, NOW)
    assert delivery.id == f"{after.id}_1_failing_ci-hook_{NOW.timestamp() * 1000:.0f}"
    assert [each["target"] for each in view.as_json(after)["deliveries"]] == ["ci-hook"]
    assert attempts.retried(after, "ops", NOW) is None


def test_the_body_says_which_delivery_failed_how_and_where_to_find_it() -> None:
    after = attempted(failed(attempts=2), DEAD)
    _, body = alert_of(after)
    assert body == {
        "type": "delivery.failing",
        "timestamp": view.timestamp(NOW),
        "data": {
            "message": GONE,
            "error": "410 Gone",
            "target": "ci-hook",
            "delivery": f"{after.id}_1_failed_ci-hook",
            "state": "dead",
            "attempts": 2,
            "verdict": "failed",
            "id": after.id,
            "app": "shop",
            "operation_id": after.operation_id,
            "region": "osc-fr1",
            "account": "default",
            "context": {"actor": "jane"},
            "run": 1,
        },
    }


def test_a_second_alert_has_another_id_and_what_was_told_is_forgotten() -> None:
    first = attempted(failed(), DEAD)
    (told,) = first.alerts
    by_hand = attempts.retried(replace(first, alerts=(replace(told, state=DeliveryState.DELIVERED),)), "ci-hook", NOW)
    assert by_hand is not None
    delivery_id = by_hand.deliveries[0].id
    begun = attempting(by_hand, frozenset({delivery_id}), "ours", NOW)
    dead = attempted_by(begun, delivery_id, "ours", DEAD, NOW)
    assert dead is not None
    later = NOW.replace(hour=14)
    second = alerts.with_alert(dead, delivery_id, "ops", None, later)
    (news,) = alerts.news(first, second)
    assert second.alerts == (news,)
    assert news.id != told.id
    assert len(alerts.with_alert(first, delivery_id, "ops", None, later).alerts) == 2, "the unfinished alert stays"


@pytest.mark.parametrize("state", [State.TRACKING, State.TIMED_OUT])
def test_a_rejected_token_is_told_and_changes_nothing_else(state: State) -> None:
    tracking = a_tracking(state=state, last_error=str(REJECTED))
    after = alerts.with_rejected(tracking, REJECTED, "ops", NOW)
    assert replace(after, alerts=()) == tracking
    delivery, body = alert_of(after)
    assert delivery.id == f"{after.id}_1_rejected_default_{NOW.timestamp() * 1000:.0f}"
    assert body["type"] == "account.rejected"
    assert body["data"] == {
        "message": str(REJECTED),
        "error": str(REJECTED),
        "id": after.id,
        "app": "shop",
        "operation_id": after.operation_id,
        "region": "osc-fr1",
        "account": "default",
        "context": {},
        "run": 1,
    }


@pytest.mark.parametrize(
    "seen", [TransientError("500"), RateLimitedError("429"), OpwatchError("?"), Operation(status="running")]
)
def test_no_other_look_is_told_to_the_operator(seen: Operation | OpwatchError) -> None:
    assert alerts.with_rejected(a_tracking(), seen, "ops", NOW) == a_tracking()


def test_without_an_alert_target_a_rejected_token_is_told_to_nobody() -> None:
    assert alerts.with_rejected(a_tracking(), REJECTED, None, NOW) == a_tracking()


def test_an_alert_on_the_way_stays_whatever_becomes_of_the_watch() -> None:
    watched = alerts.with_rejected(a_tracking(), REJECTED, "ops", NOW)
    cancelled = looks.cancelled(watched, NOW)
    assert cancelled is not None
    anew = looks.started_anew(cancelled, a_tracking(app="other"))
    told = audience.also_told(cancelled, ("ops",), {}, NOW)
    for after in (cancelled, anew, told):
        assert after.alerts == watched.alerts
        assert after.deliveries == ()
    finished = replace(cancelled, alerts=tuple(replace(a, state=DeliveryState.DEAD) for a in cancelled.alerts))
    assert looks.started_anew(finished, a_tracking()).alerts == ()


@settings(max_examples=20)
@given(trackings(), trackings())
def test_what_is_no_news_is_left_out(before: Tracking, after: Tracking) -> None:
    quiet = alerts.without_news(before, after)
    assert alerts.news(before, quiet) == ()
    assert replace(quiet, alerts=()) == replace(after, alerts=())
    assert alerts.news(None, after) == after.alerts


texts = st.builds(lambda text, times: text * times, a_text(), st.integers(1, 500))
contexts = st.dictionaries(a_text(max_size=64), a_text(max_size=500), max_size=20).filter(
    lambda context: json_bytes(json.dumps(context, ensure_ascii=False)) <= 4_000
)


@given(trackings(context=contexts), target_names, texts, times)
def test_any_alert_is_stored_read_back_and_stays_below_the_limit(
    tracking: Tracking, target: str, error: str, at: Any
) -> None:
    delivery = a_delivery(target=target, state=DeliveryState.DEAD, last_error=error)
    tracking = replace(tracking, deliveries=(delivery,), alerts=())
    for after in (
        alerts.with_alert(tracking, delivery.id, f"{target}-ops", None, at),
        alerts.with_rejected(tracking, SignInRejectedError(error), "ops", at),
    ):
        assert decode(encode(after)) == after
        (alert,) = (each.alert for each in after.alerts)
        assert alert is not None
        announced = read_alert("an-id", alert, None)
        assert len(announced.body) < BODY_LIMIT_BYTES
        assert "\n" not in (announced.alert or "")
        assert announced.context == (tracking.context if alert.kind is AlertKind.FAILING else {})


@pytest.mark.parametrize("error", ["", " ", "\x1b[31m\x1b[0m", "\n\n"])
def test_an_error_without_words_is_said_to_have_none(error: str) -> None:
    _, body = alert_of(attempted(failed(), PermanentError(error)))
    assert (
        body["data"]["message"]
        == "deliveries to `ci-hook` are failing: no reason given. Fix it, then: python -m admin retry-dead ci-hook"
    )


# In words


def announced(tracking: Tracking) -> Announcement:
    """Read a tracking's one alert as a notifier gets it."""
    delivery, _ = alert_of(tracking)
    assert delivery.alert is not None
    outcome = body_of(tracking) if tracking.ended_at else None
    return read_alert(delivery.id, delivery.alert, outcome)


def test_a_kind_that_knows_of_no_alerts_says_both_the_alert_and_the_outcome() -> None:
    tracking = attempted(failed(), DEAD)
    announcement = announced(tracking)
    assert wording.headline(announcement) == f"⚠️ {GONE}"
    assert wording.explanation(announcement) == "❌ shop: restart failed after 42\u00a0s\nit broke\ntwice"
    assert announcement.verdict is Verdict.FAILED
    assert json.loads(announcement.body)["data"]["message"] == GONE
    outcome = read("an-id", body_of(tracking))
    assert wording.headline(outcome) == "❌ shop: restart failed after 42\u00a0s"
    assert wording.explanation(outcome) == "it broke\ntwice"


def test_the_console_prints_the_outcome_below_the_alert(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(Console().send(announced(attempted(failed(), DEAD)), cast("ClientSession", None)))
    assert capsys.readouterr().out.splitlines() == [
        f"⚠️ {GONE}",
        "    | ❌ shop: restart failed after 42 s",
        "    | it broke",
        "    | twice",
    ]


def test_of_a_rejected_token_no_outcome_is_said() -> None:
    announcement = announced(alerts.with_rejected(a_tracking(context={"actor": "jane"}), REJECTED, "ops", NOW))
    assert wording.headline(announcement) == f"⚠️ {REJECTED}"
    assert wording.explanation(announcement) == ""
    built = message(announcement, "<!here>")
    assert built["text"] == f"<!here> ⚠️ {REJECTED}"
    assert list(sections(built)) == [f"<!here> ⚠️ {REJECTED}"]
    assert "jane" not in str(built)


@pytest.mark.parametrize("outcome", [State.SUCCEEDED, State.FAILED])
def test_slack_shows_the_alert_and_below_it_what_was_to_be_told(outcome: State) -> None:
    tracking = replace(failed(), state=outcome)
    built = message(announced(attempted(tracking, DEAD)), "<!here>")
    said = "succeeded" if outcome is State.SUCCEEDED else "failed"
    first, second = sections(built)
    assert first == f"<!here> ⚠️ {GONE}"
    assert f"*shop*: restart *{said} after 42\u00a0s*" in second
    assert "<!here>" not in second
    assert [block["type"] for block in built["blocks"]] == ["section", "section", "rich_text", "context"]
    first_line, second_line = built["text"].split("\n")
    assert first_line == f"<!here> ⚠️ {GONE}"
    assert second_line.endswith(f"shop: restart {said} after 42\u00a0s: it broke")


def sections(built: dict[str, Any]) -> Iterator[str]:
    """List the sections of a Slack message."""
    return (block["text"]["text"] for block in built["blocks"] if block["type"] == "section")


def test_an_outcome_that_cannot_be_read_does_not_silence_the_alert() -> None:
    delivery, _ = alert_of(attempted(failed(), DEAD))
    assert delivery.alert is not None
    announcement = read_alert("an-id", delivery.alert, None)
    assert wording.headline(announcement) == f"⚠️ {GONE}"
    assert not announcement.ended


@pytest.mark.parametrize("body", ["", "{", "null", "[]", "{}", '{"data": null}', '{"data": {"message": "x"}}'])
def test_what_is_no_alert_is_refused_by_its_id(body: str) -> None:
    delivery, _ = alert_of(attempted(failed(), DEAD))
    assert delivery.alert is not None
    with pytest.raises(OpwatchError, match="an-id"):
        read_alert("an-id", replace(delivery.alert, body=body), None)
