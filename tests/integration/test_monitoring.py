"""The routes for monitoring: alive, ready, metrics, and the description of the API."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from rq import suspension

from api.openapi import VERSION
from api.service import KEY
from config.settings import Settings
from local.valkey import Valkey
from operations.errors import PermanentError, Reason, TransientError
from operations.model import Tracking
from operations.storage.account_alerts import AccountAlerts
from operations.storage.clock import milliseconds
from operations.storage.health import Health
from operations.storage.heartbeat import Heartbeat
from operations.storage.index import DUE, OUTBOX
from operations.storage.store import Store
from operations.telling.audience import Rule
from operations.watching import looks
from tests.integration.bench import DONE, OPERATION_ID, Caller, attempted, found, maintain, problem, seen, tracked
from tests.support.running import wait_until

IDENTITY = f"osc-fr1-{OPERATION_ID}"
DEPLOY = Path(__file__).parents[2] / "deploy"
ALL_IN_ORDER = {"status": "ok", "problems": []}


class TestReadiness:
    """GET /readyz says what is missing."""

    @pytest.fixture
    def worker(self, connection: redis.Redis, store: Store) -> None:
        """Send a worker's heartbeat."""
        Heartbeat(connection).beat("a-worker", store.records.now())

    @pytest.fixture
    def configured(self, connection: redis.Redis) -> Iterator[Callable[[str, str], None]]:
        """Return a function that changes a setting of the server until the end of the test."""
        before: dict[str, str] = {}

        def change(name: str, value: str) -> None:
            before.setdefault(name, str(connection.config_get(name)[name]))
            connection.config_set(name, value)

        yield change
        for name, value in before.items():
            connection.config_set(name, value)

    @pytest.mark.usefixtures("worker")
    def test_everything_is_there(self, caller: Caller) -> None:
        answer = caller.get("/readyz", token=None)
        assert (answer.status_code, answer.json) == (200, ALL_IN_ORDER)

    def test_a_worker_is_missing(self, caller: Caller) -> None:
        answer = caller.get("/readyz", token=None)
        assert answer.status_code == 503
        (said,) = answer.json["problems"]
        assert "worker" in said
        assert caller.track().status_code == 202  # intake continues

    @pytest.mark.usefixtures("worker")
    def test_keys_may_be_evicted(self, caller: Caller, configured: Callable[[str, str], None]) -> None:
        configured("maxmemory-policy", "allkeys-lru")
        assert "allkeys-lru" in unready(caller)

    @pytest.mark.usefixtures("worker")
    def test_no_append_only_file_is_kept(self, caller: Caller, configured: Callable[[str, str], None]) -> None:
        configured("appendonly", "no")
        assert "AOF" in unready(caller)

    @pytest.mark.usefixtures("worker")
    def test_an_api_token_was_rejected(self, caller: Caller, connection: redis.Redis) -> None:
        account_alerts = AccountAlerts(connection)
        assert account_alerts.raise_for("other", "the API token of the account other is rejected")
        assert not account_alerts.raise_for("other", "the API token of the account other is rejected")
        assert "account other" in unready(caller)
        account_alerts.clear("other")
        assert caller.get("/readyz", token=None).status_code == 200

    def test_redis_is_away(
        self, make_app: Callable[[], Flask], monkeypatch: pytest.MonkeyPatch, own_valkey: Valkey
    ) -> None:
        monkeypatch.setenv("REDIS_URL", own_valkey.url)
        caller = Caller(make_app().test_client())
        own_valkey.kill()
        assert "Redis" in unready(caller)
        assert caller.get("/healthz", token=None).status_code == 200
        for answer in (
            caller.track(),
            caller.get("/v1/operations"),
            caller.get("/metrics"),
            caller.get("/v1/operations/x"),
        ):
            problem(answer, 503)
            assert int(answer.headers["Retry-After"]) > 0

    @pytest.mark.parametrize(("name", "value"), [("maxmemory", "1"), ("min-replicas-to-write", "1")])
    def test_redis_refuses_writes(
        self,
        caller: Caller,
        configured: Callable[[str, str], None],
        connection: redis.Redis,
        name: str,
        value: str,
    ) -> None:
        code = {"maxmemory": "OOM", "min-replicas-to-write": "NOREPLICAS"}[name]
        configured(name, value)
        assert code in unready(caller)
        assert code in problem(caller.track(), 503)["detail"]
        configured(name, "0")
        assert caller.track().status_code == 202
        assert connection.exists(f"opwatch:tracking:{IDENTITY}")

    @pytest.mark.parametrize(("stale", "code"), [("yes", "READONLY"), ("no", "MASTERDOWN")])
    def test_redis_is_a_replica_that_takes_no_writes(
        self, make_app: Callable[[], Flask], monkeypatch: pytest.MonkeyPatch, own_valkey: Valkey, stale: str, code: str
    ) -> None:
        monkeypatch.setenv("REDIS_URL", own_valkey.url)
        caller = Caller(make_app().test_client())
        with redis.Redis.from_url(own_valkey.url) as connection:
            connection.config_set("replica-serve-stale-data", stale)
            connection.replicaof("127.0.0.1", "1")
            assert code in problem(caller.track(), 503)["detail"]
            assert "READONLY" in unready(caller)

    @pytest.mark.usefixtures("worker")
    @pytest.mark.parametrize(("used", "ready"), [(0.93, True), (0.97, False)])
    def test_redis_is_nearly_full(
        self,
        caller: Caller,
        configured: Callable[[str, str], None],
        connection: redis.Redis,
        *,
        used: float,
        ready: bool,
    ) -> None:
        for number in range(200):  # what the server itself uses changes a little all the time
            connection.set(f"ballast-{number}", 100_000 * b"x")
        wait_until(lambda: memory_used(connection) == memory_used(connection), what="the end of the writes")
        configured("maxmemory", str(round(memory_used(connection) / used)))
        assert ready or "nearly full" in unready(caller)
        assert caller.get("/readyz", token=None).status_code == (200 if ready else 503)
        configured("maxmemory-policy", "volatile-lru")
        assert "nearly full" not in unready(caller)

    @pytest.mark.usefixtures("worker")
    def test_no_round_is_done(self, caller: Caller, connection: redis.Redis, store: Store) -> None:
        late = store.records.now() - timedelta(minutes=5)
        tracked(store, OPERATION_ID, next_look_at=late)
        assert "no round of looks is done" in unready(caller)
        Health(connection).worked(DUE, store.records.now())
        assert caller.get("/readyz", token=None).status_code == 200  # the budget may be used up
        Health(connection).worked(DUE, store.records.now() - timedelta(seconds=20))
        connection.zadd(
            DUE, {IDENTITY: milliseconds(store.records.now() + timedelta(days=1))}
        )  # the clock was set back
        assert "no round of looks is done" in unready(caller)
        connection.delete(DUE)
        connection.zadd(OUTBOX, {IDENTITY: milliseconds(late)})
        assert "no round of deliveries is done" in unready(caller)

    @pytest.mark.usefixtures("worker")
    def test_rq_is_suspended(self, caller: Caller, connection: redis.Redis) -> None:
        suspension.suspend(connection)
        assert "rq resume" in unready(caller)
        suspension.resume(connection)
        assert caller.get("/readyz", token=None).status_code == 200


def memory_used(connection: redis.Redis) -> int:
    """Return what Redis uses, in bytes."""
    return int(connection.info("memory")["used_memory"])


def unready(caller: Caller) -> str:
    """Return the one problem of `/readyz`."""
    answer = caller.get("/readyz", token=None)
    assert answer.status_code == 503
    assert answer.json["status"] == "unready"
    (said,) = answer.json["problems"]
    return str(said)


def test_it_is_alive_without_anything_else(caller: Caller) -> None:
    answer = caller.get("/healthz", token=None)
    assert (answer.status_code, answer.json) == (200, ALL_IN_ORDER)


class TestMetrics:
    """GET /metrics."""

    def test_a_token_is_needed(self, caller: Caller) -> None:
        problem(caller.get("/metrics", token=None), 401)

    def test_every_series_is_there_at_zero(self, caller: Caller) -> None:
        series = scrape(caller)
        assert series[f"opwatch_build_info version={VERSION}"] == 1
        for state in ("succeeded", "failed", "timed_out", "lost", "cancelled"):
            assert series[f"opwatch_outcomes_total state={state}"] == 0
        for target in ("slack", "webhook", "failures", "shops"):
            for state in ("delivered", "dead", "skipped"):
                assert series[f"opwatch_deliveries_total state={state},target={target}"] == 0
            assert series[f"opwatch_deliveries_retrying target={target}"] == 0
        assert {"answered", "transient", "rate_limited", "other"} < set(looks.RESULTS)
        for result in looks.RESULTS:
            assert series[f"opwatch_looks_total result={result}"] == 0
        for account in ("default", "other"):
            assert series[f"opwatch_operations_in_flight account={account}"] == 0
            assert series[f"opwatch_budget_tokens account={account}"] == 5
            assert series[f"opwatch_budget_share account={account}"] == 1
            assert series[f"opwatch_account_rejected account={account}"] == 0
            assert series[f"opwatch_detection_delay_seconds_bucket account={account},le=+Inf"] == 0
            assert series[f"opwatch_detection_delay_seconds_sum account={account}"] == 0
        for target in ("slack", "webhook", "failures", "shops"):
            assert series[f"opwatch_dwell_seconds_bucket le=0.1,target={target}"] == 0
            assert series[f"opwatch_dwell_seconds_count target={target}"] == 0
            for reason in Reason:
                assert series[f"opwatch_delivery_attempts_total reason={reason},target={target}"] == 0
        for name in (
            "deliveries_unfinished",
            "deliveries_overdue",
            "looks_overdue",
            "oldest_due_look_seconds",
            "oldest_due_delivery_seconds",
            "worker_up",
            "workers",
            "worker_last_beat_timestamp_seconds",
        ):
            assert series[f"opwatch_{name} "] == 0

    def test_the_number_of_series_is_bounded_by_the_settings(
        self, caller: Caller, store: Store, settings: Settings
    ) -> None:
        before = set(scrape(caller))
        gone = {**settings.rules, "gone": Rule()}
        tracked(store, OPERATION_ID, account="former")
        seen(store, IDENTITY, replace(DONE, finished_at=store.records.now()), gone)
        for target in ("gone", "slack"):
            attempted(store, IDENTITY, target)
        counters = store.overview.counters()
        assert counters["deliveries:gone:delivered"] == counters["detection:former:0.5"] == 1
        assert set(scrape(caller)) == before

    def test_they_count_what_happens(self, caller: Caller, store: Store, settings: Settings) -> None:
        caller.track(notify=["webhook", "failures", "slack"])
        caller.track(operation_id="a" * 24, account="other")
        assert scrape(caller)["opwatch_operations_in_flight account=default"] == 1
        seen(store, IDENTITY, DONE, settings.rules)
        attempted(store, IDENTITY, "webhook")
        series = scrape(caller)
        assert series["opwatch_operations_in_flight account=default"] == 0
        assert series["opwatch_operations_in_flight account=other"] == 1
        assert series["opwatch_outcomes_total state=succeeded"] == 1
        assert series["opwatch_outcomes_by_kind_total kind=operation,state=succeeded"] == 1
        assert series["opwatch_deliveries_total state=delivered,target=webhook"] == 1
        assert series["opwatch_deliveries_total state=skipped,target=failures"] == 1
        assert series["opwatch_deliveries_unfinished "] == 1

    def test_they_tell_how_long_an_end_went_unseen_and_how_long_it_then_dwelt(
        self, caller: Caller, store: Store, settings: Settings
    ) -> None:
        began = store.records.now() - timedelta(seconds=120)
        tracked(store, OPERATION_ID, created_at=began)
        seen(store, IDENTITY, replace(DONE, finished_at=store.records.now() - timedelta(seconds=4)), settings.rules)
        attempted(store, IDENTITY, "webhook")
        series = scrape(caller)
        assert series["opwatch_detection_delay_seconds_bucket account=default,le=3"] == 0
        assert series["opwatch_detection_delay_seconds_bucket account=default,le=30"] == 1
        assert series["opwatch_detection_delay_seconds_count account=default"] == 1
        assert 4 <= series["opwatch_detection_delay_seconds_sum account=default"] < 30
        assert series["opwatch_dwell_seconds_count target=webhook"] == 1
        assert series["opwatch_dwell_seconds_bucket le=30,target=webhook"] == 1
        assert series["opwatch_dwell_seconds_sum target=webhook"] < 30
        assert series["opwatch_dwell_seconds_count target=slack"] == 0

    def test_they_tell_what_is_overdue_and_for_how_long(self, caller: Caller, store: Store, settings: Settings) -> None:
        tracked(store, "a" * 24, next_look_at=store.records.now() - timedelta(seconds=90))
        tracked(store, "b" * 24)
        tracked(store, OPERATION_ID)
        ended = seen(store, IDENTITY, DONE, settings.rules)
        due = {"webhook": timedelta(seconds=3600), "slack": timedelta(seconds=1)}

        def delayed(tracking: Tracking) -> Tracking:
            deliveries = (
                replace(d, next_attempt_at=store.records.now() - due[d.target])
                for d in ended.deliveries
                if d.target in due
            )
            return replace(tracking, deliveries=tuple(deliveries))

        store.update(found(store, IDENTITY), delayed)
        series = scrape(caller)
        assert (series["opwatch_looks_overdue "], series["opwatch_deliveries_overdue "]) == (1, 1)
        assert 90 <= series["opwatch_oldest_due_look_seconds "] < 3600 <= series["opwatch_oldest_due_delivery_seconds "]

    def test_they_count_the_workers_that_beat(self, caller: Caller, store: Store, connection: redis.Redis) -> None:
        heartbeat, now = Heartbeat(connection), store.records.now()
        for worker, silent_s in (("dead", 30), ("one", 3), ("two", 1)):
            heartbeat.beat(worker, now - timedelta(seconds=silent_s))
        series = scrape(caller)
        assert (series["opwatch_workers "], series["opwatch_worker_up "]) == (2, 1)
        last = now - timedelta(seconds=1)
        assert series["opwatch_worker_last_beat_timestamp_seconds "] == pytest.approx(last.timestamp(), abs=0.01)

    def test_an_account_whose_token_is_rejected_is_named(self, caller: Caller, connection: redis.Redis) -> None:
        AccountAlerts(connection).raise_for("other", "the API token of the account other is rejected")
        series = scrape(caller)
        assert series["opwatch_account_rejected account=other"] == 1
        assert series["opwatch_account_rejected account=default"] == 0

    def test_what_is_retried_is_counted_by_its_target_for_as_long_as_it_is(
        self, caller: Caller, store: Store, settings: Settings
    ) -> None:
        caller.track(notify=["webhook", "slack"])
        seen(store, IDENTITY, DONE, settings.rules)
        again = TransientError("500 Internal Server Error")
        attempted(store, IDENTITY, "webhook", again)
        attempted(store, IDENTITY, "webhook", again)
        series = scrape(caller)
        assert series["opwatch_deliveries_retrying target=webhook"] == 1
        assert series["opwatch_deliveries_retrying target=slack"] == 0
        attempted(store, IDENTITY, "webhook", PermanentError("410 Gone"))
        series = scrape(caller)
        assert series["opwatch_deliveries_retrying target=webhook"] == 0
        assert series["opwatch_deliveries_total state=dead,target=webhook"] == 1

    def test_a_429_shows_in_the_share_of_its_account(self, app: Flask, caller: Caller) -> None:
        app.extensions[KEY].budget.slow_down("other", None)
        series = scrape(caller)
        assert series["opwatch_budget_share account=other"] == 0.5
        assert series["opwatch_budget_tokens account=other"] == 0
        assert series["opwatch_budget_share account=default"] == 1

    def test_what_maintenance_removes_is_counted(self, caller: Caller, connection: redis.Redis, store: Store) -> None:
        assert scrape(caller)["opwatch_orphans_removed_total "] == 0
        connection.zadd(DUE, {IDENTITY: 1})
        maintain(connection, store)
        assert scrape(caller)["opwatch_orphans_removed_total "] == 1

    def test_reading_them_spends_nothing(self, app: Flask, caller: Caller) -> None:
        for _ in range(3):
            scrape(caller)
        assert app.extensions[KEY].budget.balance("default").tokens == 5


def expressions() -> list[str]:
    """Return every expression of the alert rules and of the dashboard."""
    alerts = (DEPLOY / "alerts.yml").read_text(encoding="utf-8")
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    rules = re.findall(r"^ +expr: (?:\|\n((?: {10,}.*\n)+)|(.+)$)", alerts, re.MULTILINE)
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(rules) == alerts.count("- alert:")
    return [block or line for block, line in rules] + panels


@pytest.mark.parametrize("expression", expressions())
def test_what_the_alerts_and_the_dashboard_ask_for_is_there(caller: Caller, expression: str) -> None:
    there: dict[str, dict[str, set[str]]] = {}
    for series in scrape(caller):
        name, _, labels = series.partition(" ")
        for label, _, value in (each.partition("=") for each in labels.split(",")):
            there.setdefault(name, {}).setdefault(label, set()).add(value)
    selectors = re.findall(r"(opwatch_\w+)(?:\{([^}]*)\})?", expression)
    assert selectors
    for name, matchers in selectors:
        assert name in there
        for label, value in re.findall(r'(\w+)!?="([^"]*)"', matchers):
            assert value in there[name][label]
        for labels in re.findall(r"(?:by|without) \(([^)]*)\)", expression):
            assert set(labels.split(", ")) <= {"job", "instance", *there[name]}  # Prometheus adds these two


def scrape(caller: Caller) -> dict[str, float]:
    """Return every sample as `name label=value,…`."""
    answer = caller.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain")
    return {
        f"{sample.name} {','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))}": sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_description_is_open_and_names_every_route(app: Flask, caller: Caller) -> None:
    answer = caller.get("/openapi.json", token=None)
    assert answer.status_code == 200
    described = {
        (path.replace("{", "<").replace("}", ">"), method.upper())
        for path, methods in answer.json["paths"].items()
        for method in methods
    }
    served = {
        (rule.rule.replace("<any_text:name>", "<group>").replace("any_text:", ""), method)
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.startswith("page")  # the page is not part of the API
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == served
