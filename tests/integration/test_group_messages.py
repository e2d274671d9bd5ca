"""How people are told about the operations of one deploy, with a real server: closing messages and live ones."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis

from operations.model import DeliveryState, State, Tracking
from operations.storage.clock import milliseconds
from operations.storage.index import GROUPS, LIVE, OUTBOX, group_key, index_changes, record_key
from operations.storage.records import encode
from operations.storage.store import Store
from operations.telling import attempts, group_record
from operations.telling.groups import SETTLE
from operations.watching import looks
from standin.api import ScalingoApi
from tests.integration.bench import BROKEN, DONE, NO_OTHER_TARGETS, Caller, found, maintain, operation_id, seen, tracked
from tests.integration.rounds import hold, look
from tests.integration.test_live import POST, UPDATE, calls, channel, operation_of, posted, refused
from tests.support.receiver import Receiver, Reply
from tests.support.running import wait_until
from tests.support.stages import SIGNING_SECRET
from workers import groups as group_checks
from workers.deliver import delivery_round
from workers.runtime import Runtime, current

__all__ = ["channel"]

BUILD = "build 7"
RECORD = group_record.group_id(BUILD)
TARGETS = f"""
    [targets.deploys]
    kind = "slack"
    webhook_url = "${{RECEIVER_URL}}/deploys"
    mention = "<!here>"

    [targets.shops]
    kind = "mattermost"
    webhook_url = "${{RECEIVER_URL}}/mattermost"
    mention = "@here"
    apps = ["shop*"]

    [targets.hook]
    kind = "webhook"
    url = "${{RECEIVER_URL}}/hook"
    secret = "{SIGNING_SECRET}"
    groups = "both"

    [targets.ledger]
    kind = "webhook"
    url = "${{RECEIVER_URL}}/ledger"
    secret = "{SIGNING_SECRET}"
    """


@pytest.fixture
def told(start_worker: Callable[..., Runtime], receiver: Receiver) -> Runtime:
    """Start a worker's parts with a target for each rule."""
    receiver.script("/mattermost", Reply(200, "ok"))
    return start_worker(TARGETS, **NO_OTHER_TARGETS)


def another(store: Store, scalingo: ScalingoApi, app: str = "shop", **more: Any) -> str:
    """Track a running operation as a member of the group, and look at it."""
    identity = tracked(store, scalingo.operation(duration_s=None, app=app).id, app=app, group=BUILD, **more)
    look(store, identity)
    return identity


def ended(store: Store, scalingo: ScalingoApi, identity: str, **how: Any) -> None:
    """End the operation, and deliver what follows at once."""
    scalingo.finish(operation_of(identity), **how)
    look(store, identity)
    told_all(store)


def told_all(store: Store) -> None:
    """Run rounds until no group is due, and nothing is left to send or to edit at once."""

    def quiet() -> bool:
        current().connection.delete("opwatch:lock:live:deploys")  # so that the target may be edited again
        record = store.records.get(RECORD)
        edited = record is None or not any(message.claim for message in record.tracking.live)
        return edited and store.overview.size(OUTBOX) == 0 and store.overview.due_in_s()[1] > 0

    hold(delivery_round, quiet, "an empty outbox")


def woken(connection: redis.Redis) -> None:
    """Let the time pass until the group's next check."""
    connection.zadd(GROUPS, {BUILD: 1})


def aged(store: Store, connection: redis.Redis, *identities: str) -> None:
    """Let the time pass in which a group of unknown size waits for another member."""
    for identity in identities:
        after = partial(_older, by=SETTLE)
        store.update(found(store, identity), after)
    woken(connection)
    told_all(store)


def _older(tracking: Tracking, by: timedelta) -> Tracking:
    ended_at = tracking.ended_at and tracking.ended_at - by
    return replace(tracking, ended_at=ended_at, created_at=tracking.created_at - 2 * by)


def sent(receiver: Receiver, path: str) -> list[dict[str, Any]]:
    """List the documents that a target got."""
    return [json.loads(seen.body) for seen in receiver.requests if seen.path == path]


def texts(receiver: Receiver, path: str = "/deploys") -> list[str]:
    return [document["text"].replace("\u00a0", " ").partition(" after ")[0] for document in sent(receiver, path)]


def sections(document: dict[str, Any]) -> list[str]:
    """List the lines of a Slack message."""
    blocks = (block["text"]["text"] for block in document["blocks"] if block["type"] == "section")
    return [line for text in blocks for line in text.split("\n")]


def state(store: Store, identity: str, target: str = "deploys") -> tuple[str, str | None]:
    mine = next(d for d in reversed(found(store, identity).tracking.deliveries) if d.target == target)
    return mine.state.value, mine.last_error


def test_a_deploy_of_four_is_told_by_its_failures_and_one_closing_message(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, told: Runtime, connection: redis.Redis, caller: Caller
) -> None:
    assert told.targets["deploys"].rule.groups == "closing"
    ids = [another(store, scalingo, app, context={"actor": "jane"}) for app in ("shop", "blog", "api", "cart")]
    shop, blog, api, cart = ids
    ended(store, scalingo, shop)
    assert state(store, shop) == ("skipped", "told with its group")
    for each in (blog, api):
        ended(store, scalingo, each, outcome="error", error="it broke\nlong ago")
    assert texts(receiver) == ["<!here> ❌ blog: restart failed", "❌ api: restart failed"]  # one mention for the group
    assert all("group: build 7" in json.dumps(each) for each in sent(receiver, "/deploys"))
    ended(store, scalingo, cart)
    assert len(sent(receiver, "/deploys")) == 2  # another may join
    aged(store, connection, *ids)
    _, _, closing = sent(receiver, "/deploys")
    assert closing["text"].startswith("❌ build 7: failed after ")
    assert closing["text"].endswith(" (2 failed, 2 succeeded)")
    lines = sections(closing)
    assert [line[:9] for line in lines[1:]] == ["❌ *blog*:", "it broke", "❌ *api*: ", "it broke", "✅ 2 succe"]
    assert lines[-1] == "✅ 2 succeeded: shop, cart"
    assert texts(receiver, "/mattermost") == ["✅ **build 7**: **succeeded"]  # it was told about the shop alone
    assert "blog" not in json.dumps(sent(receiver, "/mattermost"))
    types = [each["type"] for each in sent(receiver, "/hook")]
    assert types == ["operation.succeeded", *["operation.failed"] * 2, "operation.succeeded", "group.failed"]
    assert len(sent(receiver, "/ledger")) == 4
    event = sent(receiver, "/hook")[-1]["data"]
    shown = caller.get("/v1/groups/build%207").get_json()
    assert {**event, "members": 0} == {**shown, "members": 0, "members_left_out": 0}
    assert [each["id"] for each in event["members"]] == ids
    late = another(store, scalingo, "late")
    ended(store, scalingo, late, outcome="error", error="too late")
    assert texts(receiver)[3:] == ["❌ late: restart failed"]
    aged(store, connection, *ids, late)
    assert texts(receiver)[4:] == ["❌ build 7: failed"]
    assert len(texts(receiver, "/mattermost")) == 1
    hooks = [seen.headers["webhook-id"] for seen in receiver.requests if seen.path == "/hook"]
    assert [each for each in hooks if each.startswith("group-")] == [f"{RECORD}_{n}_failed_hook" for n in (1, 2)]
    assert store.overview.size(GROUPS) == 0


def test_with_a_size_the_last_end_brings_the_closing_at_once_and_a_success_mentions_nobody(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, told: Runtime
) -> None:
    assert told.targets
    one, two = (another(store, scalingo, app, group_size=2) for app in ("shop", "blog"))
    ended(store, scalingo, one)
    assert texts(receiver) == []
    ended(store, scalingo, two)
    assert texts(receiver) == ["✅ build 7: succeeded"]
    assert found(store, RECORD).tracking.state is State.SUCCEEDED
    maintain(told.connection, store)
    assert [d.state for d in found(store, RECORD).tracking.deliveries] == [DeliveryState.DELIVERED] * 3


def test_forty_are_told_by_what_went_wrong_and_one_line_of_names(
    store: Store, receiver: Receiver, told: Runtime
) -> None:
    apps = {tracked(store, operation_id(n), app=f"app-{n:02}", group=BUILD, group_size=40): n for n in range(40)}
    for identity, number in apps.items():
        seen(store, identity, BROKEN if number % 10 == 3 else DONE, told.rules)
    told_all(store)
    *failures, closing = sorted(texts(receiver), key=lambda text: BUILD in text)  # neighbours may change places
    wrong = ["app-03", "app-13", "app-23", "app-33"]
    assert sorted(each.removeprefix("<!here> ") for each in failures) == [f"❌ {app}: restart failed" for app in wrong]
    assert sum("<!here>" in each for each in failures) == 1
    assert closing == "❌ build 7: failed"
    lines = sections(next(each for each in sent(receiver, "/deploys") if BUILD in each["text"]))
    assert [line.partition("*:")[0] for line in lines[1:9:2]] == [f"❌ *{app}" for app in wrong]
    assert lines[-1].startswith("✅ 36 succeeded: app-00, app-01, app-02, app-04, ")


def test_where_no_failure_could_be_told_the_closing_mentions(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, told: Runtime
) -> None:
    assert told.targets
    one, two = (another(store, scalingo, app, group_size=2) for app in ("shop", "blog"))
    receiver.script("/deploys", Reply(400, "invalid_payload"), Reply(400, "invalid_payload"), Reply(200, "ok"))
    ended(store, scalingo, one, outcome="error", error="it broke")
    assert state(store, one)[0] == "dead"
    ended(store, scalingo, two)
    assert texts(receiver)[-1] == "<!here> ❌ build 7: failed"


def test_a_closing_that_was_given_up_alerts_the_operator_and_can_be_retried(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, start_worker: Callable[..., Runtime], caller: Caller
) -> None:
    start_worker(TARGETS, OPWATCH_ALERT_TARGET="ledger", **NO_OTHER_TARGETS)
    receiver.script("/deploys", Reply(404, "no_service"), Reply(200, "ok"))
    ended(store, scalingo, another(store, scalingo, "blog", group_size=1))
    (alert,) = (each for each in sent(receiver, "/ledger") if each["type"] == "delivery.failing")
    assert alert["data"]["delivery"] == f"{RECORD}_1_succeeded_deploys"
    for method in ("GET", "DELETE"):
        assert caller.request(method, f"/v1/operations/{RECORD}").status_code == 404
    assert caller.request("POST", f"/v1/operations/{RECORD}/deliveries/deploys/retry").status_code == 202
    told_all(store)
    assert texts(receiver) == ["✅ build 7: succeeded"] * 2


def test_an_end_during_a_check_is_not_lost(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, told: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (another(store, scalingo, app, group_size=2) for app in ("shop", "blog"))
    ended(store, scalingo, one)
    scalingo.finish(operation_of(two))
    decide = group_record.checked

    def overtaken(*given: Any) -> Any:
        monkeypatch.setattr(group_record, "checked", decide)
        look(store, two)  # after the members were read
        return decide(*given)

    woken(told.connection)
    monkeypatch.setattr(group_record, "checked", overtaken)
    group_checks.check_groups(told)
    assert found(store, RECORD).tracking.state is State.TRACKING
    told_all(store)
    assert texts(receiver) == ["✅ build 7: succeeded"]


def test_the_groups_of_a_big_release_are_checked_in_one_go(store: Store, told: Runtime) -> None:
    names = [f"release {number}" for number in range(group_checks.CHECKS_AT_ONCE + 10)]
    for number, name in enumerate(names):
        tracked(store, operation_id(number), app=f"shop-{number}", group=name)
    told.connection.set(group_key("damaged"), "something else")
    large = [names[0], names[1]]
    for number in range(len(names), len(names) + 2 * group_checks.MEMBERS_AT_ONCE // 3):
        for name in large:  # together too many for one batch
            tracked(store, operation_id(2 * number + (name == large[1])), app=f"shop-{number}", group=name)
    damaged = {f"damaged {number}": number for number in range(group_checks.CHECKS_AT_ONCE)}
    for name in damaged:
        told.connection.set(record_key(group_record.group_id(name)), "written by a newer version")
    told.connection.zadd(GROUPS, {"damaged": 0, **damaged})
    group_checks.check_groups(told)
    records = [found(store, group_record.group_id(name)).tracking for name in names]
    assert [record.polls for record in records] == [1] * len(names)
    assert told.connection.zcount(GROUPS, "-inf", milliseconds(store.records.now())) == len(damaged)


@pytest.mark.parametrize("at", ["before the check", "after the check", "while it is sent"])
def test_a_worker_that_is_killed_loses_nothing(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, told: Runtime, at: str
) -> None:
    fields = {"group_size": 2, "notify_all": False, "notify": ("hook",)}
    one, two = (another(store, scalingo, app, **fields) for app in ("shop", "blog"))
    ended(store, scalingo, one)
    scalingo.finish(operation_of(two))
    look(store, two)
    if at != "before the check":
        group_checks.check_groups(told)
        assert found(store, RECORD).tracking.deliveries
    if at == "while it is sent":
        receiver.script("/hook", Reply(500))
        (delivery,) = found(store, RECORD).tracking.deliveries
        now = store.records.now() - attempts.LEASE
        store.update(found(store, RECORD), lambda t: attempts.claimed(t, [delivery], "of the dead", now))
        receiver.script("/hook", Reply(200))
        told.heartbeat.beat(told.name, store.records.now())
        wait_until(lambda: told.heartbeat.is_settled, what="the heartbeat")
        hold(delivery_round, lambda: found(store, RECORD).tracking.deliveries[0].claim is None, "the end of the lease")
        store.update(found(store, RECORD), lambda t: attempts.retried(t, "hook", store.records.now()))
    told_all(store)
    events = [seen.headers["webhook-id"] for seen in receiver.requests if b'"group.' in seen.body]
    assert events == [f"{RECORD}_1_succeeded_hook"]


def test_an_older_worker_that_ends_a_member_leaves_the_group_to_its_next_check(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, told: Runtime, connection: redis.Redis
) -> None:
    assert told.targets
    one, two = (another(store, scalingo, app, group_size=2) for app in ("shop", "blog"))
    ended(store, scalingo, one)
    told_all(store)
    theirs = replace(found(store, two).tracking, state=State.SUCCEEDED, ended_at=store.records.now(), next_look_at=None)
    connection.set(record_key(two), encode(theirs))  # it wakes nobody
    assert 0 < store.overview.due_in_s()[1] <= group_record.CHECK_EVERY_S
    woken(connection)
    told_all(store)
    assert texts(receiver) == ["✅ build 7: succeeded"]
    assert list(index_changes(None, found(store, RECORD).tracking, SETTLE))


@pytest.mark.parametrize("damage", ["a gone index", "something else"])
def test_a_damaged_group_stops_nobody(
    store: Store, scalingo: ScalingoApi, receiver: Receiver, told: Runtime, connection: redis.Redis, damage: str
) -> None:
    assert told.targets
    one = another(store, scalingo)
    connection.delete(f"opwatch:group:{BUILD}")
    if damage == "something else":
        connection.set(f"opwatch:group:{BUILD}", "what nobody expects")
    scalingo.finish(operation_of(one), outcome="error", error="it broke")
    look(store, one)
    woken(connection)
    told_all(store)
    assert texts(receiver) == ["<!here> ❌ shop: restart failed"]


class TestLive:
    def test_the_members_share_one_message_which_becomes_the_closing_one(
        self, store: Store, scalingo: ScalingoApi, receiver: Receiver, channel: Runtime, connection: redis.Redis
    ) -> None:
        assert channel.targets["deploys"].rule.live
        one, two, three = (another(store, scalingo, app) for app in ("shop", "blog", "api"))
        told_all(store)
        (_, first), *_ = calls(receiver)
        assert first["text"].startswith("🔄 build 7: 0 of ")
        for each in (one, two):
            ended(store, scalingo, each, outcome="error", error="it broke\nand this is how")
        replies = [body for _, body in calls(receiver) if "thread_ts" in body]
        assert [(body["text"].partition(": ")[0], body["thread_ts"]) for body in replies] == [
            ("<!here> ❌ shop", "1.000100"),
            ("❌ blog", "1.000100"),
        ]
        assert "and this is how" in json.dumps(replies)
        ended(store, scalingo, three)
        assert state(store, three) == ("skipped", "told with its group")
        aged(store, connection, one, two, three)
        method, last = calls(receiver)[-1]
        assert (method, last["ts"], last["text"][-25:]) == ("update", "1.000100", "s (2 failed, 1 succeeded)")
        assert [line.partition("*:")[0] for line in sections(last)] == [
            "❌ *build 7",
            "❌ *shop",
            "it broke",
            "❌ *blog",
            "it broke",
            "✅ 1 succeeded: api",
        ]
        assert [method for method, _ in calls(receiver)].count("postMessage") == 3
        late = another(store, scalingo, "late")
        told_all(store)
        assert calls(receiver)[-1][1]["text"].endswith(", reopened by late")
        ended(store, scalingo, late)
        aged(store, connection, one, two, three, late)
        method, last = calls(receiver)[-1]
        assert (method, last["ts"], last["text"].endswith(" (2 failed, 2 succeeded)")) == ("update", "1.000100", True)
        assert store.overview.size(LIVE) == 0

    def test_a_group_that_was_never_shown_is_told_by_a_new_message(
        self, store: Store, scalingo: ScalingoApi, receiver: Receiver, channel: Runtime
    ) -> None:
        assert channel.targets
        identity = tracked(store, scalingo.operation(app="shop").id, group=BUILD, group_size=1)
        look(store, identity)
        told_all(store)
        ((method, only),) = calls(receiver)
        assert (method, only["text"].startswith("✅ build 7: succeeded after ")) == ("postMessage", True)

    @pytest.mark.parametrize("odd", ["message_not_found", "msg_blocks_too_long"])
    def test_a_closing_that_cannot_be_an_edit_is_posted(
        self, store: Store, scalingo: ScalingoApi, receiver: Receiver, channel: Runtime, odd: str
    ) -> None:
        assert channel.targets
        identity = another(store, scalingo, group_size=1)
        told_all(store)
        receiver.script(UPDATE, refused(odd))
        ended(store, scalingo, identity)
        (_, _), (edit, _), (method, last) = calls(receiver)
        assert (edit, method, last["text"].startswith("✅ build 7: ")) == ("update", "postMessage", True)

    def test_one_that_is_cancelled_is_shown_so_and_a_message_that_is_gone_is_posted_anew(
        self, store: Store, scalingo: ScalingoApi, receiver: Receiver, channel: Runtime
    ) -> None:
        assert channel.targets
        one, two = (another(store, scalingo, app, group_size=2) for app in ("shop", "blog"))
        told_all(store)
        store.update(found(store, two), lambda tracking: looks.cancelled(tracking, store.records.now()))
        receiver.script(UPDATE, refused("message_not_found"), posted("2.000200"))
        receiver.script(POST, posted("2.000200"))
        hold(delivery_round, lambda: calls(receiver)[-1][1]["text"].endswith(" (1 cancelled, 1 under way)"), "the edit")
        told_all(store)
        ended(store, scalingo, one)
        method, last = calls(receiver)[-1]
        assert (method, last["ts"]) == ("update", "2.000200")
        assert last["text"].startswith("⏹️ build 7: cancelled after ")
