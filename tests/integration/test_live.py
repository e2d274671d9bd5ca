"""Live messages in Slack, with a real server: posts, edits and replies."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis

from operations.model import DeliveryState, LiveMessage, MessageRef, Usual
from operations.storage.index import LIVE
from operations.storage.store import Store
from operations.telling import attempts, live
from operations.watching import looks, slow
from standin.api import ScalingoApi
from tests.integration.bench import Caller, found, maintain, tracked
from tests.integration.rounds import hold, look, tell_all
from tests.support.receiver import Receiver, Reply
from tests.support.running import wait_until
from tests.unit.strategies import NOW
from workers.deliver import delivery_round
from workers.live import edit_round
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
    """Answer as Slack does to an accepted request."""
    return said({"ok": True, "channel": "C1", "ts": ts})


def refused(code: str) -> Reply:
    """Answer as Slack does to a refused request."""
    return said({"ok": False, "error": code})


@pytest.fixture
def channel(start_worker: Callable[..., Runtime], receiver: Receiver) -> Runtime:
    """Start a worker's parts with one target, live."""
    receiver.script(POST, posted())
    receiver.script(UPDATE, posted())
    return start_worker(TARGETS)


def message(store: Store, identity: str) -> LiveMessage:
    """Return the one live message."""
    (only,) = found(store, identity).tracking.live
    return only


def write(store: Store, identity: str) -> LiveMessage:
    """Make the message due, and run rounds until the edit has succeeded or failed."""
    before = message(store, identity)
    store.update(
        found(store, identity),
        lambda t: replace(t, live=tuple(replace(m, due_at=store.records.now()) for m in t.live)),
    )

    def written() -> LiveMessage | None:
        after = message(store, identity)
        done = after.claim is None and (after.shown_at, after.failures) != (before.shown_at, before.failures)
        return after if done else None

    after = hold(delivery_round, written, "the message")
    assert after is not None
    return after


def calls(receiver: Receiver) -> list[tuple[str, dict[str, Any]]]:
    """List the calls to Slack."""
    return [
        (seen.path.rpartition(".")[2], json.loads(seen.body))
        for seen in receiver.requests
        if seen.path.startswith("/api/")
    ]


@pytest.fixture
def shown(channel: Runtime, store: Store, scalingo: ScalingoApi) -> str:
    """Return the tracking of an operation that runs, whose message was posted."""
    assert channel.targets["deploys"].rule.live
    identity = tracked(store, scalingo.operation(duration_s=None).id, notify_all=False, notify=("deploys",))
    look(store, identity)
    assert write(store, identity).posted == MessageRef(channel="C1", ts="1.000100")
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
    assert store.overview.due_in_s()[1] == float("inf")
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


def test_a_success_that_mentions_somebody_is_told_in_a_reply_too(
    start_worker: Callable[..., Runtime], store: Store, scalingo: ScalingoApi, receiver: Receiver, shown: str
) -> None:
    start_worker(f'{TARGETS}mention_on = ["succeeded"]')  # an edit notifies nobody
    scalingo.finish(operation_of(shown))
    look(store, shown)
    tell_all(store)
    _, (edit, last), (post, reply) = calls(receiver)
    assert (edit, post, "<!here>" in json.dumps(last)) == ("update", "postMessage", False)
    assert reply["text"].startswith("<!here> ✅ shop: restart succeeded")


@pytest.mark.usefixtures("channel")
def test_what_has_ended_at_first_sight_is_posted_as_it_always_was(
    store: Store, scalingo: ScalingoApi, receiver: Receiver
) -> None:
    identity = tracked(store, scalingo.operation(outcome="error").id, notify_all=False, notify=("deploys",))
    look(store, identity)
    tell_all(store)
    ((post, only),) = calls(receiver)
    assert (post, only["channel"], "thread_ts" in only) == ("postMessage", "#deploys", False)
    assert only["text"].startswith("<!here> ❌")


def test_a_message_that_cannot_be_edited_any_more_is_posted_anew(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, shown: str
) -> None:
    receiver.script(UPDATE, refused("message_not_found"))
    receiver.script(POST, posted("2.000200"))
    assert write(store, shown).posted == MessageRef(channel="C1", ts="2.000200")
    scalingo.finish(operation_of(shown), outcome="error")
    look(store, shown)
    tell_all(store)
    asked = calls(receiver)
    assert [method for method, _ in asked] == ["postMessage", "update", "postMessage", "update", "postMessage"]
    assert asked[3][1]["ts"] == "2.000200"
    assert asked[4][1]["text"].startswith("<!here> ❌")
    assert "thread_ts" not in asked[4][1]


def test_a_reply_that_is_refused_is_posted_into_the_channel(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, shown: str
) -> None:
    receiver.script(POST, refused("cannot_reply_to_message"), posted())
    scalingo.finish(operation_of(shown), outcome="error")
    look(store, shown)
    tell_all(store)
    *_, (_, reply), (_, anew) = calls(receiver)
    assert ("thread_ts" in reply, "thread_ts" in anew) == (True, False)


@pytest.mark.parametrize("failing", [Reply(500), Reply(429, headers={"Retry-After": "1"})])
def test_an_outcome_whose_reply_fails_is_told_at_the_same_message_again(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, shown: str, failing: Reply
) -> None:
    receiver.script(POST, failing, posted())
    scalingo.finish(operation_of(shown), outcome="error")
    look(store, shown)
    hold(delivery_round, lambda: found(store, shown).tracking.deliveries[0].history, "the failure")
    store.update(found(store, shown), lambda t: attempts.retried(t, "deploys", store.records.now()))
    tell_all(store)
    asked = [(method, said.get("ts") or said.get("thread_ts")) for method, said in calls(receiver)[1:]]
    update, reply = ("update", "1.000100"), ("postMessage", "1.000100")
    assert asked == [update, reply, update, reply]


@pytest.mark.parametrize(
    "failing",
    [
        Reply(500),
        Reply(429, headers={"Retry-After": "86400"}),
        Reply(302, headers={"Location": "/elsewhere"}),
        Reply(200, body=b"<html>"),
        Reply(hang_s=60),
        refused("internal_error"),
    ],
)
def test_an_outcome_whose_edit_fails_is_posted_at_once(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, shown: str, failing: Reply
) -> None:
    receiver.script(UPDATE, failing)
    scalingo.finish(operation_of(shown), outcome="error")
    look(store, shown)
    tell_all(store)
    assert [(method, "thread_ts" in said) for method, said in calls(receiver)[1:]] == [
        ("update", False),
        ("postMessage", False),
    ]
    assert found(store, shown).tracking.deliveries[0].attempts == 1


def test_a_refresh_that_slack_has_no_room_for_waits_is_no_failed_delivery_and_holds_up_no_outcome(
    channel: Runtime, store: Store, scalingo: ScalingoApi, receiver: Receiver, shown: str, caller: Caller
) -> None:
    receiver.script(UPDATE, Reply(429, headers={"Retry-After": "30"}))
    store.update(found(store, shown), lambda t: replace(t, live=(replace(t.live[0], due_at=store.records.now()),)))
    hold(delivery_round, lambda: len(calls(receiver)) == 2, "the edit")
    hold(delivery_round, lambda: message(store, shown).claim is None, "the record")
    due_at = message(store, shown).due_at
    assert due_at is not None
    assert 25 < (due_at - store.records.now()).total_seconds() <= 30
    assert channel.slots.is_held("edits of deploys"), "no other message of this target is edited either"
    metrics = caller.get("/metrics").text
    assert 'opwatch_deliveries_total{state="dead",target="deploys"} 0.0' in metrics
    assert "opwatch_deliveries_unfinished 0.0" in metrics
    scalingo.finish(operation_of(shown), outcome="error")
    look(store, shown)
    tell_all(store)
    assert [method for method, _ in calls(receiver)[2:]] == ["update", "postMessage"]


@pytest.mark.usefixtures("channel")
def test_a_channel_that_refuses_the_bot_is_reported_by_the_outcomes_delivery(
    store: Store, scalingo: ScalingoApi, receiver: Receiver
) -> None:
    receiver.script(POST, refused("not_in_channel"))
    identity = tracked(store, scalingo.operation(duration_s=None).id, notify_all=False, notify=("deploys",))
    look(store, identity)
    assert write(store, identity).due_at is None
    look(store, identity)
    delivery_round()
    assert (store.overview.size(LIVE), len(calls(receiver))) == (0, 1)
    scalingo.finish(operation_of(identity))
    look(store, identity)
    tell_all(store)
    (delivery,) = found(store, identity).tracking.deliveries
    assert (delivery.state, delivery.last_error) == (DeliveryState.DEAD, "Slack answered 200: not_in_channel")


def test_an_operation_that_is_no_longer_watched_says_so_in_place(
    store: Store, receiver: Receiver, shown: str, caller: Caller
) -> None:
    assert caller.request("DELETE", f"/v1/operations/{shown}").status_code == 200
    assert write(store, shown).due_at is None
    assert calls(receiver)[-1][0] == "update"
    assert "cancelled" in calls(receiver)[-1][1]["text"]
    assert found(store, shown).tracking.deliveries == ()
    anew = caller.track(app="shop", operation_id=operation_of(shown), notify=["deploys"])
    assert (anew.status_code, anew.get_json()["run"]) == (202, 2)
    look(store, shown)
    receiver.script(POST, posted("2.000200"))
    hold(delivery_round, lambda: len(calls(receiver)) == 3, "the second run's message")
    assert calls(receiver)[-1][0] == "postMessage"


def test_a_message_that_is_gone_is_not_posted_anew_only_to_say_that_nobody_watches(
    store: Store, receiver: Receiver, shown: str
) -> None:
    receiver.script(UPDATE, refused("message_not_found"))
    store.update(found(store, shown), lambda t: looks.cancelled(t, store.records.now()))
    assert write(store, shown).due_at is None
    assert [method for method, _ in calls(receiver)] == ["postMessage", "update"]


@pytest.mark.usefixtures("channel")
def test_an_outcome_waits_for_the_post_that_is_under_way_and_edits_that(
    store: Store, scalingo: ScalingoApi, receiver: Receiver
) -> None:
    receiver.script(POST, replace(posted(), delay_s=1.5))
    identity = tracked(store, scalingo.operation(duration_s=None).id, notify_all=False, notify=("deploys",))
    look(store, identity)
    hold(delivery_round, lambda: calls(receiver), "the post")
    scalingo.finish(operation_of(identity))
    look(store, identity)
    tell_all(store)
    assert [method for method, _ in calls(receiver)] == ["postMessage", "update"]
    assert calls(receiver)[-1][1]["ts"] == "1.000100"


def test_an_outcome_does_not_wait_for_a_worker_that_died_with_the_message(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, shown: str
) -> None:
    long_ago = store.records.now() - live.LEASE
    store.update(found(store, shown), lambda t: live.claimed(t, t.live[0], "a dead worker's", long_ago))
    scalingo.finish(operation_of(shown))
    look(store, shown)
    tell_all(store)
    assert [method for method, _ in calls(receiver)] == ["postMessage", "update"]


def test_after_an_older_version_dropped_the_message_the_outcome_is_posted_anew(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, shown: str, connection: redis.Redis
) -> None:
    key = f"opwatch:tracking:{shown}"
    document = json.loads(connection.get(key) or b"")
    del document["live"]  # as an older version writes the record: without unknown fields
    connection.set(key, json.dumps(document))
    connection.zadd(LIVE, {f"{shown}_1_live_deploys": 0})
    delivery_round()
    maintain(connection, store)
    assert store.overview.size(LIVE) == 0
    scalingo.finish(operation_of(shown))
    look(store, shown)
    tell_all(store)
    assert [method for method, _ in calls(receiver)] == ["postMessage", "postMessage"]
    assert calls(receiver)[-1][1]["text"].startswith("✅")


def test_that_it_is_slow_is_a_reply_shown_in_the_channel(
    channel: Runtime, store: Store, receiver: Receiver, shown: str
) -> None:
    usual = Usual(p50=1, p90=1, samples=9)
    rules = {"deploys": replace(channel.targets["deploys"].rule, slow=True)}
    old = store.records.now() - timedelta(seconds=60)
    store.update(
        found(store, shown),
        lambda t: slow.watched(replace(t, usual=usual, created_at=old, last_polled_at=store.records.now()), rules),
    )
    tell_all(store)
    method, reply = calls(receiver)[-1]
    assert (method, reply["thread_ts"], reply["reply_broadcast"]) == ("postMessage", "1.000100", True)
    assert reply["text"].startswith("⏳ shop: restart still running")
    write(store, shown)
    assert calls(receiver)[-1][0] == "update"
    assert calls(receiver)[-1][1]["text"].startswith("⏳ shop: restart still running")


def test_a_target_that_is_live_no_more_ends_the_message(channel: Runtime, store: Store, shown: str) -> None:
    store.update(found(store, shown), lambda t: replace(t, live=(replace(t.live[0], target="gone", due_at=NOW),)))
    edit_round(channel, store.records.due_live(9), ())
    assert message(store, shown).due_at is None


def test_workers_take_turns_and_outcomes_go_before_edits(channel: Runtime, store: Store, shown: str) -> None:
    store.update(found(store, shown), lambda t: replace(t, live=(replace(t.live[0], due_at=NOW),)))
    edit_round(channel, store.records.due_live(9), {"deploys"})
    assert message(store, shown).claim is None, "an outcome is due"
    wait_until(lambda: channel.locks.acquire("live:deploys", "another worker", 60), what="another's turn")
    edit_round(channel, store.records.due_live(9), ())
    assert message(store, shown).claim is None, "another worker has the turn"
    assert channel.slots.take("deploys", 1), "the slot is free"
