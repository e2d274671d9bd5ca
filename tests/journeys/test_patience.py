"""Ends that take a minute. All begin together, so that the test waits only once."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from standin.operations import new_id
from tests.journeys.stage import Stage, document, staged
from tests.support.running import PATIENCE_S

A_MINUTE_AND_MORE_S = 60 + PATIENCE_S


@dataclass(frozen=True)
class Watches:
    """The operations of the minute."""

    stage: Stage
    endless: str
    missing: str


@pytest.fixture(scope="module")
def watches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watches]:
    """Begin all operations."""
    with staged(tmp_path_factory.mktemp("patience")) as stage:
        endless = stage.scalingo.operation("endless-shop", duration_s=None)
        yield Watches(
            stage,
            endless=stage.opwatch.track(endless.url, timeout=60),
            missing=stage.opwatch.track(f"{stage.scalingo.url}/v1/apps/missing-shop/operations/{new_id()}"),
        )


def test_an_operation_that_does_not_end_is_timed_out_and_says_that_it_may_yet_end(watches: Watches) -> None:
    shown = watches.stage.opwatch.wait_for_state(watches.endless, "timed_out", timeout_s=A_MINUTE_AND_MORE_S)
    assert "running" in shown["reason"]
    assert shown["operation"]["status"] == "running"
    assert shown["duration_s"] >= 60
    watches.stage.opwatch.wait_for_delivery(watches.endless, "slack", "delivered")
    watches.stage.opwatch.wait_for_delivery(watches.endless, "webhook", "delivered")
    (message,) = watches.stage.told("/slack", "endless-shop")
    assert "failed" not in document(message)["text"]
    assert "still running after 1\u00a0min" in document(message)["text"]
    (hook,) = watches.stage.told("/webhook", watches.endless)
    assert document(hook)["type"] == "operation.timed_out"


def test_an_operation_that_the_api_does_not_know_is_lost_after_a_minute(watches: Watches) -> None:
    shown = watches.stage.opwatch.wait_for_state(watches.missing, "lost", timeout_s=A_MINUTE_AND_MORE_S)
    assert shown["polls"] >= 3
    assert "404" in shown["reason"]
    assert shown["operation"] is None
    assert shown["duration_s"] >= 60
    watches.stage.opwatch.wait_for_delivery(watches.missing, "webhook", "delivered")
    (hook,) = watches.stage.told("/webhook", watches.missing)
    assert document(hook)["type"] == "operation.lost"
    assert hook.headers["webhook-id"] == f"{watches.missing}_1_lost_webhook"
