"""Failing deliveries: the operator is alerted once, with the real processes."""

from pathlib import Path

from standardwebhooks import Webhook

from local.http import Answer
from tests.journeys.stage import document, preformatted, staged
from tests.support.receiver import Reply
from tests.support.running import WEBHOOK_SECRET, Opwatch, wait_until

WRONG_TOKEN = "tk-us-this-was-revoked"  # noqa: S105 - it opens nothing
CI_HOOK = """
    [targets.ci-hook]
    kind = "webhook"
    url = "${RECEIVER_URL}/ci-hook"
    secret = "${WEBHOOK_SECRET}"
    """
FAILING = "deliveries to `ci-hook` are failing: 410 Gone. Fix it, then: python -m admin retry-dead ci-hook"


def test_a_target_that_is_gone_is_told_to_slack_once_with_an_outcome_that_was_lost(tmp_path: Path) -> None:
    workers = ("worker", "worker-2")
    settings = {"OPWATCH_ALERT_TARGET": "slack"}
    with staged(tmp_path, settings=settings, targets=CI_HOOK, workers=workers) as stage:
        stage.receiver.script("/ci-hook", Reply(410, "gone"))
        operations = [
            stage.scalingo.operation(f"shop-{number}", outcome="error", error="it broke") for number in range(12)
        ]
        identities = [
            stage.opwatch.track(operation.url, notify=["ci-hook"], context={"actor": "jane"})
            for operation in operations
        ]
        for identity in identities:
            dead = stage.opwatch.wait_for_delivery(identity, "ci-hook", "dead")
            assert dead["last_error"] == "410 Gone"
        stage.receiver.wait_for(1, "/slack")
        # One more outcome, delivered to Slack later, shows that there was time for a second alert.
        last = stage.opwatch.track(stage.scalingo.operation("last-shop").url, notify=["slack", "ci-hook"])
        stage.opwatch.wait_for_delivery(last, "ci-hook", "dead")
        stage.opwatch.wait_for_delivery(last, "slack", "delivered")
        alert, outcome = stage.told("/slack", "shop")
        message = document(alert)
        assert message["blocks"][0]["text"]["text"] == f"⚠️ {FAILING}"
        assert message["text"].split("\n")[0] == f"⚠️ {FAILING}"
        assert preformatted(message) == "it broke"
        assert "by jane" in alert.body.decode()
        assert "last-shop: restart succeeded" in document(outcome)["text"]
        # The failing delivery is in the metrics and in the log, and can be retried.
        listed = stage.opwatch.get("/v1/operations?delivery=dead&limit=100").json()["operations"]
        assert {each["id"] for each in listed} == {last, *identities}
        assert all([d["target"] for d in each["deliveries"]] == ["ci-hook"] for each in listed if each["id"] != last)
        metrics = stage.opwatch.get("/metrics").text
        assert 'opwatch_deliveries_total{state="dead",target="ci-hook"} 13.0' in metrics
        assert 'opwatch_deliveries_retrying{target="ci-hook"} 0.0' in metrics
        lines = [line for worker in workers for line in stage.opwatch.events(worker, "delivery dead")]
        assert {(line["level"], line["target"], line["error"], line["attempt"]) for line in lines} == {
            ("warning", "ci-hook", "410 Gone", 1)
        }
        stage.receiver.script("/ci-hook", Reply())
        assert stage.opwatch.request("POST", f"/v1/operations/{last}/deliveries/ci-hook/retry").status == 202
        stage.opwatch.wait_for_delivery(last, "ci-hook", "delivered")
        assert len(stage.told("/slack", "shop")) == 2


def test_a_webhook_is_told_of_slack_with_a_signed_body(tmp_path: Path) -> None:
    with staged(tmp_path, settings={"OPWATCH_ALERT_TARGET": "webhook"}) as stage:
        stage.receiver.script("/slack", Reply(403, "no_service"))
        operation = stage.scalingo.operation("quiet-shop")
        identity = stage.opwatch.track(operation.url, notify=["slack"])
        (alert,) = stage.receiver.wait_for(1, "/webhook")
        headers = {name.lower(): value for name, value in alert.headers.items()}
        body = Webhook(WEBHOOK_SECRET).verify(alert.body, headers)
        assert body["type"] == "delivery.failing"
        assert body["data"]["message"].startswith(
            "deliveries to `slack` are failing: Slack answered 403: no_service. Fix"
        )
        assert body["data"]["delivery"] == f"{identity}_1_succeeded_slack"
        assert (body["data"]["id"], body["data"]["app"], body["data"]["state"]) == (identity, "quiet-shop", "dead")
        assert headers["webhook-id"].startswith(f"{identity}_1_failing_slack_")
        wait_until(lambda: stage.opwatch.events("worker", "alert delivered"), what="the alert's record")
        assert [d["target"] for d in stage.opwatch.show(identity)["deliveries"]] == ["slack"]


def test_a_rejected_token_is_told_once_and_nothing_is_lost(tmp_path: Path) -> None:
    workers = ("worker", "worker-2")
    settings = {"SCALINGO_API_TOKEN": WRONG_TOKEN, "OPWATCH_ALERT_TARGET": "slack"}
    with staged(tmp_path, settings=settings, workers=workers) as stage:
        identities = [stage.opwatch.track(stage.scalingo.operation(f"shop-{number}").url) for number in range(3)]
        wait_until(lambda: all(stage.opwatch.show(identity)["polls"] >= 2 for identity in identities))
        stage.receiver.wait_for(1, "/slack")
        wait_until(lambda: all(stage.opwatch.show(identity)["polls"] >= 4 for identity in identities))
        (alert,) = stage.receiver.requests
        said = document(alert)["text"]
        rejected = "rejects the API token of the account default"
        assert said.startswith(f"⚠️ Scalingo {rejected}")
        shown = [stage.opwatch.show(identity) for identity in identities]
        assert {(each["state"], len(each["deliveries"])) for each in shown} == {("tracking", 0)}
        assert all(rejected in each["last_error"] for each in shown)
        assert {seen.status for seen in stage.scalingo.requests} == {401}
        assert len([line for name in workers for line in stage.opwatch.events(name, "API token rejected")]) == 1
        unready = wait_until(lambda: refused(stage.opwatch), what="/readyz saying so")
        (problem,) = unready.json()["problems"]
        assert "account default" in problem
        printed = "".join(stage.opwatch.output(name) for name in ("web", *workers))
        assert WRONG_TOKEN not in alert.body.decode() + printed + unready.text


def refused(opwatch: Opwatch) -> Answer | None:
    """Return the answer of `/readyz` once it is not ready."""
    answer = opwatch.get("/readyz", token=None)
    return answer if answer.status == 503 else None
