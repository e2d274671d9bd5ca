"""Alerts with a real server: one for many failures, never lost, never about themselves, hidden from callers."""

import json
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis
from standardwebhooks import Webhook

from config.settings import Settings
from operations.errors import PermanentError, SignInRejectedError, TransientError
from operations.model import Delivery, DeliveryState, State, Tracking, Verdict
from operations.storage.account_alerts import AccountAlerts
from operations.storage.index import EXPIRING, OUTBOX
from operations.storage.store import Store
from operations.telling import alerts, attempts
from operations.telling.attempts import Policy, Result
from standin import faults
from standin.api import ScalingoApi
from tests.integration.bench import BROKEN, RETENTION, Caller, attempted, found, maintain, operation_id, seen, tracked
from tests.integration.rounds import tell_all
from tests.support.receiver import Receiver, Reply
from tests.support.running import WEBHOOK_SECRET, wait_until
from workers.deliver import delivery_round
from workers.look import look_round
from workers.runtime import Runtime

FAILING = "⚠️ deliveries to `webhook` are failing: 410 Gone. Fix it, then: python -m admin retry-dead webhook"


@pytest.fixture
def alerting(start_worker: Callable[..., Runtime]) -> Runtime:
    """Start a worker's parts with `slack` as the alert target."""
    return start_worker(OPWATCH_ALERT_TARGET="slack")


def failed(store: Store, settings: Settings, *, notify: tuple[str, ...] = ("webhook",)) -> str:
    """Store an operation that has just failed, with deliveries to these targets."""
    identity = tracked(store, secrets.token_hex(12), notify_all=False, notify=notify, context={"actor": "jane"})
    seen(store, identity, BROKEN, settings.rules)
    return identity


def told(receiver: Receiver, path: str) -> list[Any]:
    """Read the requests to a path."""
    return [json.loads(request.body) for request in receiver.requests if request.path == path]


class TestFailingDeliveries:
    """Deliveries to one target fail, and the alert target is told."""

    def test_many_dead_deliveries_at_once_are_told_once_with_an_outcome(
        self, alerting: Runtime, store: Store, receiver: Receiver
    ) -> None:
        receiver.script("/webhook", Reply(410, "gone"))
        identities = [failed(store, alerting.settings) for _ in range(12)]
        tell_all(store)
        (message,) = told(receiver, "/slack")
        first, second = message["text"].split("\n")
        assert first == FAILING
        assert second.startswith("❌ shop: restart failed")
        assert message["blocks"][0]["text"]["text"] == FAILING
        assert "by jane" in json.dumps(message["blocks"][-1])
        records = [found(store, identity).tracking for identity in identities]
        assert {d.state.value for tracking in records for d in tracking.deliveries} == {"dead"}
        assert sum(len(tracking.alerts) for tracking in records) == 1
        assert store.overview.counters()["deliveries:webhook:dead"] == 12
        assert store.overview.counters()["deliveries:slack:delivered"] == 1

    def test_records_that_fail_at_the_same_moment_in_many_workers_plan_one_alert(
        self, store: Store, settings: Settings
    ) -> None:
        identities = [failed(store, settings) for _ in range(24)]

        def die(identity: str) -> None:
            attempted(store, identity, "webhook", PermanentError("410 Gone"), alert_target="slack")

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(die, identities))
        records = [found(store, identity).tracking for identity in identities]
        assert [d.state for tracking in records for d in tracking.deliveries] == [DeliveryState.DEAD] * 24
        assert sum(len(tracking.alerts) for tracking in records) == 1
        assert store.overview.size(OUTBOX) == 1

    def test_a_target_is_told_of_again_after_an_hour_and_others_at_once(
        self, alerting: Runtime, store: Store, receiver: Receiver, connection: redis.Redis
    ) -> None:
        receiver.script("/webhook", Reply(410))
        receiver.script("/failures", Reply(410))
        failed(store, alerting.settings)
        tell_all(store)
        assert 3_590 < connection.ttl("opwatch:failing:webhook") <= 3_600
        failed(store, alerting.settings, notify=("failures",))
        failed(store, alerting.settings)
        tell_all(store)
        connection.delete("opwatch:failing:webhook")  # as after an hour
        failed(store, alerting.settings)
        tell_all(store)
        assert [message["text"].split("\n")[0] for message in told(receiver, "/slack")] == [
            FAILING,
            FAILING.replace("webhook", "failures"),
            FAILING,
        ]

    @pytest.mark.usefixtures("alerting")
    def test_the_third_failed_attempt_in_a_row_is_told_and_the_second_is_not(
        self, store: Store, settings: Settings, receiver: Receiver, capsys: pytest.CaptureFixture[str]
    ) -> None:
        receiver.script("/webhook", Reply(500))
        identity = failed(store, settings)
        for failures in (1, 2, 3):
            hurried = store.update(
                found(store, identity), lambda t: attempts.retried(t, "webhook", store.records.now())
            )
            assert hurried is not None
            delivery_round()
            wait_until(lambda n=failures: settled(store, identity) == ("retrying", n), what="the attempt")  # type: ignore[misc]
            assert len(found(store, identity).tracking.alerts) == (failures == 3)
        delivery_round()
        receiver.wait_for(1, "/slack")
        (message,) = told(receiver, "/slack")
        assert "failing: 500 Internal Server Error" in message["text"]
        printed: list[str] = []

        def lines() -> list[str]:
            printed.append(capsys.readouterr().out)  # the line comes after the record
            return [line for line in "".join(printed).splitlines() if "delivery retrying" in line]

        wait_until(lambda: len(lines()) >= 3, what="three lines")
        assert len(lines()) == 3
        for line in lines():
            assert all(part in line for part in ("warning", "webhook", "500 Internal Server Error", "next_attempt_at"))

    def test_the_alert_target_itself_is_never_told_of(
        self, start_worker: Callable[..., Runtime], store: Store, receiver: Receiver
    ) -> None:
        running = start_worker(OPWATCH_ALERT_TARGET="webhook")
        receiver.script("/webhook", Reply(410))
        identity = failed(store, running.settings)
        tell_all(store)
        assert found(store, identity).tracking.alerts == ()

    def test_an_alert_that_dies_is_an_error_in_the_log_and_counted_and_nobody_is_told(
        self, alerting: Runtime, store: Store, receiver: Receiver, capsys: pytest.CaptureFixture[str]
    ) -> None:
        receiver.script("/webhook", Reply(410))
        receiver.script("/slack", Reply(403, "no_service"))
        identity = failed(store, alerting.settings)
        tell_all(store)
        (alert,) = found(store, identity).tracking.alerts
        assert alert.state is DeliveryState.DEAD
        assert store.overview.counters()["deliveries:slack:dead"] == 1
        assert len(told(receiver, "/webhook")) == 1
        printed: list[str] = []

        def said() -> bool:
            printed.append(capsys.readouterr().out)  # the line comes after the record
            return "alert dead" in "".join(printed)

        wait_until(said, what="the line")

    def test_an_alert_is_tried_again_with_the_same_id_and_bytes(
        self, start_worker: Callable[..., Runtime], store: Store, receiver: Receiver
    ) -> None:
        running = start_worker(OPWATCH_ALERT_TARGET="failures")
        receiver.script("/webhook", Reply(410))
        receiver.script("/failures", Reply(500), Reply())
        identity = failed(store, running.settings)
        delivery_round()
        wait_until(lambda: found(store, identity).tracking.alerts, what="the alert")
        delivery_round()
        wait_until(lambda: alert_state(store, identity) == "retrying", what="the first attempt")
        assert store.overview.retrying(["failures", "webhook"]) == {"failures": 1, "webhook": 0}

        def due_now(tracking: Tracking) -> Tracking:
            return replace(
                tracking, alerts=tuple(replace(a, next_attempt_at=store.records.now()) for a in tracking.alerts)
            )

        store.update(found(store, identity), due_now)
        tell_all(store)
        first, second = receiver.wait_for(2, "/failures")
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.headers["webhook-id"].startswith(f"{identity}_1_failing_webhook_")
        for request in (first, second):
            headers = {name.lower(): value for name, value in request.headers.items()}
            assert Webhook(WEBHOOK_SECRET).verify(request.body, headers)["type"] == "delivery.failing"
        assert alert_state(store, identity) == "delivered"

    @pytest.mark.usefixtures("alerting")
    def test_callers_see_no_alert_and_retry_the_delivery_as_ever(
        self, caller: Caller, store: Store, settings: Settings, receiver: Receiver
    ) -> None:
        receiver.script("/webhook", Reply(410), Reply())
        identity = failed(store, settings)
        tell_all(store)
        shown = caller.show(identity)
        assert [(d["target"], d["state"]) for d in shown["deliveries"]] == [("webhook", "dead")]
        assert "alert" not in json.dumps(shown)
        assert [t["id"] for t in caller.get("/v1/operations?delivery=dead").json["operations"]] == [identity]
        assert caller.get("/v1/operations?delivery=delivered").json["operations"] == []
        path = f"/v1/operations/{identity}/deliveries"
        assert caller.request("POST", f"{path}/slack/retry").status_code == 404
        assert caller.request("POST", f"{path}/webhook/retry").status_code == 202
        tell_all(store)
        assert [d["state"] for d in caller.show(identity)["deliveries"]] == ["delivered"]
        assert [message["text"] for message in told(receiver, "/slack")[1:]] == [
            "✅ deliveries to `webhook` work again"
        ]

    @pytest.mark.usefixtures("alerting")
    def test_the_alert_target_is_told_an_outcome_and_an_alert_of_the_same_tracking(
        self, store: Store, settings: Settings, receiver: Receiver
    ) -> None:
        receiver.script("/webhook", Reply(410))
        failed(store, settings, notify=("webhook", "slack"))
        tell_all(store)
        alert, outcome = sorted(message["text"] for message in told(receiver, "/slack"))
        assert outcome.startswith("❌ shop: restart failed")
        assert alert == FAILING, "the same channel is not told the outcome twice"


def settled(store: Store, identity: str) -> tuple[str, int] | None:
    """Return state and attempts of the one delivery, once it is not claimed."""
    (delivery,) = found(store, identity).tracking.deliveries
    return None if delivery.claim else (delivery.state.value, delivery.attempts)


def alert_state(store: Store, identity: str) -> str:
    """Return the state of the one alert, once it is not claimed."""
    (alert,) = found(store, identity).tracking.alerts
    return "" if alert.claim else alert.state.value


class TestRejectedTokens:
    """The API rejects an account's token."""

    @pytest.mark.usefixtures("alerting")
    def test_many_looks_at_many_operations_tell_it_once_and_watch_on(
        self, store: Store, scalingo: ScalingoApi, receiver: Receiver, connection: redis.Redis
    ) -> None:
        scalingo.fault(faults.answer(401), exchange=True, times=1_000)
        identities = [watched(store, number) for number in range(6)]

        def looked_at_twice() -> bool:
            look_round()
            return all(found(store, identity).tracking.polls >= 2 for identity in identities)

        wait_until(looked_at_twice, what="two looks at each")
        tell_all(store)
        (message,) = told(receiver, "/slack")
        assert message["text"].startswith("⚠️ Scalingo rejects the API token of the account default")
        assert "lost" not in json.dumps(message)
        records = [found(store, identity).tracking for identity in identities]
        assert {tracking.state for tracking in records} == {State.TRACKING}
        assert sum(len(tracking.alerts) for tracking in records) == 1
        assert 800 < connection.ttl("opwatch:rejected:default") <= 900

    def test_the_mark_lasts_for_as_long_as_the_token_is_rejected(self, connection: redis.Redis) -> None:
        account_alerts = AccountAlerts(connection)
        connection.set("opwatch:rejected:default", "x", ex=5)
        account_alerts.raise_for("default", "rejected")
        assert connection.ttl("opwatch:rejected:default") > 800
        account_alerts.clear("default")
        assert not connection.exists("opwatch:rejected:default")

    def test_one_whose_worker_died_is_cleared_by_anothers_good_looks(
        self, runtime: Runtime, store: Store, connection: redis.Redis, scalingo: ScalingoApi
    ) -> None:
        def looked_well() -> None:
            identity = tracked(store, scalingo.operation(duration_s=None).id)

            def looked() -> bool:
                look_round()
                return found(store, identity).tracking.polls > 0

            wait_until(looked)

        dead, own = AccountAlerts(connection), runtime.account_alerts
        looked_well()
        wait_until(lambda: "default" in own.clear_until_s)  # a look is recorded before it clears the account
        assert dead.raise_for("default", "rejected")
        own.clear_until_s["default"] = time.monotonic() + 60
        looked_well()
        assert own.rejected(["default"]) == {"default": "rejected"}  # it has checked a moment ago
        own.clear_until_s["default"] = time.monotonic()
        looked_well()
        wait_until(lambda: own.rejected(["default"]) == {})

    def test_each_time_and_each_account_is_news(self, store: Store, connection: redis.Redis) -> None:
        account_alerts, error = AccountAlerts(connection), SignInRejectedError("rejected")

        def rejected(number: int, account: str) -> bool:
            stored = found(store, watched(store, number, account=account))
            after = store.update(stored, lambda t: alerts.with_rejected(t, error, "slack", store.records.now()))
            account_alerts.raise_for(account, "rejected")
            return after is not None and bool(after.tracking.alerts)

        assert [rejected(1, "default"), rejected(2, "default"), rejected(3, "other")] == [True, False, True]
        account_alerts.clear("default")
        assert [rejected(4, "default"), rejected(5, "other")] == [True, False]

    @pytest.mark.usefixtures("alerting")
    def test_a_watch_that_is_cancelled_and_begun_anew_still_tells_it(
        self, caller: Caller, store: Store, receiver: Receiver
    ) -> None:
        identity = watched(store, 7)
        error = SignInRejectedError("Scalingo rejects the API token")
        store.update(found(store, identity), lambda t: alerts.with_rejected(t, error, "slack", store.records.now()))
        assert caller.request("DELETE", f"/v1/operations/{identity}").json["deliveries"] == []
        assert caller.track(operation_id=operation_id(7)).status_code == 202
        tell_all(store)
        (message,) = told(receiver, "/slack")
        assert message["text"] == "⚠️ Scalingo rejects the API token"


def watched(store: Store, number: int, **changes: Any) -> str:
    """Store an operation in flight; its look is due."""
    return tracked(store, operation_id(number), **changes)


class TestKeepingAlerts:
    """Alerts in the store."""

    def test_a_tracking_is_kept_until_its_alert_is_told(
        self, store: Store, settings: Settings, connection: redis.Redis
    ) -> None:
        identity = dead_with_alert(store, settings)
        assert connection.zscore(EXPIRING, identity) is None
        (alert,) = found(store, identity).tracking.alerts
        later = store.records.now() + timedelta(hours=2)
        store.update(found(store, identity), lambda t: attempts.claimed(t, [alert], "ours", later))
        (begun,) = found(store, identity).tracking.alerts
        dead = Result(error=PermanentError("no_service"))
        store.update(found(store, identity), lambda t: attempts.after_attempt(t, begun, dead, later, Policy()))
        assert connection.zscore(EXPIRING, identity) == pytest.approx((later + RETENTION).timestamp() * 1000, abs=1)

    def test_what_an_older_version_leaves_of_an_alert_is_removed_and_nothing_else(
        self, store: Store, settings: Settings, connection: redis.Redis
    ) -> None:
        identity, sound = dead_with_alert(store, settings), failed(store, settings)
        key = f"opwatch:tracking:{identity}"
        document = json.loads(connection.get(key) or b"")
        del document["alerts"]  # as an older version writes the record: without unknown fields
        connection.set(key, json.dumps(document))
        assert store.overview.size(OUTBOX) == 2
        look_in_s, delivery_in_s = store.overview.due_in_s()
        assert look_in_s > 0 >= delivery_in_s
        maintain(connection, store)
        assert connection.zrange(OUTBOX, 0, -1) == [f"{sound}_1_failed_webhook".encode()]
        assert found(store, identity).tracking.alerts == ()

    def test_alerts_of_a_newer_version_are_left_alone(
        self, store: Store, settings: Settings, connection: redis.Redis
    ) -> None:
        identity = dead_with_alert(store, settings)
        connection.set(f"opwatch:tracking:{identity}", found(store, identity).record.rstrip(b"}") + b',"v":9}')
        maintain(connection, store)
        assert store.overview.size(OUTBOX) == 1

    @pytest.mark.parametrize("alerted", [False, True])
    def test_a_write_that_is_repeated_since_its_answer_was_lost_is_done_once(
        self,
        store: Store,
        settings: Settings,
        connection: redis.Redis,
        alerted: bool,  # noqa: FBT001
    ) -> None:
        identity = failed(store, settings)
        if alerted:
            connection.set("opwatch:failing:webhook", "x")
        before = found(store, identity)
        (delivery,) = before.tracking.deliveries
        now = store.records.now()

        def die(tracking: Tracking) -> Tracking:
            dead = replace(delivery, state=DeliveryState.DEAD, last_error="410 Gone", ended_at=now)
            return alerts.with_alert(replace(tracking, deliveries=(dead,)), delivery.id, "slack", None, now)

        first = store.update(before, die)
        again = store.update(before, die)  # the same change of the same record, as a client library repeats it
        assert first is not None
        assert again is not None
        assert again.tracking == first.tracking
        assert len(again.tracking.alerts) == (not alerted)
        assert store.overview.counters()["deliveries:webhook:dead"] == 1


def dead_with_alert(store: Store, settings: Settings) -> str:
    """Store a failed tracking with a dead delivery and an unfinished alert about it."""
    identity = failed(store, settings)
    attempted(store, identity, "webhook", TransientError("500"))
    tracking = attempted(store, identity, "webhook", PermanentError("410 Gone"), alert_target="slack")
    assert len(tracking.alerts) == 1
    return identity


def test_an_alert_of_any_state_survives_storing(store: Store, settings: Settings) -> None:
    identity = dead_with_alert(store, settings)
    for state in DeliveryState:
        changed = store.update(
            found(store, identity),
            lambda t, s=state: replace(t, alerts=tuple(replace(a, state=s) for a in t.alerts)),  # type: ignore[misc]
        )
        assert changed is not None
        assert found(store, identity).tracking == changed.tracking
        unfinished = state in (DeliveryState.PENDING, DeliveryState.RETRYING)
        assert store.overview.size(OUTBOX) == unfinished
        assert store.overview.retrying(["slack"]) == {"slack": state is DeliveryState.RETRYING}
    assert isinstance(changed.tracking.alerts[0], Delivery)
    assert changed.tracking.deliveries[0].verdict is Verdict.FAILED
