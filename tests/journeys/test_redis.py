"""Redis fails over, is set back, refuses or is held back: work goes on, or the service says why not."""

import re
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from rq import suspension

from local.valkey import Valkey
from standin.api import DEFAULT_TOKENS, ScalingoApi
from tests.journeys.stage import Stage, staged
from tests.support.failover import pair
from tests.support.receiver import Receiver
from tests.support.running import ROOT, UNHURRIED, Opwatch, wait_until
from tests.support.shifted_clock import ShiftedValkey


def tracked(opwatch: Opwatch, scalingo: ScalingoApi, app: str, count: int) -> list[tuple[str, str]]:
    """Have operations tracked that do not end yet. Returns their ids and the trackings'."""
    running = [scalingo.operation(app, duration_s=None) for _ in range(count)]
    found = [(each.id, opwatch.track(each.url)) for each in running]
    for operation, _ in found:
        scalingo.wait_for(1, operation_id=operation)
    return found


def end(opwatch: Opwatch, scalingo: ScalingoApi, found: list[tuple[str, str]]) -> None:
    """End operations, and wait until they are announced."""
    for operation, _ in found:
        scalingo.finish(operation, "done")
    for _, identity in found:
        opwatch.wait_for_state(identity, "succeeded")
        opwatch.wait_for_delivery(identity, "webhook", "delivered")


def unready(opwatch: Opwatch, said: str) -> bool:
    """Tell whether `/readyz` says this."""
    answer = opwatch.get("/readyz", token=None)
    return answer.status == 503 and said in answer.text


def test_failovers_that_leave_old_connections_open_need_no_restart(tmp_path: Path) -> None:
    settings = {**UNHURRIED, "WEB_CONCURRENCY": "2"}
    with (
        pair(tmp_path) as servers,
        ScalingoApi(DEFAULT_TOKENS, limit=None) as scalingo,
        Receiver() as receiver,
        Opwatch(servers.url, scalingo, receiver, settings=settings, workers=("worker", "worker-2")) as opwatch,
    ):
        for app in ("there-shop", "back-shop"):
            found = tracked(opwatch, scalingo, app, 10)
            servers.fail_over()
            answers = [opwatch.post({"operation_url": scalingo.operation(app, duration_s=0).url}) for _ in range(10)]
            assert {answer.status for answer in answers} == {202}
            end(opwatch, scalingo, found)
            for answer in answers:
                opwatch.wait_for_delivery(answer.json()["id"], "webhook", "delivered")
            opwatch.wait_until_ready()


@pytest.mark.parametrize("back_s", [90, 1200])
def test_a_clock_that_is_set_back_delays_nothing(tmp_path: Path, back_s: int) -> None:
    with staged(tmp_path, server=ShiftedValkey, settings={"SCALINGO_REQUESTS_PER_MINUTE": "600"}) as stage:
        assert isinstance(stage.valkey, ShiftedValkey)
        found = tracked(stage.opwatch, stage.scalingo, "set-back-shop", 5)
        stage.valkey.shift(-back_s)
        end(stage.opwatch, stage.scalingo, found)
        end(stage.opwatch, stage.scalingo, tracked(stage.opwatch, stage.scalingo, "later-shop", 2))
        (event,) = stage.opwatch.events("worker", "Redis's clock was set back")
        assert abs(event["seconds"] - back_s) <= 2
        stage.opwatch.wait_until_ready()


def test_each_cause_of_an_outage_is_said_everywhere(tmp_path: Path) -> None:
    event = "Redis refuses commands; waiting for it"
    causes = {"OOM": ("maxmemory", "1"), "NOREPLICAS": ("min-replicas-to-write", "1")}
    with staged(tmp_path) as stage, redis.Redis.from_url(stage.valkey.url) as connection:

        def is_said(code: str) -> bool:
            return any(code in line["error"] for line in stage.opwatch.events("worker", event))

        for code, (name, value) in causes.items():
            connection.config_set(name, value)
            wait_until(partial(unready, stage.opwatch, code), what=code)
            answer = stage.opwatch.post({"operation_url": stage.scalingo.operation("refused-shop").url})
            assert (answer.status, code in answer.json()["detail"]) == (503, True)
            wait_until(partial(is_said, code), what="the worker's word")
            connection.config_set("maxmemory", "0")
        assert len(stage.opwatch.events("worker", event)) == len(causes)
        connection.config_set("min-replicas-to-write", "0")
        end(stage.opwatch, stage.scalingo, tracked(stage.opwatch, stage.scalingo, "later-shop", 1))
        stage.opwatch.wait_until_ready()


def test_suspended_rounds_are_said_and_resumed(tmp_path: Path) -> None:
    with staged(tmp_path) as stage, redis.Redis.from_url(stage.valkey.url) as connection:
        suspension.suspend(connection)  # as `rq suspend` does
        operation = stage.scalingo.operation("suspended-shop", duration_s=0)
        identity = stage.opwatch.track(operation.url)
        assert unready(stage.opwatch, "rq resume")
        wait_until(lambda: stage.opwatch.events("worker", "rounds are not done"), what="the worker's word")
        assert stage.told("/webhook", identity) == []
        suspension.resume(connection)
        stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
        stage.opwatch.wait_until_ready()


def test_the_documented_permissions_suffice(tmp_path: Path) -> None:
    documented = re.search(r"^(ACL SETUSER opwatch .*)$", (ROOT / "docs/operating.md").read_text(), re.MULTILINE)
    assert documented is not None
    password = re.search(r">(\S+)", documented[1])
    assert password is not None

    def limited(valkey: Valkey) -> str:
        with redis.Redis.from_url(valkey.url) as connection:
            connection.execute_command(*documented[1].split())
        return f"unix://opwatch:{password[1]}@{urlsplit(valkey.url).path}?db=0"

    with staged(tmp_path, redis_url=limited) as stage:
        settled(stage)
        with redis.Redis.from_url(stage.valkey.url) as connection:
            refused = {entry["object"] for entry in connection.acl_log()}
    assert refused == set()


def settled(stage: Stage) -> None:
    """Use what needs Redis: a group, a wait, a list, the metrics, the page."""
    operation = stage.scalingo.operation("limited-shop", outcome="error", error="it broke")
    body = {"operation_url": operation.url, "group": "limited"}
    identity = stage.opwatch.post(body).json()["id"]
    stage.opwatch.wait_for_state(identity, "failed")
    stage.opwatch.wait_for_delivery(identity, "slack", "delivered")
    for path in ("/v1/operations?app=limited-shop", "/v1/groups/limited", "/metrics", "/"):
        assert stage.opwatch.get(path).status < 400, path
    wait_until(lambda: stage.opwatch.get("/readyz", token=None).status == 200, what="readiness")
