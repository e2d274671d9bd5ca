"""Processes stop, and Redis goes away: nothing is lost, and nobody is told twice."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from standin import faults
from tests.journeys.stage import Measure, staged
from tests.support.running import Opwatch, wait_until


def test_a_redis_that_is_killed_and_comes_back_has_lost_nothing(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        running = stage.scalingo.operation("outage-shop", duration_s=None)
        identity = stage.opwatch.track(running.url)
        stage.scalingo.wait_for(1, operation_id=running.id)
        stage.valkey.kill()
        refused(stage.opwatch, stage.scalingo.operation("refused-shop").url)
        assert "Redis" in stage.opwatch.get("/readyz", token=None).text
        assert stage.opwatch.get("/healthz", token=None).status == 200
        stage.scalingo.finish(running.id, "error", "it broke meanwhile")
        stage.valkey.start()
        stage.opwatch.wait_for_state(identity, "failed")
        stage.opwatch.wait_for_delivery(identity, "slack", "delivered")
        stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
        stage.opwatch.wait_until_ready()
        assert len(stage.told("/slack", "outage-shop")) == 1
        assert len(stage.told("/webhook", identity)) == 1
        # New work is accepted again, without a restart.
        later = stage.opwatch.track(stage.scalingo.operation("later-shop").url)
        stage.opwatch.wait_for_state(later, "succeeded")
        assert stage.opwatch.running("worker")


@pytest.mark.alone
def test_a_redis_that_hangs_is_said_within_two_seconds(tmp_path: Path, record_property: Measure) -> None:
    with staged(tmp_path) as stage:
        os.kill(stage.valkey.pid, signal.SIGSTOP)
        try:
            took_s = refused(stage.opwatch, stage.scalingo.operation("hanging-shop").url)
        finally:
            os.kill(stage.valkey.pid, signal.SIGCONT)
        record_property("a POST while Redis hangs", took_s)
        assert took_s < 3  # 2 s, and some for a busy machine
        # The request may have been carried out or not; repeating it is right in both cases.
        url = stage.scalingo.operation("hanging-shop").url
        wait_until(lambda: stage.opwatch.post({"operation_url": url}).status < 300, what="service")
        answer = stage.opwatch.post({"operation_url": url})
        assert answer.status == 200
        stage.opwatch.wait_for_state(answer.json()["id"], "succeeded")


@pytest.mark.alone
def test_a_redis_that_hangs_keeps_none_of_sixty_callers_waiting_and_resumes_by_itself(
    tmp_path: Path, record_property: Measure
) -> None:
    with staged(tmp_path) as stage, ThreadPoolExecutor(60) as pool:
        urls = [stage.scalingo.operation("crowded-shop").url for _ in range(60)]
        os.kill(stage.valkey.pid, signal.SIGSTOP)
        try:
            # And those who send it again.
            took_s = [each for _ in range(2) for each in pool.map(lambda url: refused(stage.opwatch, url), urls)]
            unready = stage.opwatch.get("/readyz", token=None)
            assert (unready.status, "Redis does not answer" in unready.text) == (503, True)
            assert stage.opwatch.get("/healthz", token=None).status == 200
            assert stage.opwatch.get("/v1/operations", token="nobody's").status == 401  # noqa: S106 - it opens nothing
        finally:
            os.kill(stage.valkey.pid, signal.SIGCONT)
        wait_until(lambda: stage.opwatch.post({"operation_url": urls[0]}).status < 300, what="service")
        record_property("the slowest of 60 POSTs at once while Redis hangs", max(took_s))
        assert max(took_s) < 5  # one by one they would take a minute
        assert {answer.status for answer in pool.map(lambda url: stage.opwatch.post({"operation_url": url}), urls)} <= {
            200,
            202,
        }
        stage.opwatch.wait_until_ready()


def refused(opwatch: Opwatch, operation_url: str) -> float:
    """Post while Redis is away. Returns the seconds until the refusal."""
    began_s = time.monotonic()
    answer = opwatch.post({"operation_url": operation_url})
    took_s = time.monotonic() - began_s
    assert answer.status == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["status"] == 503
    return took_s


def test_a_worker_asked_to_stop_finishes_its_look_first(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        operation = stage.scalingo.operation("stopping-shop", outcome="error", error="it broke")
        stage.scalingo.fault(faults.slow(2), operation_id=operation.id)
        identity = stage.opwatch.track(operation.url)
        stage.scalingo.wait_for(1, operation_id=operation.id)
        stage.opwatch.terminate("worker")
        assert stage.opwatch.wait_for_exit("worker") == 0
        assert stage.opwatch.show(identity)["state"] == "failed"
        assert len([seen for seen in stage.scalingo.requests if seen.operation_id == operation.id]) == 1
        stage.opwatch.start("worker")
        stage.opwatch.wait_for_delivery(identity, "slack", "delivered")
        stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
        assert len(stage.told("/slack", "stopping-shop")) == 1
        assert len(stage.told("/webhook", identity)) == 1


def test_a_web_process_asked_to_stop_finishes_what_it_answers(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        stage.opwatch.terminate("web")
        assert stage.opwatch.wait_for_exit("web") == 0
        assert stage.opwatch.running("worker")


def test_two_workers_share_a_minute_of_the_api_and_tell_everything_once(tmp_path: Path) -> None:
    with staged(tmp_path, limit=60, unhurried=False, workers=("worker", "worker-2")) as stage:
        operations = [stage.scalingo.operation(f"many-shop-{number}", duration_s=3) for number in range(20)]
        identities = [stage.opwatch.track(operation.url) for operation in operations]
        for identity in identities:
            stage.opwatch.wait_for_state(identity, "succeeded")
        for identity in identities:
            stage.opwatch.wait_for_delivery(identity, "slack", "delivered")
            stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
        assert stage.scalingo.rate_limited == 0
        assert sum(seen.path == "/v1/tokens/exchange" for seen in stage.scalingo.requests) <= 2  # one per worker
        for operation, identity in zip(operations, identities, strict=True):
            looks = [seen for seen in stage.scalingo.requests if seen.operation_id == operation.id]
            assert len(looks) == stage.opwatch.show(identity)["polls"]
            assert len(stage.told("/slack", f"{operation.app}:")) == 1
            assert len(stage.told("/webhook", identity)) == 1


def test_a_worker_that_dies_leaves_the_work_to_the_other(tmp_path: Path) -> None:
    with staged(tmp_path, workers=("worker", "worker-2")) as stage:
        stage.opwatch.kill("worker")
        operation = stage.scalingo.operation("survived-shop", duration_s=1)
        identity = stage.opwatch.track(operation.url)
        stage.opwatch.wait_for_state(identity, "succeeded")
        stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
        assert stage.opwatch.get("/readyz", token=None).status == 200


def test_with_no_worker_the_service_takes_on_work_and_says_that_nobody_does_it(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        stage.opwatch.kill("worker")
        unready = wait_until(lambda: unready_text(stage.opwatch), what="/readyz saying that no worker is there")
        assert "worker" in unready
        identity = stage.opwatch.track(stage.scalingo.operation("waiting-shop").url)
        stage.opwatch.start("worker")
        stage.opwatch.wait_for_state(identity, "succeeded")


def unready_text(opwatch: Opwatch) -> str:
    """Return the problems of `/readyz`."""
    answer = opwatch.get("/readyz", token=None)
    return answer.text if answer.status == 503 else ""
