"""A deploy of several operations: one message with one verdict, and one request that waits, with real processes."""

import json
from pathlib import Path

from tests.integration.test_live import POST, UPDATE, posted
from tests.journeys.stage import staged
from tests.support.running import wait_until

LIVE = """
    [targets.deploys]
    kind = "slack"
    bot_token = "xoxb-not-a-token"
    channel = "#deploys"
    api_url = "${RECEIVER_URL}/api"
    mention = "<!here>"
    live = true
    """
MEMBERS = 6


def test_two_workers_keep_one_message_for_the_operations_of_a_deploy(tmp_path: Path) -> None:
    with staged(tmp_path, targets=LIVE, workers=("worker", "worker-2")) as stage:
        stage.receiver.script(POST, *(posted(f"{number}.000100") for number in range(1, 40)))
        stage.receiver.script(UPDATE, posted())
        identities = [
            stage.opwatch.track(
                stage.scalingo.operation(
                    f"app-{number}", duration_s=1 + number % 2, outcome="error" if number == 3 else "done", error="why"
                ).url,
                group="build/7",
                group_size=MEMBERS,
                notify=["deploys"],
            )
            for number in range(MEMBERS)
        ]

        def final() -> bool:
            answer = stage.opwatch.get("/v1/groups/build%2F7", headers={"Prefer": "wait=5"}).json()
            return (answer["state"], answer["counts"]["succeeded"]) == ("failed", MEMBERS - 1)

        wait_until(final, what="the group's verdict")
        for identity in identities:
            stage.opwatch.wait_for_delivery(identity, "deploys", "delivered")
        sent = [(seen.path, json.loads(seen.body)) for seen in stage.receiver.requests if seen.path in (POST, UPDATE)]
        posts = [body for path, body in sent if path == POST]
        first, reply = posts  # one message, and one reply to it
        assert ("thread_ts" in first, reply["thread_ts"]) == (False, "1.000100")
        assert reply["text"].startswith("<!here> ❌ app-3: ")
        *_, last = (body for path, body in sent if path == UPDATE)
        assert last["ts"] == "1.000100"
        assert last["text"].startswith("❌ build/7: failed after ")
        assert last["text"].endswith(f"(1 failed, {MEMBERS - 1} succeeded)")
