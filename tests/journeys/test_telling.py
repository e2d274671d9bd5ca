"""From the POST to the message, with the real processes."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.journeys.stage import Stage, document, preformatted, staged
from tests.support.receiver import Reply
from tests.support.running import PATIENCE_S, WEBHOOK_SECRET, wait_until

BOT_TOKEN = "xoxb-journeys-only"  # noqa: S105 - it opens nothing
EMOJI = "🔥"


def targets(stage_url: str) -> str:
    """Return targets that are only told when they are named; each has its own path at the receiver."""
    webhooks = "".join(
        f"""
        [targets.{name}]
        kind = "webhook"
        url = "{stage_url}/{name}"
        secret = "{WEBHOOK_SECRET}"
        apps = ["never"]
        """
        for name in ("stumbling", "closing", "busy")
    )
    return f"""
        {webhooks}
        [targets.bot]
        kind = "slack"
        bot_token = "{BOT_TOKEN}"
        channel = "C1"
        api_url = "{stage_url}/api"
        apps = ["never"]
        [targets.slack-stumbling]
        kind = "slack"
        webhook_url = "{stage_url}/slack-stumbling"
        apps = ["never"]
        """


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run one service for all tests here; each uses an app name of its own."""
    with staged(tmp_path_factory.mktemp("telling"), targets=targets("${RECEIVER_URL}")) as running:
        yield running


def test_a_success_is_told_to_slack_and_to_the_webhook(stage: Stage) -> None:
    operation = stage.scalingo.operation("told-shop", type="scale")
    identity = stage.opwatch.track(operation.url, context={"actor": "jane", "environment": "production"})
    shown = stage.opwatch.wait_for_state(identity, "succeeded")
    assert shown["operation"]["type"] == "scale"
    assert shown["created_by"] == "ci"
    stage.opwatch.wait_for_delivery(identity, "slack", "delivered")
    stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
    (message,) = stage.told("/slack", "told-shop")
    assert "told-shop (production): scale succeeded" in document(message)["text"]
    assert "by jane" in message.body.decode()
    (hook,) = stage.told("/webhook", identity)
    body = document(hook)
    assert body["type"] == "operation.succeeded"
    assert body["data"]["context"] == {"actor": "jane", "environment": "production"}
    assert body["data"]["state"] == "succeeded"
    assert "deliveries" not in body["data"]


def test_a_webhook_is_signed_as_standard_webhooks_asks(stage: Stage) -> None:
    operation = stage.scalingo.operation("signed-shop")
    identity = stage.opwatch.track(operation.url, notify=["webhook"])
    stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
    (hook,) = stage.told("/webhook", identity)
    headers = {name.lower(): value for name, value in hook.headers.items()}
    assert Webhook(WEBHOOK_SECRET).verify(hook.body, headers) == document(hook)
    with pytest.raises(WebhookVerificationError):
        Webhook(WEBHOOK_SECRET).verify(hook.body + b" ", headers)
    assert headers["webhook-id"] == f"{identity}_1_succeeded_webhook"
    assert headers["content-type"] == "application/json"


def test_a_failure_is_told_with_its_error_text(stage: Stage) -> None:
    error = "web-1: crashed\n  File <app.rb> & co\nexit status 137"
    operation = stage.scalingo.operation("failed-shop", outcome="error", error=error)
    identity = stage.opwatch.track(operation.url)
    shown = stage.opwatch.wait_for_state(identity, "failed")
    assert shown["operation"]["error"] == error
    stage.opwatch.wait_for_delivery(identity, "slack", "delivered")
    message = document(stage.told("/slack", "failed-shop")[0])
    assert preformatted(message) == error
    assert "failed-shop: restart failed" in message["text"]
    assert message["text"].endswith("web-1: crashed")
    stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
    assert document(stage.told("/webhook", identity)[0])["data"]["operation"]["error"] == error


def test_a_bot_posts_to_its_channel(stage: Stage) -> None:
    answer = Reply(200, '{"ok":true,"channel":"C1","ts":"1.2"}', {"Content-Type": "application/json"})
    stage.receiver.script("/api/chat.postMessage", answer)
    operation = stage.scalingo.operation("bot-shop", outcome="error", error="no memory left")
    identity = stage.opwatch.track(operation.url, notify=["bot"])
    stage.opwatch.wait_for_delivery(identity, "bot", "delivered")
    (posted,) = stage.told("/api/chat.postMessage", "bot-shop")
    assert posted.headers["Authorization"] == f"Bearer {BOT_TOKEN}"
    message = document(posted)
    assert message["channel"] == "C1"
    assert preformatted(message) == "no memory left"


def test_a_wild_error_text_arrives_within_every_limit(stage: Stage) -> None:
    line = f"\x1b[31m<!channel> {EMOJI} & \x1b]0;title\x07<@U1>\x1b[0m \x00\u202e"
    error = "FIRST " + (line * (100_000 // len(line.encode()) + 1)) + " LAST"
    assert len(error.encode()) > 100_000
    operation = stage.scalingo.operation("wild-shop", outcome="error", error=error)
    identity = stage.opwatch.track(operation.url)
    stage.opwatch.wait_for_delivery(identity, "slack", "delivered")
    stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
    message = document(stage.told("/slack", "wild-shop")[0])
    text = preformatted(message)
    assert text.startswith("FIRST")
    assert text.endswith("LAST")
    assert len(text) < 2_500
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", text + message["text"])
    assert "<!channel>" not in message["text"]
    assert len(message["text"]) < 4_000
    sections = [block["text"]["text"] for block in message["blocks"] if block["type"] == "section"]
    assert not any("<!channel>" in section or len(section) > 3_000 for section in sections)
    (hook,) = stage.told("/webhook", identity)
    assert len(hook.body) < 20_000
    data = document(hook)["data"]
    assert data["error_truncated"] is True
    assert data["operation"]["error"].startswith("FIRST")
    assert data["operation"]["error"].endswith("LAST")


def test_twenty_callers_at_once_make_one_tracking(stage: Stage) -> None:
    operation = stage.scalingo.operation("crowd-shop", duration_s=None)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: stage.opwatch.post({"operation_url": operation.url}), range(20)))
    assert sorted(answer.status for answer in answers) == [200] * 19 + [202]
    (identity,) = {answer.json()["id"] for answer in answers}
    stage.scalingo.finish(operation.id)
    stage.opwatch.wait_for_delivery(identity, "slack", "delivered")
    stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
    assert len(stage.told("/slack", "crowd-shop")) == 1
    assert len(stage.told("/webhook", identity)) == 1


def test_waiting_for_the_end_answers_as_soon_as_it_has_come(stage: Stage) -> None:
    operation = stage.scalingo.operation("awaited-shop", duration_s=None)
    identity = stage.opwatch.track(operation.url, notify=[])
    stage.scalingo.wait_for(1, operation_id=operation.id)
    prefer = {"Prefer": "respond-async, wait=25"}
    with ThreadPoolExecutor(1) as pool:
        began_s = time.monotonic()
        waiting = pool.submit(stage.opwatch.get, f"/v1/operations/{identity}", headers=prefer)
        stage.scalingo.finish(operation.id)
        answer = waiting.result(PATIENCE_S)
    assert answer.json()["state"] == "succeeded"
    assert answer.headers["Preference-Applied"] == "wait=25"
    assert time.monotonic() - began_s < 25


@pytest.fixture(scope="module")
def stumbled(stage: Stage) -> str:
    """Track an operation that all four are told of."""
    error, ok = Reply(500, "try later"), Reply()
    stage.receiver.script("/stumbling", error, Reply(reset="after_read"), ok)
    stage.receiver.script("/slack-stumbling", Reply(503, "service_unavailable"), ok)
    stage.receiver.script("/busy", Reply(429, "later", {"Retry-After": "8"}), ok)
    stage.receiver.script("/closing", Reply(410, "gone"), ok)
    operation = stage.scalingo.operation("stumble-shop", outcome="error", error="it broke")
    return stage.opwatch.track(operation.url, notify=["stumbling", "slack-stumbling", "busy", "closing"])


class TestStumblingReceivers:
    """Four receivers are told at the same time, and each fails in its own way, so that the test waits only once."""

    def test_gone_is_dead_at_once_and_shown(self, stage: Stage, stumbled: str) -> None:
        dead = stage.opwatch.wait_for_delivery(stumbled, "closing", "dead")
        assert dead["last_error"] == "410 Gone"
        assert dead["attempts"] == 1
        assert dead["next_attempt_at"] is None
        assert len(stage.told("/closing", stumbled)) == 1

    def test_a_dead_delivery_can_be_retried_by_hand(self, stage: Stage, stumbled: str) -> None:
        stage.opwatch.wait_for_delivery(stumbled, "closing", "dead")
        answer = stage.opwatch.request("POST", f"/v1/operations/{stumbled}/deliveries/closing/retry")
        assert answer.status == 202
        stage.opwatch.wait_for_delivery(stumbled, "closing", "delivered")
        first, second = stage.told("/closing", stumbled)
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body
        again = stage.opwatch.request("POST", f"/v1/operations/{stumbled}/deliveries/closing/retry")
        assert again.status == 409

    def test_slack_is_asked_again_after_five_seconds(self, stage: Stage, stumbled: str) -> None:
        delivery = stage.opwatch.wait_for_delivery(stumbled, "slack-stumbling", "delivered")
        assert delivery["attempts"] == 2
        assert delivery["last_error"] is None
        first, second = stage.told("/slack-stumbling", "stumble-shop")
        assert second.received_at - first.received_at > 4.4  # 5 s, give or take a tenth

    def test_a_webhook_keeps_its_id_over_all_attempts(self, stage: Stage, stumbled: str) -> None:
        wait_until(lambda: len(stage.told("/stumbling", stumbled)) >= 2, what="the second attempt")
        # The third attempt is due in five minutes; a retry by hand makes it now.
        stage.opwatch.wait_for_delivery(stumbled, "stumbling", "retrying")
        wait_until(lambda: "500" not in str(stage.opwatch.show(stumbled)["deliveries"][0]["last_error"]))
        waiting = stage.opwatch.wait_for_delivery(stumbled, "stumbling", "retrying")
        assert waiting["attempts"] == 2
        assert stage.opwatch.request("POST", f"/v1/operations/{stumbled}/deliveries/stumbling/retry").status == 202
        delivered = stage.opwatch.wait_for_delivery(stumbled, "stumbling", "delivered")
        assert delivered["attempts"] == 3
        attempts = stage.told("/stumbling", stumbled)
        assert {seen.headers["webhook-id"] for seen in attempts} == {f"{stumbled}_1_failed_stumbling"}
        assert len({seen.body for seen in attempts}) == 1
        for seen in attempts:  # each attempt has its own time and signature
            headers = {name.lower(): value for name, value in seen.headers.items()}
            assert Webhook(WEBHOOK_SECRET).verify(seen.body, headers)
        first, second, third = (int(seen.headers["webhook-timestamp"]) for seen in attempts)
        assert first < second <= third

    def test_a_receiver_that_asks_for_a_pause_gets_it(self, stage: Stage, stumbled: str) -> None:
        stage.opwatch.wait_for_delivery(stumbled, "busy", "delivered")
        first, second = stage.told("/busy", stumbled)
        assert second.received_at - first.received_at >= 8
