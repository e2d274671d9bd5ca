"""A deploy of several operations: one closing message, with real processes that are killed."""

import json
from functools import partial
from pathlib import Path

from tests.integration.test_live import POST, UPDATE, posted
from tests.journeys.stage import Stage, document, staged
from tests.journeys.test_recovery import watched
from tests.support.receiver import Reply
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
CLOSING = """
    [targets.chat]
    kind = "mattermost"
    webhook_url = "${RECEIVER_URL}/chat"
    mention = "@here"

    [targets.hook]
    kind = "webhook"
    url = "${RECEIVER_URL}/hook"
    secret = "${WEBHOOK_SECRET}"
    groups = "closing"
    on = ["succeeded"]
    """
MEMBERS = 6
GROUP = "build/7"


def deploy(stage: Stage, *, members: int = MEMBERS) -> list[str]:
    """Track operations that end within two seconds; one of them fails."""
    return [
        stage.opwatch.track(
            stage.scalingo.operation(
                f"app-{number}", duration_s=1 + number % 2, outcome="error" if number == 3 else "done", error="why"
            ).url,
            group=GROUP,
            group_size=members,
        )
        for number in range(members)
    ]


def test_two_workers_keep_one_message_for_the_operations_of_a_deploy(tmp_path: Path) -> None:
    with staged(tmp_path, targets=LIVE, workers=("worker", "worker-2")) as stage:
        stage.receiver.script(POST, *(posted(f"{number}.000100") for number in range(1, 40)))
        stage.receiver.script(UPDATE, posted())
        identities = deploy(stage)

        def final() -> bool:
            answer = stage.opwatch.get("/v1/groups/build%2F7", headers={"Prefer": "wait=5"}).json()
            return (answer["state"], answer["counts"]["succeeded"]) == ("failed", MEMBERS - 1)

        def sent(path: str) -> list[dict[str, str]]:
            return [json.loads(seen.body) for seen in stage.receiver.requests if seen.path == path]

        wait_until(final, what="the group's verdict")
        stage.opwatch.wait_for_delivery(identities[3], "deploys", "delivered")
        closing = "❌ build/7: failed after "
        wait_until(lambda: any(each["text"].startswith(closing) for each in sent(UPDATE)), what="the closing message")
        for number, identity in enumerate(identities):
            (delivery,) = (each for each in stage.opwatch.show(identity)["deliveries"] if each["target"] == "deploys")
            told = ("delivered", None) if number == 3 else ("skipped", "told with its group")
            assert (delivery["state"], delivery["last_error"]) == told
        first, reply = sent(POST)  # one message, and one reply to it
        assert ("thread_ts" in first, reply["thread_ts"]) == (False, "1.000100")
        assert reply["text"].startswith("<!here> ❌ app-3: ")
        last = sent(UPDATE)[-1]
        assert last["ts"] == "1.000100"
        assert last["text"].startswith(closing)
        assert last["text"].endswith(f"(1 failed, {MEMBERS - 1} succeeded)")


def test_the_closing_message_comes_whenever_a_worker_is_killed(tmp_path: Path) -> None:
    """One is killed as it records a member's end, one as it closes the group, one as it sends the closing message."""
    moments = {
        "at-end": lambda chunk: b"EVALSHA" in chunk and b'"state":"failed"' in chunk,
        "at-closing": lambda chunk: b"EVALSHA" in chunk and b"_1_failed_chat" in chunk,
    }
    with watched(tmp_path, *moments, "at-sending", "survivor", targets=CLOSING) as stage:
        stage.receiver.script("/chat", Reply(200, "ok"))
        deploy(stage)
        for name, moment in moments.items():
            stage.proxies[name].watch(moment, partial(stage.opwatch.kill, name))
            stage.opwatch.start(name)
            wait_until(partial(_is_dead, stage, name), what=f"the death of {name}")
        stage.receiver.script("/hook", Reply(hang_s=60), Reply())
        stage.opwatch.start("at-sending")
        closings = partial(stage.told, "/hook", '"group.failed"')
        wait_until(closings, what="the first attempt")
        stage.opwatch.kill("at-sending")
        stage.opwatch.start("survivor")
        wait_until(lambda: len(closings()) == 2, what="the second attempt")
        first, second = closings()
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body
        assert document(first)["data"]["counts"]["succeeded"] == MEMBERS - 1

        def told() -> set[str]:
            return {document(each)["text"].partition(": ")[0] for each in stage.told("/chat", "app-3")}

        wait_until(lambda: len(told()) == 2, what="the failure and the closing message")  # either may come twice
        assert told() == {"@here ❌ **app-3**", "❌ **`build/7`**"}


def _is_dead(stage: Stage, name: str) -> bool:
    return not stage.opwatch.running(name)
