"""One Slack message for each operation, kept up to date, over a real server: what is posted, edited and replied."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings, load
from operations.model import DeliveryState
from operations.posted import Live, Posted
from operations.store import Store
from tests.integration.bench import found, tracked
from tests.support.receiver import Receiver, Reply
from tests.support.running import wait_until
from tests.support.scalingo_api import ScalingoApi
from workers import runtime as workers_runtime
from workers.deliver import delivery_round
from workers.poll import poll_round
from workers.runtime import Runtime

POST, UPDATE = "/api/chat.postMessage", "/api/chat.update"
TARGETS = """
    [targets.deploys]
    kind = "slack"
    bot_token = "xoxb-not-a-token"
    channel = "#deploys"
    api_url = "${RECEIVER_URL}/api"
    mention = "<!here>"
    live = true
    """


def said(answer: dict[str, Any], status: int = 200) -> Reply:
    """Answer JSON."""
    return Reply(status, body=json.dumps(answer).encode(), headers={"Content-Type": "application/json"})


def posted(ts: str = "1.000100") -> Reply:
    """Answer as Slack does to what it has taken."""
    return said({"ok": True, "channel": "C1", "ts": ts})


def refused(code: str) -> Reply:
    """Answer as Slack does to what it refuses."""
    return said({"ok": False, "error": code})


@pytest.fixture
def channel(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path, receiver: Receiver
) -> Iterator[Runtime]:
    """Run a worker's parts with one target, live."""
    assert settings.targets
    file = tmp_path / "live.toml"
    file.write_text(TARGETS, encoding="utf-8")
    monkeypatch.setenv("OPWATCH_TARGETS_FILE", str(file))
    receiver.script(POST, posted())
    receiver.script(UPDATE, posted())
    running = workers_runtime.start(load(os.environ))
    yield running
    running.finish(5.0)
    running.close()


def look(store: Store, identity: str) -> None:
    """Make the tracking due and look."""
    before = found(store, identity)
    store.update(before, lambda tracking: replace(tracking, next_look_at=store.now()))

    def looked() -> bool:
        poll_round()
        return found(store, identity).tracking.polls > before.tracking.polls

    wait_until(looked, what="the look")


def message(store: Store, identity: str) -> Live:
    """Return the one live message."""
    (only,) = found(store, identity).tracking.live
    return only


def write(store: Store, identity: str) -> Live:
    """Make the message due and hold rounds until it was written, or failed to be."""
    before = message(store, identity)
    store.update(
        found(store, identity),
        lambda t: replace(t, live=tuple(replace(m, due_at=store.now()) for m in t.live)),
    )

    def written() -> Live | None:
        delivery_round()
        after = message(store, identity)
        done = after.claim is None and (after.shown_at, after.failures) != (before.shown_at, before.failures)
        return after if done else None

    after = wait_until(written, what="the message")
    assert after is not None
    return after


def tell_all(store: Store) -> None:
    """Hold rounds until nothing is to be sent."""

    def all_told() -> bool:
        delivery_round()
        return store.outbox_size() == 0

    wait_until(all_told, what="an empty outbox")


def calls(receiver: Receiver) -> list[tuple[str, dict[str, Any]]]:
    """List what Slack was asked for."""
    return [
        (seen.path.rpartition(".")[2], json.loads(seen.body))
        for seen in receiver.requests
        if seen.path.startswith("/api/")
    ]


@pytest.fixture
def shown(channel: Runtime, store: Store, scalingo: ScalingoApi) -> str:
    """Give the tracking of an operation that runs, whose message was posted."""
    assert channel.targets["deploys"].rule.live
    identity = tracked(store, scalingo.operation(duration_s=None).id, everyone=False, named=("deploys",))
    look(store, identity)
    assert write(store, identity).posted == Posted(channel="C1", ts="1.000100")
    return identity


def operation_of(identity: str) -> str:
    return identity.rpartition("-")[2]


def test_an_operation_is_shown_from_the_first_look_and_finished_in_place(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, shown: str
) -> None:
    write(store, shown)
    scalingo.finish(operation_of(shown))
    look(store, shown)
    tell_all(store)
    (post, first), (edit, again), (finish, last) = calls(receiver)
    assert (post, edit, finish) == ("postMessage", "update", "update")
    assert (first["channel"], again["channel"], last["channel"]) == ("#deploys", "C1", "C1")
    assert again["ts"] == last["ts"] == "1.000100"
    assert first["text"].startswith("🔄 shop: restart running for ")
    assert last["text"].startswith("✅ shop: restart succeeded after ")
    assert store.due_in_s()[1] == float("inf")
    assert {d.state for d in found(store, shown).tracking.deliveries} == {DeliveryState.DELIVERED}


def test_a_failure_is_finished_in_place_and_told_in_a_reply_with_the_mention(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, shown: str
) -> None:
    scalingo.finish(operation_of(shown), outcome="error", error="it broke\nand this is how")
    look(store, shown)
    tell_all(store)
    _, (edit, last), (post, reply) = calls(receiver)
    assert (edit, post) == ("update", "postMessage")
    assert "it broke" in last["text"]
    assert "<!here>" not in json.dumps(last)
    assert reply["thread_ts"] == last["ts"] == "1.000100"
    assert reply["text"].startswith("<!here> ❌ shop: restart failed")
    assert "and this is how" in json.dumps(reply["blocks"])
