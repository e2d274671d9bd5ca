"""A live message survives the worker that posted it, with the real processes."""

import json
from pathlib import Path

from tests.journeys.stage import document, staged
from tests.support.receiver import Reply
from tests.support.running import wait_until

POST, UPDATE = "/api/chat.postMessage", "/api/chat.update"
TARGETS = """
    [targets.deploys]
    kind = "slack"
    bot_token = "xoxb-for-journeys-only"
    channel = "C1"
    api_url = "${RECEIVER_URL}/api"
    mention = "<!here>"
    live = true
    """


def test_a_worker_killed_between_post_and_outcome_leaves_its_message_to_another(tmp_path: Path) -> None:
    with staged(tmp_path, targets=TARGETS, workers=("worker", "worker-2")) as stage:
        taken = Reply(
            body=json.dumps({"ok": True, "channel": "C1", "ts": "1.000100"}),
            headers={"Content-Type": "application/json"},
        )
        stage.receiver.script(POST, taken)
        stage.receiver.script(UPDATE, taken)
        operation = stage.scalingo.operation("live-shop", duration_s=None)
        identity = stage.opwatch.track(operation.url)
        workers = ("worker", "worker-2")
        (writer,) = wait_until(
            lambda: [name for name in workers if stage.opwatch.events(name, "live message written")], what="the post"
        )
        stage.opwatch.kill(writer)
        stage.scalingo.finish(operation.id, outcome="error", error="it broke\nlike this")
        for target in ("deploys", "slack", "webhook"):
            stage.opwatch.wait_for_delivery(identity, target, "delivered")
        (first, *replies), edits = stage.told(POST, "live-shop"), stage.told(UPDATE, "live-shop")
        assert document(first)["text"].startswith("🔄 live-shop: restart running for ")
        assert {document(edit)["ts"] for edit in edits} == {"1.000100"}
        assert document(edits[-1])["text"].startswith("❌ live-shop: restart failed after ")
        (reply,) = map(document, replies)
        assert (reply["thread_ts"], reply["text"].partition(" ")[0]) == ("1.000100", "<!here>")
