"""Usual durations are learned, and slow operations cause warnings, with the real processes."""

from pathlib import Path

from standardwebhooks import Webhook

from tests.journeys.stage import document, staged
from tests.support.running import PATIENCE_S, WEBHOOK_SECRET, wait_until

EARLY = """
    [targets.early]
    kind = "webhook"
    url = "${RECEIVER_URL}/early"
    secret = "${WEBHOOK_SECRET}"
    on = ["succeeded", "failed", "timed_out", "lost", "slow"]
    """
TAUGHT_BY = 6
A_MINUTE_AND_MORE_S = 60 + PATIENCE_S


def test_a_restart_that_takes_far_longer_than_usual_is_told_of_before_its_end(tmp_path: Path) -> None:
    with staged(tmp_path, targets=EARLY, workers=("worker", "worker-2")) as stage:
        usual = [stage.scalingo.operation("slow-shop", duration_s=1) for _ in range(TAUGHT_BY)]
        for identity in [stage.opwatch.track(operation.url, notify=[]) for operation in usual]:
            stage.opwatch.wait_for_state(identity, "succeeded")
        operation = stage.scalingo.operation("slow-shop", duration_s=None)
        identity = stage.opwatch.track(operation.url)
        wait_until(lambda: stage.told("/early", "operation.slow"), timeout_s=A_MINUTE_AND_MORE_S, what="the warning")
        shown = stage.opwatch.show(identity)
        assert (shown["state"], shown["deliveries"]) == ("tracking", [])
        polls = shown["polls"]
        wait_until(lambda: stage.opwatch.show(identity)["polls"] > polls + 1, timeout_s=A_MINUTE_AND_MORE_S)
        stage.scalingo.finish(operation.id)
        stage.opwatch.wait_for_state(identity, "succeeded", timeout_s=A_MINUTE_AND_MORE_S)
        for target in ("early", "webhook", "slack"):
            stage.opwatch.wait_for_delivery(identity, target, "delivered")
        warning, outcome = stage.told("/early", "slow-shop")
        verified = Webhook(WEBHOOK_SECRET).verify(warning.body, {k.lower(): v for k, v in warning.headers.items()})
        assert (verified["type"], verified["data"]["state"]) == ("operation.slow", "tracking")
        assert verified["data"]["usual_duration_s"] == {"p50": 1.0, "p90": 1.0, "samples": TAUGHT_BY}
        assert verified["data"]["age_s"] >= 12
        assert warning.headers["webhook-id"] == f"{identity}_1_slow_early"
        assert document(outcome)["type"] == "operation.succeeded"
        assert [document(seen)["type"] for seen in stage.told("/webhook", "slow-shop")] == ["operation.succeeded"]
        (message,) = stage.told("/slack", "slow-shop")
        assert document(message)["text"].endswith("(usually 1\u00a0s)")
        assert stage.opwatch.show(identity)["usual_duration_s"]["samples"] == TAUGHT_BY
