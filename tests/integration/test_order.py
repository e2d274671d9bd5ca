"""Messages after an outage, with a real server: the oldest first, and nobody is called for what is overtaken."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis

from config.settings import Settings
from operations.errors import PermanentError
from operations.model import DeliveryState, Tracking
from operations.storage.store import Store
from operations.telling import attempts
from tests.integration.bench import BROKEN, DONE, attempted, found, operation_id, seen, tracked
from tests.integration.rounds import hold, tell_all
from tests.support.receiver import Receiver, Reply
from tests.support.running import wait_until
from workers.deliver import delivery_round
from workers.runtime import Runtime

from admin.trackings import retry_dead  # isort: skip


@pytest.fixture
def alerting(start_worker: Callable[..., Runtime]) -> Runtime:
    """Start a worker's parts with `webhook` as the alert target, and `<!here>` as the mention in Slack."""
    mentioning = """
        [targets.deploys]
        kind = "slack"
        webhook_url = "${RECEIVER_URL}/deploys"
        mention = "<!here>"
        """
    return start_worker(mentioning, OPWATCH_ALERT_TARGET="webhook")


def ended(store: Store, settings: Settings, number: int, *, ago_s: float = 0, fine: bool = False, app: str = "") -> str:
    """Store an operation of an app that has ended so many seconds ago, and is to be told to `deploys`."""
    identity = tracked(store, operation_id(number), app=app or f"app-{number}", notify_all=False, notify=("deploys",))
    store.update(found(store, identity), lambda t: replace(t, created_at=t.created_at - timedelta(seconds=ago_s + 60)))
    finished_at = store.records.now() - timedelta(seconds=ago_s)
    seen(store, identity, replace(DONE if fine else BROKEN, finished_at=finished_at), settings.rules)
    return identity


def texts(receiver: Receiver, path: str = "/deploys") -> list[str]:
    """Return the first section of each message, in the order of their arrival."""
    return [
        json.loads(request.body)["blocks"][0]["text"]["text"] for request in receiver.requests if request.path == path
    ]


def events(receiver: Receiver) -> list[dict[str, Any]]:
    """Return what the alert target was told."""
    return [json.loads(request.body) for request in receiver.requests if request.path == "/webhook"]


def test_retry_dead_tells_the_oldest_first_and_calls_nobody_for_what_is_overtaken(
    alerting: Runtime, store: Store, connection: redis.Redis, receiver: Receiver
) -> None:
    # 5 ended last, but was tracked first; and an app of another region has nothing to do with it.
    for number, ago_s in ((5, 0), (2, 900), (1, 1_200), (3, 600), (4, 300)):
        identity = ended(store, alerting.settings, number, ago_s=ago_s, fine=number == 5, app="shop")
        attempted(store, identity, "deploys", PermanentError("404 no_service"))
    attempted(store, ended(store, alerting.settings, 9, ago_s=1_500), "deploys", PermanentError("404 no_service"))
    assert retry_dead(store, connection, ["deploys"]) == {"deploys": 6}
    tell_all(store)
    said = texts(receiver)
    assert said[0].startswith("<!here> ❌ *app-9*")
    assert [text[0] for text in said[1:]] == ["❌"] * 4 + ["✅"]
    assert [text.partition("told ")[2] for text in said] == [
        "25\u00a0min late",
        *(f"{late}\u00a0min late, overtaken by a newer outcome" for late in (20, 15, 10, 5)),
        "",
    ]
    assert all("ended <!date^" in text for text in said[:-1])


def test_what_fails_once_is_not_called_for_after_a_newer_success(
    alerting: Runtime, store: Store, receiver: Receiver, connection: redis.Redis
) -> None:
    receiver.script("/deploys", Reply(500), Reply(200, "ok"))
    first = ended(store, alerting.settings, 1, ago_s=3, app="shop")
    delivery_round()
    wait_until(lambda: states(store, first) == ["retrying"], what="the failed attempt")
    hurry(store, first, timedelta(hours=1))
    second = ended(store, alerting.settings, 2, fine=True, app="shop")
    tell_all_but(store, 0)
    assert [text.partition("*shop*")[0] for text in texts(receiver)] == ["<!here> ❌ ", "❌ ", "✅ "]
    assert [states(store, each) for each in (first, second)] == [["delivered"], ["delivered"]]
    key = "opwatch:newest:default:osc-fr1:shop:restart"
    assert 13 * 86_400 < connection.ttl(key) <= 14 * 86_400


def hurry(store: Store, identity: str, wait: timedelta) -> None:
    """Let the delivery wait so long for its next attempt."""
    due_at = store.records.now() + wait
    store.update(
        found(store, identity),
        lambda t: replace(t, deliveries=tuple(replace(d, next_attempt_at=due_at) for d in t.deliveries)),
    )


def tell_all_but(store: Store, left: int) -> None:
    """Run rounds until so few are left to be told."""
    hold(delivery_round, lambda: len(store.overview.due_in_s()) and outbox(store) == left, "the messages")


def outbox(store: Store) -> int:
    """Count what is left to be told."""
    return store.overview.size("opwatch:outbox")


def states(store: Store, identity: str) -> list[str]:
    """Return the states of deliveries that are not claimed."""
    return [d.state.value for d in found(store, identity).tracking.deliveries if d.claim is None]


def test_after_an_outage_no_new_outcome_passes_an_older_one(
    alerting: Runtime, store: Store, receiver: Receiver
) -> None:
    receiver.script("/deploys", Reply(503))
    waiting = [ended(store, alerting.settings, number, ago_s=100 - number) for number in (3, 1, 2)]
    for identity in waiting:
        attempted(store, identity, "deploys", PermanentError("x"))  # given up; below it waits again
        store.update(found(store, identity), again_in_an_hour(store))
    new = ended(store, alerting.settings, 4)
    delivery_round()
    hold(delivery_round, lambda: states(store, new) == ["retrying"], "an attempt of the new one, too")
    assert [text[-1] for text in names(receiver)] == ["1", "4"], "the oldest has one more try, the others none"
    oldest = found(store, f"osc-fr1-{operation_id(1)}").tracking.deliveries[0]
    assert (oldest.failures, oldest.state) == (0, DeliveryState.RETRYING)
    receiver.script("/deploys", Reply(200, "ok"))
    hurry(store, new, timedelta())
    tell_all(store)
    assert names(receiver)[2:] == ["app-1", "app-2", "app-3", "app-4"]


def again_in_an_hour(store: Store) -> Callable[[Tracking], Tracking]:
    due_at = store.records.now() + timedelta(hours=1)

    def change(tracking: Tracking) -> Tracking:
        retrying = (
            replace(d, state=DeliveryState.RETRYING, next_attempt_at=due_at, ended_at=None, history=())
            for d in tracking.deliveries
        )
        return replace(tracking, deliveries=tuple(retrying))

    return change


def names(receiver: Receiver) -> list[str]:
    """Return the apps, in the order of their messages."""
    return [text.split("*")[1] for text in texts(receiver)]


def test_a_429_does_not_send_a_message_back_in_the_line(alerting: Runtime, store: Store, receiver: Receiver) -> None:
    refused = Reply(429, "rate_limited", headers={"Retry-After": "1"})
    receiver.script("/deploys", Reply(200, "ok"), refused, refused, refused, refused, Reply(200, "ok"))
    for number in range(5):
        ended(store, alerting.settings, number, ago_s=50 - number)
    tell_all(store)
    assert names(receiver) == ["app-0", *["app-1"] * 5, "app-2", "app-3", "app-4"]
    assert events(receiver) == []
    (delivery,) = found(store, f"osc-fr1-{operation_id(1)}").tracking.deliveries
    assert (delivery.attempts, delivery.failures) == (5, 0)


def test_the_operator_hears_once_that_deliveries_work_again(
    alerting: Runtime, store: Store, receiver: Receiver, connection: redis.Redis
) -> None:
    receiver.script("/deploys", Reply(404, "no_service"))
    dead = ended(store, alerting.settings, 1)
    tell_all(store)
    receiver.script("/deploys", Reply(200, "ok"))
    for number in range(2, 5):
        ended(store, alerting.settings, number, fine=True)
    tell_all(store)
    assert [(event["type"], event["data"]["target"]) for event in events(receiver)] == [
        ("delivery.failing", "deploys"),
        ("delivery.recovered", "deploys"),
    ]
    assert not connection.exists("opwatch:failing:deploys", "opwatch:alerted"), "another failure is told at once"
    assert retry_dead(store, connection, ["deploys"]) == {"deploys": 1}
    tell_all(store)
    assert states(store, dead) == ["delivered"]
    assert len(events(receiver)) == 2


def test_an_attempt_whose_worker_died_is_counted_and_told(alerting: Runtime, store: Store, receiver: Receiver) -> None:
    wait_until(
        lambda: (
            alerting.heartbeat.beat(alerting.name, store.records.now()) is not None and alerting.heartbeat.is_settled
        ),
        what="a settled worker",
    )
    identity = ended(store, alerting.settings, 1)
    store.update(
        found(store, identity),
        lambda t: replace(t, deliveries=tuple(replace(d, failures=2) for d in t.deliveries)),
    )
    long_ago = store.records.now() - timedelta(seconds=31)
    store.update(found(store, identity), lambda t: attempts.claimed(t, t.deliveries, "a dead worker's", long_ago))
    delivery_round()
    (delivery,) = found(store, identity).tracking.deliveries
    assert (delivery.state, delivery.failures, delivery.claim) == (DeliveryState.RETRYING, 3, None)
    assert "the worker died" in (delivery.last_error or "")
    (alert,) = receiver.wait_for(1, "/webhook") if hold(delivery_round, lambda: events(receiver)) else ()
    assert "deliveries to `deploys` are failing: the worker died" in json.loads(alert.body)["data"]["message"]
    assert store.overview.counters()["attempts:deploys:other"] == 1
