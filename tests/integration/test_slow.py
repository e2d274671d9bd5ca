"""Usual durations and warnings, with a real server: once, in time, and without delaying outcomes."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from standardwebhooks import Webhook

from operations.model import Delivery, DeliveryState, Operation, State
from operations.storage.index import OUTBOX
from operations.storage.learned import durations_keys
from operations.storage.store import Store
from operations.telling import attempts
from operations.watching import looks
from standin.api import OperationHandle, ScalingoApi
from tests.integration.bench import DONE, Caller, begun, found, maintain, operation_id, seen, tracked
from tests.integration.rounds import look, tell_all
from tests.support.receiver import Receiver, Reply, RequestReceived
from tests.support.running import PATIENCE_S, WEBHOOK_SECRET, wait_until
from workers import deliver
from workers.deliver import ATTEMPT_WITHIN_S, Claimed, delivery_round
from workers.runtime import Runtime

EARLY = """
    [targets.early]
    kind = "webhook"
    url = "${RECEIVER_URL}/early"
    secret = "${WEBHOOK_SECRET}"
    on = ["succeeded", "failed", "timed_out", "lost", "slow"]

    [targets.one-by-one]
    kind = "slack"
    webhook_url = "${RECEIVER_URL}/one-by-one"
    on = ["succeeded", "slow"]
    apps = ["never"]
    """
RUNNING = Operation(status="running", type="restart")


@pytest.fixture
def warning(start_worker: Callable[..., Runtime], connection: redis.Redis) -> Runtime:
    """Start a worker's parts with targets that want warnings; restarts of `shop` usually take 1 s."""
    own, _ = durations_keys(begun(Store(connection, retention=timedelta(days=7)), operation_id(0), operation=RUNNING))
    connection.rpush(own, *["1"] * 9)
    return start_worker(EARLY)


def running_for(scalingo: ScalingoApi, age_s: float) -> OperationHandle:
    """Begin an operation that has run for so long."""
    began = datetime.fromtimestamp(time.time() - age_s, UTC).isoformat(timespec="milliseconds")
    return scalingo.operation(duration_s=None, extra={"created_at": began})


def warning_of(store: Store, identity: str) -> Delivery | None:
    """Return the one warning, once it is not claimed."""
    slow = found(store, identity).tracking.slow
    (delivery,) = slow.deliveries if slow else (None,)
    return delivery if delivery is None or delivery.claim is None else None


def received(receiver: Receiver, path: str) -> list[RequestReceived]:
    """List the requests to a path."""
    return [request for request in receiver.requests if request.path == path]


def types(receiver: Receiver, path: str) -> list[str]:
    """Return the type of a webhook's message."""
    return [json.loads(request.body)["type"] for request in received(receiver, path)]


def due_now(store: Store, identity: str) -> None:
    """Make a waiting warning due."""
    stored = found(store, identity)
    assert stored.tracking.slow is not None
    due = tuple(replace(d, next_attempt_at=store.records.now()) for d in stored.tracking.slow.deliveries)
    store.update(stored, lambda t: replace(t, slow=t.slow and replace(t.slow, deliveries=due)))


@pytest.mark.usefixtures("warning")
def test_who_asked_for_it_is_warned_once_before_the_outcome(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, caller: Caller
) -> None:
    operation = running_for(scalingo, 65)
    identity = tracked(store, operation.id)
    for _ in range(3):
        look(store, identity)
        tell_all(store)
    (request,) = receiver.requests
    assert request.path == "/early"
    assert request.headers["webhook-id"] == f"{identity}_1_slow_early"
    body: Any = Webhook(WEBHOOK_SECRET).verify(request.body, {k.lower(): v for k, v in request.headers.items()})
    assert body["type"] == "operation.slow"
    assert 65 <= body["data"]["age_s"] < 95
    assert (body["data"]["id"], body["data"]["state"], body["data"]["polls"]) == (identity, "tracking", 1)
    shown = caller.show(identity)
    assert shown["usual_duration_s"] == body["data"]["usual_duration_s"] == {"p50": 1.0, "p90": 1.0, "samples": 9}
    assert shown["deliveries"] == []
    scalingo.finish(operation.id)
    look(store, identity)
    tell_all(store)
    assert types(receiver, "/early") == ["operation.slow", "operation.succeeded"]
    assert types(receiver, "/webhook") == ["operation.succeeded"]
    assert json.loads(received(receiver, "/webhook")[0].body)["data"]["usual_duration_s"]["samples"] == 9
    (message,) = received(receiver, "/slack")
    assert json.loads(message.body)["text"].endswith("(usually 1\u00a0s)")
    assert {d["target"]: d["state"] for d in caller.show(identity)["deliveries"]} == {
        "early": "delivered", "one-by-one": "skipped", "slack": "delivered", "webhook": "delivered",
    }  # fmt: skip
    metrics = caller.get("/metrics").text
    assert 'opwatch_deliveries_total{state="delivered",target="early"} 2.0' in metrics
    assert 'opwatch_deliveries_total{state="skipped",target="early"} 0.0' in metrics


@pytest.mark.usefixtures("warning")
def test_an_operation_that_is_not_slow_yet_is_looked_at_when_it_will_be(store: Store, scalingo: ScalingoApi) -> None:
    identity = tracked(store, running_for(scalingo, 9).id)
    look(store, identity)
    tracking = found(store, identity).tracking
    assert tracking.slow is None
    assert tracking.next_look_at is not None
    assert tracking.operation is not None
    assert tracking.operation.created_at is not None
    assert (tracking.next_look_at - tracking.operation.created_at).total_seconds() <= 12.001


@pytest.mark.usefixtures("warning")
def test_a_warning_that_fails_is_tried_again_until_the_outcome_overtakes_it(
    store: Store, scalingo: ScalingoApi, receiver: Receiver
) -> None:
    receiver.script("/early", Reply(500), Reply(500), Reply())
    operation = running_for(scalingo, 65)
    identity = tracked(store, operation.id)
    look(store, identity)
    for failures in (1, 2):
        due_now(store, identity)
        delivery_round()
        waiting = wait_until(
            lambda n=failures: (w := warning_of(store, identity)) and w.failures == n and w,  # type: ignore[misc]
            what="the attempt",
        )
        assert waiting.state is DeliveryState.RETRYING
    assert store.overview.retrying(["early"]) == {"early": 1}
    scalingo.finish(operation.id)
    look(store, identity)
    overtaken = warning_of(store, identity)
    assert overtaken is not None
    assert (overtaken.state, overtaken.next_attempt_at) == (DeliveryState.SKIPPED, None)
    assert store.overview.retrying(["early"]) == {"early": 0}
    assert store.overview.counters()["deliveries:early:skipped"] == 1
    (verdict,) = (d for d in found(store, identity).tracking.deliveries if d.target == "early")
    assert (verdict.state, verdict.attempts, verdict.failures) == (DeliveryState.PENDING, 0, 0)
    tell_all(store)
    assert types(receiver, "/early") == ["operation.slow", "operation.slow", "operation.succeeded"]
    first, second, _ = received(receiver, "/early")
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


@pytest.mark.usefixtures("warning")
def test_a_warning_under_way_neither_holds_up_the_outcome_nor_changes_it(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.script("/early", Reply(hang_s=2), Reply())
    operation = running_for(scalingo, 65)
    identity = tracked(store, operation.id)
    look(store, identity)
    delivery_round()
    receiver.wait_for(1, "/early")
    scalingo.finish(operation.id)
    look(store, identity)
    tell_all(store)
    ended = found(store, identity).tracking
    assert {d.target: d.state.value for d in ended.deliveries}["early"] == "delivered"
    wait_until(lambda: "attempt overtaken" in capsys.readouterr().out, what="the answer to the warning")
    assert found(store, identity).tracking == ended
    assert types(receiver, "/early") == ["operation.slow", "operation.succeeded"]


@pytest.mark.usefixtures("warning")
def test_a_warning_that_hangs_leaves_its_place_long_before_an_outcome_would(
    store: Store, scalingo: ScalingoApi, receiver: Receiver
) -> None:
    receiver.script("/early", Reply(hang_s=60))
    identity = tracked(store, running_for(scalingo, 65).id)
    look(store, identity)
    began_s = time.monotonic()
    delivery_round()
    wait_until(
        lambda: (known := warning_of(store, identity)) is not None and known.state is DeliveryState.RETRYING,
        what="the end of the attempt",
    )
    assert time.monotonic() - began_s < ATTEMPT_WITHIN_S - 5


def test_a_warning_claimed_but_not_sent_as_the_operation_ends_is_not_sent_any_more(
    warning: Runtime, store: Store, scalingo: ScalingoApi, receiver: Receiver
) -> None:
    identity = tracked(store, running_for(scalingo, 65).id)
    look(store, identity)
    claimed = store.update(
        found(store, identity), lambda t: attempts.claimed(t, t.outgoing, "ours", store.records.now())
    )
    assert claimed is not None
    assert claimed.tracking.slow is not None
    (delivery,) = claimed.tracking.slow.deliveries
    store.update(found(store, identity), lambda t: looks.cancelled(t, store.records.now()))
    assert warning.slots.take("early", 1)
    attempted = threading.Event()

    async def attempt() -> None:
        await deliver._attempt(warning, Claimed(claimed, delivery, time.monotonic()))  # noqa: SLF001 - the very last moment
        attempted.set()

    warning.loop.submit(attempt)
    assert attempted.wait(PATIENCE_S)
    assert not receiver.requests
    left = warning_of(store, identity)
    assert left is not None
    assert left.state is DeliveryState.SKIPPED


def test_outcomes_go_before_warnings(warning: Runtime, store: Store, scalingo: ScalingoApi, receiver: Receiver) -> None:
    slow = [tracked(store, running_for(scalingo, 65).id, notify_all=False, notify=("one-by-one",)) for _ in range(3)]
    for identity in slow:
        look(store, identity)
    assert store.overview.size(OUTBOX) == 3
    ended = tracked(store, operation_id(1), notify_all=False, notify=("one-by-one",), app="blog")
    seen(store, ended, DONE, warning.settings.rules)
    tell_all(store)
    first, *others = [json.loads(request.body)["text"] for request in received(receiver, "/one-by-one")]
    assert first.startswith("✅ blog: restart succeeded")
    assert [text.partition(" after")[0] for text in others] == ["⏳ shop: restart still running"] * 3


@pytest.mark.usefixtures("warning")
def test_what_an_older_version_leaves_of_a_warning_is_removed_and_the_outcome_is_told_once(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, connection: redis.Redis
) -> None:
    operation = running_for(scalingo, 65)
    identity = tracked(store, operation.id)
    look(store, identity)
    assert connection.zrange(OUTBOX, 0, -1) == [f"{identity}_1_slow_early".encode()]
    key = f"opwatch:tracking:{identity}"
    document = json.loads(connection.get(key) or b"")
    del document["slow"]  # as an older version writes the record: without unknown fields
    connection.set(key, json.dumps(document))
    delivery_round()
    maintain(connection, store)
    assert store.overview.size(OUTBOX) == 0
    scalingo.finish(operation.id)
    look(store, identity)
    tell_all(store)
    assert types(receiver, "/early") == types(receiver, "/webhook") == ["operation.succeeded"]
    ended = found(store, identity).tracking
    assert ended.state is State.SUCCEEDED
    assert store.overview.counters()["outcomes:succeeded"] == 1
