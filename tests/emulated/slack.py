"""The whole life of live messages with a stateful third-party Slack, npm's `emulate`.

The real processes talk to it; `make slack` runs it all, and needs Node. https://github.com/vercel-labs/emulate
"""

import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.stage import Stage, staged
from tests.support.running import ROOT, wait_until

EMULATE = ROOT / "var/emulate/node_modules/emulate/dist/index.js"
TOKEN = "xoxb-for-journeys-only"  # noqa: S105 - it opens nothing
SEED = {
    "tokens": {TOKEN: {"login": "opwatch", "scopes": ["chat:write"]}},
    "slack": {"users": [{"name": "opwatch"}], "channels": [{"name": "deploys"}]},
}


class Slack:
    """The emulated Slack."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call a method of the Web API, which must succeed."""
        request = urllib.request.Request(  # noqa: S310 - of our own making
            f"{self.url}/api/{method}",
            json.dumps(arguments).encode(),
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
        assert answer["ok"], answer
        return answer

    @property
    def channel(self) -> str:
        """The id of the target's channel."""
        (found,) = (each["id"] for each in self.call("conversations.list")["channels"] if each["name"] == "deploys")
        return str(found)

    def about(self, app: str) -> list[dict[str, Any]]:
        """List the channel's messages about an app, the oldest first."""
        messages = self.call("conversations.history", channel=self.channel)["messages"]
        return [
            each
            for each in reversed(messages)
            if app in each["text"] and each.get("thread_ts", each["ts"]) == each["ts"]
        ]

    def replies(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """List the replies to a message."""
        found = self.call("conversations.replies", channel=self.channel, ts=message["ts"])["messages"]
        return [each for each in found if each["ts"] != message["ts"]]


@contextmanager
def emulated(directory: Path) -> Iterator[Slack]:
    """Run the emulated Slack on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    seed = directory / "seed.json"
    seed.write_text(json.dumps(SEED), encoding="utf-8")
    command = ["node", str(EMULATE), "start", "--service", "slack", "--port", str(port), "--seed", str(seed)]
    slack = Slack(f"http://127.0.0.1:{port}")

    def responds() -> bool:
        try:
            return bool(slack.call("auth.test"))
        except (urllib.error.URLError, ConnectionError):
            return False

    with subprocess.Popen(command, cwd=directory) as process:
        try:
            wait_until(responds, what="the emulated Slack")
            yield slack
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Slack]]:
    """Run the service with two workers beside the emulated Slack."""
    directory = tmp_path_factory.mktemp("emulated")
    with emulated(directory) as slack:
        settings = {
            "SLACK_WEBHOOK_URL": "",
            "SLACK_BOT_TOKEN": TOKEN,
            "SLACK_CHANNEL": "deploys",
            "SLACK_API_URL": f"{slack.url}/api",
            "SLACK_LIVE": "true",
        }
        with staged(directory, settings=settings, workers=("worker", "worker-2")) as stage:
            yield stage, slack


def shown(slack: Slack, app: str, what: str) -> dict[str, Any]:
    """Return the one message about an app once it says so."""

    def there() -> dict[str, Any] | None:
        messages = slack.about(app)
        return messages[0] if len(messages) == 1 and what in messages[0]["text"] else None

    found = wait_until(there, what=f"one message about {app} that says {what!r}")
    assert found is not None
    return found


def test_a_success_is_one_message_from_pending_to_the_end(stages: tuple[Stage, Slack]) -> None:
    stage, slack = stages
    operation = stage.scalingo.operation("quiet-shop", duration_s=None, pending_s=3)
    stage.opwatch.track(operation.url, context={"actor": "jane"})
    first = shown(slack, "quiet-shop", "restart pending for ")
    running = shown(slack, "quiet-shop", "restart running for ")
    stage.scalingo.finish(operation.id)
    last = shown(slack, "quiet-shop", "✅ quiet-shop: restart succeeded after ")
    assert first["ts"] == running["ts"] == last["ts"]
    assert [block["type"] for block in last["blocks"]] == ["section", "context"]
    assert slack.replies(last) == []


def test_a_failure_is_finished_by_another_worker_in_place_with_a_reply(stages: tuple[Stage, Slack]) -> None:
    stage, slack = stages
    operation = stage.scalingo.operation("broken-shop", duration_s=None)
    identity = stage.opwatch.track(operation.url)
    first = shown(slack, "broken-shop", "restart running for ")
    (writer,) = (
        name
        for name in ("worker", "worker-2")
        if any(e["tracking"] == identity for e in stage.opwatch.events(name, "live message written"))
    )
    stage.opwatch.kill(writer)
    stage.scalingo.finish(operation.id, outcome="error", error="it broke\nlike this")
    last = shown(slack, "broken-shop", "❌ broken-shop: restart failed after ")
    assert last["ts"] == first["ts"]
    stage.opwatch.wait_for_delivery(identity, "slack", "delivered")
    (reply,) = slack.replies(last)
    assert "like this" in json.dumps(reply["blocks"])
    stage.opwatch.start(writer)


def test_a_message_that_somebody_deleted_comes_back_with_the_outcome(stages: tuple[Stage, Slack]) -> None:
    stage, slack = stages
    operation = stage.scalingo.operation("tidy-shop", duration_s=None)
    stage.opwatch.track(operation.url)
    first = shown(slack, "tidy-shop", "restart running for ")
    slack.call("chat.delete", channel=slack.channel, ts=first["ts"])
    stage.scalingo.finish(operation.id)
    last = shown(slack, "tidy-shop", "✅ tidy-shop")
    assert last["ts"] != first["ts"]


def test_an_operation_no_longer_watched_says_so(stages: tuple[Stage, Slack]) -> None:
    stage, slack = stages
    identity = stage.opwatch.track(stage.scalingo.operation("left-shop", duration_s=None).url)
    first = shown(slack, "left-shop", "restart running for ")
    assert stage.opwatch.request("DELETE", f"/v1/operations/{identity}").status == 200
    assert shown(slack, "left-shop", "restart cancelled after ")["ts"] == first["ts"]


def test_the_operations_of_a_deploy_are_one_message_with_one_verdict(stages: tuple[Stage, Slack]) -> None:
    stage, slack = stages
    operations = [stage.scalingo.operation(f"deployed-{number}", duration_s=None) for number in range(3)]
    for operation in operations:
        stage.opwatch.track(operation.url, group="build 1742", group_size=3)
    first = shown(slack, "build 1742", "0 of 3 ended after ")
    stage.scalingo.finish(operations[0].id)
    assert shown(slack, "build 1742", "1 of 3 ended after ")["ts"] == first["ts"]
    stage.scalingo.finish(operations[1].id, outcome="error", error="it broke\nlike this")
    stage.scalingo.finish(operations[2].id)
    last = shown(slack, "build 1742", "❌ build 1742: failed after ")
    assert last["ts"] == first["ts"]
    assert "1 failed, 2 succeeded" in last["text"]
    (reply,) = wait_until(lambda: slack.replies(last), what="the reply")
    assert "like this" in json.dumps(reply["blocks"])
