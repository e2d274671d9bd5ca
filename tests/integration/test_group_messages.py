"""One Slack message for the operations of one deploy, with a real server: posts, edits and replies."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
import redis

from operations.model import DeliveryState, LiveMessage, MessageRef, State
from operations.storage import index
from operations.storage.store import Store
from operations.telling import attempts, group_message
from operations.telling.groups import SETTLE
from operations.watching import looks
from standin.api import ScalingoApi
from tests.integration.bench import found, tracked
from tests.integration.rounds import look, tell_all
from tests.integration.test_live import UPDATE, calls, channel, operation_of, posted, refused, said
from tests.support.receiver import Receiver, Reply
from tests.support.running import wait_until
from workers.deliver import delivery_round
from workers.group_message import lease_for
from workers.runtime import Runtime, current

__all__ = ["channel"]

POST = "/api/chat.postMessage"
BUILD = "build 7"


@pytest.fixture
def one(channel: Runtime, store: Store, scalingo: ScalingoApi) -> str:
    """Return a member of a group whose message was posted."""
    assert channel.targets["deploys"].rule.live
    identity = another(store, scalingo)
    shown(store, identity)
    return identity


def another(store: Store, scalingo: ScalingoApi, app: str = "shop", **more: Any) -> str:
    """Track a running operation as a member of the group, and look at it."""
    fields = {"app": app, "group": BUILD, "notify_all": False, "notify": ("deploys",), **more}
    identity = tracked(store, scalingo.operation(duration_s=None, app=app).id, **fields)
    look(store, identity)
    return identity


def live(store: Store, identity: str) -> LiveMessage:
    """Return the member's part in the message."""
    (only,) = found(store, identity).tracking.live
    return only


def shown(store: Store, identity: str) -> LiveMessage:
    """Make the member's message due, and run rounds until it was handled."""
    before = live(store, identity)
    now = store.records.now()
    store.update(found(store, identity), lambda t: replace(t, live=tuple(replace(m, due_at=now) for m in t.live)))

    def written() -> LiveMessage | None:
        current().connection.delete("opwatch:lock:live:deploys")  # so that the target may be edited again
        delivery_round()
        after = live(store, identity)
        due = after.due_at is not None and after.due_at <= now
        return after if after.claim is None and not due and after != before else None

    after = wait_until(written, what="the message")
    assert after is not None
    return after


def ended(store: Store, scalingo: ScalingoApi, identity: str, **how: Any) -> None:
    """End the operation, and deliver the outcome."""
    scalingo.finish(operation_of(identity), **how)
    look(store, identity)
    tell_all(store)


def aged(store: Store, *identities: str) -> None:
    """Let the time pass in which a group of unknown size waits for another member."""
    for identity in identities:
        store.update(
            found(store, identity),
            lambda t: replace(t, ended_at=t.ended_at and t.ended_at - SETTLE, created_at=t.created_at - 2 * SETTLE),
        )


def text(receiver: Receiver) -> str:
    """Return the text of the last post or edit, one line per section."""
    _, last = next(call for call in reversed(calls(receiver)) if "thread_ts" not in call[1])
    return "\n".join(block["text"]["text"] for block in last["blocks"] if block["type"] == "section")


def test_the_members_of_a_group_share_one_message_with_one_verdict(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, one: str
) -> None:
    assert text(receiver).startswith("🔄 *shop*: restart *running for ")
    two = another(store, scalingo, "blog")
    assert shown(store, two).posted == MessageRef(channel="C1", ts="1.000100")
    assert text(receiver).startswith("🔄 *build 7*: *0 of 2 ended* after ")
    ended(store, scalingo, one)
    headline, shop, blog = text(receiver).splitlines()
    assert "*1 of 2 ended* after " in headline
    assert shop.startswith("✅ *shop*: restart *succeeded after ")
    assert blog.startswith("🔄 *blog*: restart *running for ")
    ended(store, scalingo, two, outcome="error", error="it broke\nand this is how")
    assert "*2 of 2 ended* after " in text(receiver)
    aged(store, one, two)
    shown(store, two)
    headline, shop, blog, cause = text(receiver).splitlines()
    assert headline.startswith("❌ *build 7*: *failed after ")
    assert headline.endswith(" (1 failed, 1 succeeded)")
    assert (shop[0], blog[0], cause) == ("✅", "❌", "it broke")
    posts = [body for method, body in calls(receiver) if method == "postMessage"]
    first, reply = posts
    assert (first["channel"], "thread_ts" in first) == ("#deploys", False)
    assert reply["thread_ts"] == "1.000100"
    assert reply["text"].startswith("<!here> ❌ blog: restart failed")
    assert "and this is how" in json.dumps(reply["blocks"])
    assert {body["ts"] for method, body in calls(receiver) if method == "update"} == {"1.000100"}
    shown(store, one)  # it does not know yet that the group is final
    assert store.overview.due_in_s()[1] == float("inf")
    for identity in (one, two):
        assert [d.state for d in found(store, identity).tracking.deliveries] == [DeliveryState.DELIVERED]


def test_with_a_size_the_last_outcome_brings_the_verdict(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, channel: Runtime
) -> None:
    assert channel.targets
    one = another(store, scalingo, group_size=2)
    shown(store, one)
    ended(store, scalingo, one)
    assert "*1 of 2 ended* after " in text(receiver)
    assert "1 not begun" in text(receiver)
    two = another(store, scalingo, "blog")
    ended(store, scalingo, two)
    assert text(receiver).startswith("✅ *build 7*: *succeeded after ")
    assert live(store, two).due_at is None


def test_one_that_joins_late_reopens_the_message(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, one: str
) -> None:
    ended(store, scalingo, one)
    aged(store, one)
    before = len(calls(receiver))
    assert shown(store, one).due_at is None
    assert len(calls(receiver)) == before  # it is current
    late = another(store, scalingo, "blog")
    shown(store, late)
    assert text(receiver).splitlines()[0].endswith(", reopened by blog")
    assert [method for method, _ in calls(receiver)].count("postMessage") == 1


def test_a_single_operation_of_a_group_is_shown_as_if_it_were_in_none(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, one: str
) -> None:
    ended(store, scalingo, one, outcome="error", error="it broke")
    (_, first), (_, last), (_, reply) = calls(receiver)
    assert first["text"].startswith("🔄 shop: restart running for ")
    assert last["text"].startswith("❌ shop: restart failed after ")
    assert (last["ts"], reply["thread_ts"]) == ("1.000100", "1.000100")


def test_one_that_has_ended_at_its_first_look_begins_the_message(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, channel: Runtime
) -> None:
    assert channel.targets
    operation = scalingo.operation(app="shop").id
    identity = tracked(store, operation, group=BUILD, group_size=2, notify_all=False, notify=("deploys",))
    look(store, identity)
    tell_all(store)
    assert text(receiver).startswith("🔄 *build 7*: *1 of 2 ended* after ")
    assert live(store, identity).posted == MessageRef(channel="C1", ts="1.000100")
    shown(store, another(store, scalingo, "blog"))
    assert [method for method, _ in calls(receiver)] == ["postMessage", "update"]


def test_what_a_target_is_not_to_be_told_is_not_in_its_message(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, one: str
) -> None:
    another(store, scalingo, "secret", notify=())
    shown(store, one)
    assert "secret" not in text(receiver)
    assert text(receiver).startswith("🔄 *shop*: restart *running for ")


def test_one_that_is_cancelled_is_shown_so(store: Store, scalingo: ScalingoApi, receiver: Receiver, one: str) -> None:
    two = another(store, scalingo, "blog")
    shown(store, two)
    ended(store, scalingo, one)
    store.update(found(store, two), lambda tracking: looks.cancelled(tracking, store.records.now()))
    shown(store, two)
    assert "⏹️ *blog*: restart *cancelled after " in text(receiver)
    aged(store, one, two)
    shown(store, two)
    assert text(receiver).startswith("⏹️ *build 7*: *cancelled after ")


def test_a_message_that_is_gone_is_posted_anew_for_all(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, one: str
) -> None:
    two = another(store, scalingo, "blog")
    receiver.script(UPDATE, refused("message_not_found"), posted("2.000200"))
    receiver.script(POST, posted("2.000200"))
    ended(store, scalingo, one)
    assert "*1 of 2 ended* after " in text(receiver)
    ended(store, scalingo, two)
    method, last = calls(receiver)[-1]
    assert (method, last["ts"]) == ("update", "2.000200")


@pytest.mark.parametrize("odd", ["refused", "failing", "no room", "not indexed", "something else"])
def test_an_outcome_is_told_by_itself_where_the_group_cannot_show_it(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, connection: redis.Redis, one: str, odd: str
) -> None:
    if odd == "refused":
        receiver.script(UPDATE, refused("msg_blocks_too_long"))
    elif odd == "failing":
        receiver.script(UPDATE, Reply(500))
    elif odd == "no room":
        receiver.script(UPDATE, Reply(429, headers={"Retry-After": "86400"}))
    else:
        connection.delete(index.group_key(BUILD))
    if odd == "something else":
        connection.set(index.group_key(BUILD), "what nobody expects")
    scalingo.finish(operation_of(one))
    look(store, one)
    tell_all(store)
    method, last = calls(receiver)[-1]
    assert (method, last["text"][:8], last.get("thread_ts")) == ("postMessage", "✅ shop: ", None)
    assert found(store, one).tracking.state is State.SUCCEEDED


def test_a_reply_that_is_put_off_repeats_neither_the_message_nor_the_edit(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, channel: Runtime
) -> None:
    assert channel.targets
    operation = scalingo.operation(outcome="error", error="it broke").id
    identity = tracked(store, operation, group=BUILD, notify_all=False, notify=("deploys",))
    receiver.script(POST, posted(), said({"ok": False, "error": "internal_error"}), posted("1.000300"))
    look(store, identity)
    delivery_round()
    wait_until(lambda: state(store, identity) is DeliveryState.RETRYING, what="the failure")
    store.update(found(store, identity), lambda t: attempts.retried(t, "deploys", store.records.now()))
    tell_all(store)
    assert [(method, "thread_ts" in body) for method, body in calls(receiver)] == [
        ("postMessage", False),
        ("postMessage", True),
        ("postMessage", True),
    ]


def test_only_the_first_failure_of_a_group_calls_somebody(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, one: str
) -> None:
    two = another(store, scalingo, "blog")
    for identity in (one, two):
        ended(store, scalingo, identity, outcome="error", error="it broke")
    replies = [body["text"] for _, body in calls(receiver) if "thread_ts" in body]
    assert [text.split(":")[0] for text in replies] == ["<!here> ❌ shop", "❌ blog"]


def test_only_one_writes_the_message_at_a_time(store: Store, channel: Runtime, one: str) -> None:
    tracking = found(store, one).tracking
    first, second = (
        lease_for(channel, tracking, channel.targets["deploys"], 1),
        lease_for(channel, tracking, channel.targets["deploys"], 1),
    )
    assert first is not None
    assert second is not None
    assert lease_for(channel, tracking, channel.targets["deploys"], 2) is None

    async def both() -> list[bool]:
        taken = [await first.begin(), await second.begin(within_s=0.2)]
        await first.end()
        return [*taken, await second.begin()]

    assert asyncio.run(both()) == [True, False, True]


def state(store: Store, identity: str) -> DeliveryState:
    (only,) = found(store, identity).tracking.deliveries
    return only.state


def test_an_outcome_waits_for_who_is_at_the_message_but_not_for_ever(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, channel: Runtime, one: str
) -> None:
    another(store, scalingo, "blog")
    tracking = found(store, one).tracking
    lease = lease_for(channel, tracking, channel.targets["deploys"], 1)  # of a worker that is killed
    assert lease is not None
    assert asyncio.run(lease.begin())
    before = len(calls(receiver))
    scalingo.finish(operation_of(one))
    look(store, one)
    delivery_round()
    wait_until(lambda: found(store, one).tracking.deliveries[0].claim is None, what="the release of the delivery")
    (delivery,) = found(store, one).tracking.deliveries
    assert (delivery.attempts, delivery.state, len(calls(receiver))) == (0, DeliveryState.PENDING, before)
    long_ago = store.records.now() - group_message.ALONE_AFTER - SETTLE
    store.update(found(store, one), lambda t: replace(t, ended_at=long_ago))
    tell_all(store)
    method, last = calls(receiver)[-1]
    assert (method, last["text"][:8], len(calls(receiver))) == ("postMessage", "✅ shop: ", before + 1)
    asyncio.run(lease.end())


def test_one_that_is_watched_anew_goes_on_in_the_same_message(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, one: str
) -> None:
    two = another(store, scalingo, "blog")
    shown(store, two)
    fresh = found(store, two).tracking
    store.update(found(store, two), lambda tracking: looks.cancelled(tracking, store.records.now()))
    anew = replace(fresh, live=(), operation=None, created_at=store.records.now(), polls=0)
    store.update(found(store, two), lambda tracking: looks.started_anew(tracking, anew))
    look(store, two)
    shown(store, one)

    def left() -> bool:
        current().connection.delete("opwatch:lock:live:deploys")
        delivery_round()
        return all(m.due_at is None or m.run == 2 for m in found(store, two).tracking.live)

    wait_until(left, what="the message of the first run being left alone")
    assert "cancelled" not in text(receiver)
    assert "🔄 *blog*: restart *running for " in text(receiver)
    assert [method for method, _ in calls(receiver)].count("postMessage") == 1
