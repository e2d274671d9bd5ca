"""The record of a group: when it is closed, who is told, and what a closing message says."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifiers.console import Console
from notifiers.email import Email
from notifiers.slack import message as slack_message
from operations.model import DeliveryState, LiveMessage, MessageRef, Operation, State, Tracking, Verdict
from operations.telling import audience, closing, group_record
from operations.telling.announcement import BODY_LIMIT_BYTES, Announcement
from operations.telling.audience import TOLD_WITH_GROUP, Rule, Rules
from operations.telling.group_record import CHECK_EVERY_S, Checked
from operations.telling.groups import SETTLE, WAIT_FOR_MORE
from tests.unit.strategies import a_delivery, apps
from tests.unit.test_group_message import at, member
from tests.unit.test_messages import (
    CHATS,
    CONTROL,
    MAIL,
    MENTIONS,
    PINGS,
    UNMENTIONING,
    chat,
    check_discord,
    check_teams,
    contexts,
    hostile,
    monsters,
    shown,
    strings,
)
from tests.unit.test_slack_message import check, check_escaped

RULES: Rules = {
    "chat": Rule(groups="closing"),
    "hook": Rule(groups="each"),
    "both": Rule(groups="both"),
    "shops": Rule(apps=("shop*",), groups="closing"),
    "failures": Rule(on=frozenset({Verdict.FAILED}), groups="closing"),
    "live": Rule(live=True, groups="closing"),
}
ENDED = [state for state in State if state is not State.TRACKING]
POSTED = MessageRef(channel="C1", ts="1.0001")


def told(number: int, state: State, app: str = "shop", *, rules: Rules = RULES, **more: Any) -> Tracking:
    """Return a member that has ended, with its deliveries: those to be sent were."""
    ended = member(number, state, app, **more)
    assert ended.ended_at is not None
    planned = audience.deliveries(ended, Verdict(state), rules, ended.ended_at)
    sent = (replace(d, state=DeliveryState.DELIVERED) if d.unfinished else d for d in planned)
    return replace(ended, deliveries=tuple(sent))


def checked(
    members: Sequence[Tracking], second: float, record: Tracking | None = None, rules: Rules = RULES
) -> Checked:
    known = record or group_record.begun("build 7", members, at(second))
    return group_record.checked(known, members, rules, at(second))


def announced(result: Checked, target: str) -> Announcement:
    (delivery,) = (d for d in result.record.deliveries if d.target == target and d.run == result.record.run)
    return closing.read(result.record, delivery, result.body)


def targets(result: Checked) -> list[str]:
    return [d.target for d in result.record.deliveries if d.run == result.record.run]


def test_a_success_waits_for_its_group_where_the_rule_says_so_and_a_failure_does_not() -> None:
    states = {d.target: (d.state.value, d.last_error) for d in told(0, State.SUCCEEDED).deliveries}
    with_group = ("skipped", TOLD_WITH_GROUP)
    assert states == {
        "chat": with_group,
        "hook": ("delivered", None),
        "both": ("delivered", None),
        "shops": with_group,
        "failures": ("skipped", None),
        "live": with_group,
    }
    assert {d.state for d in told(0, State.FAILED).deliveries} == {DeliveryState.DELIVERED}
    alone = {d.state for d in told(0, State.SUCCEEDED, group=None).deliveries if d.target != "failures"}
    assert alone == {DeliveryState.DELIVERED}


def test_a_target_that_is_named_after_the_end_is_told_at_once() -> None:
    late = audience.also_told(told(0, State.SUCCEEDED, rules={}), ("chat",), RULES, at(99))
    assert [(d.target, d.state) for d in late.deliveries] == [("chat", DeliveryState.PENDING)]


def test_an_open_group_is_checked_again_and_a_final_one_is_closed_once() -> None:
    members = [told(0, State.SUCCEEDED), told(1, State.FAILED, "blog")]
    still = checked([members[0], member(1)], 30)
    assert (still.record.state, still.next_at) == (State.TRACKING, at(30 + CHECK_EVERY_S))
    waiting = [told(0, State.SUCCEEDED, group_size=3), told(1, State.FAILED, "blog", group_size=3)]
    last_check = 11 + WAIT_FOR_MORE.total_seconds() - 60
    assert checked(waiting, last_check).next_at == at(11) + WAIT_FOR_MORE  # no later than promised
    settling = checked(members, 12)
    assert settling.next_at == at(11) + SETTLE
    done = checked(members, 11 + SETTLE.total_seconds(), settling.record)
    assert (done.record.state, done.next_at, done.record.run) == (State.FAILED, None, 1)
    assert targets(done) == ["chat", "both", "shops", "failures", "live"]
    again = checked(members, 90, done.record)
    assert (again.record.deliveries, again.next_at, again.body) == (done.record.deliveries, None, b"")


def test_each_target_is_told_about_its_own_members_alone() -> None:
    members = [told(0, State.SUCCEEDED, group_size=2), told(1, State.FAILED, "secret", error="it broke")]
    done = checked(members, 12)
    for target, verdict, names in (("chat", "failed", ["secret", "shop"]), ("shops", "succeeded", ["shop"])):
        told_so = announced(done, target)
        assert told_so.closing is not None
        assert [m.app for m in told_so.closing.group.worst_first] == names
        assert told_so.delivery_id == f"{done.record.id}_1_{verdict}_{target}"
        assert told_so.verdict == verdict
    assert b"secret" not in announced(done, "shops").body
    quiet = [told(0, State.SUCCEEDED, group_size=1)]
    assert "failures" not in targets(checked(quiet, 12))


def test_nobody_is_told_of_a_group_that_was_cancelled_as_a_whole_but_of_one_that_was_in_part() -> None:
    cancelled = member(0, State.CANCELLED, group_size=1)
    assert targets(checked([cancelled], 12)) == []
    done = checked([replace(cancelled, group_size=2), told(1, State.SUCCEEDED)], 12)
    said = announced(done, "chat")
    assert json.loads(said.body)["type"] == "group.cancelled"
    assert (done.record.state, said.quiet) == (State.CANCELLED, True)
    assert checked([], 12).record.state is State.CANCELLED


def test_one_that_joins_late_or_starts_again_gives_another_closing_to_those_who_are_told_about_it() -> None:
    first = told(0, State.SUCCEEDED, group_size=1)
    done = checked([first], 12)
    late = member(40, app="blog")
    opened = checked([first, late], 50, done.record)
    assert (opened.record.state, opened.record.run, opened.next_at) == (State.TRACKING, 2, at(50 + CHECK_EVERY_S))
    both = [first, told(40, State.SUCCEEDED, "blog")]
    for record in (opened.record, done.record):  # it may end before a check sees it
        closed = checked(both, 51, record)
        assert (closed.record.run, targets(closed)) == (2, ["chat", "both", "live"])  # not `shops`
        assert announced(closed, "chat").delivery_id.endswith("_2_succeeded_chat")
    again = told(60, State.FAILED, id=first.id, run=2)
    assert checked([again], 75, done.record).record.run == 2
    assert checked([first], 75, done.record).record.run == 1


def test_a_promised_member_that_never_comes_is_not_waited_for_for_ever() -> None:
    members = [told(0, State.SUCCEEDED, group_size=3), told(1, State.SUCCEEDED)]
    waits = checked(members, 11 + WAIT_FOR_MORE.total_seconds() - 1)
    assert waits.record.state is State.TRACKING
    done = checked(members, 11 + WAIT_FOR_MORE.total_seconds(), waits.record)
    assert "chat" in targets(done)


def test_a_rule_that_has_changed_since_loses_nothing() -> None:
    members = [told(0, State.SUCCEEDED, group_size=1)]
    done = checked(members, 12, rules={"chat": Rule(groups="each", apps=("other",))})
    assert targets(done) == ["chat", "live", "shops"]  # two are gone from the settings, and will end dead
    assert announced(done, "chat").verdict is Verdict.SUCCEEDED


@given(st.integers(1, 150), st.integers(0, 9_000), st.sampled_from([State.FAILED, State.SUCCEEDED]))
def test_a_webhook_gets_the_group_in_less_than_20_kb_the_worst_first(count: int, length: int, state: State) -> None:
    hooks = {"hook": Rule(groups="both")}
    members = [told(n, state, f"app-{n}", rules=hooks, error="x" * length) for n in range(count)]
    members[-1] = told(count - 1, State.FAILED, "worst", rules=hooks, error="y" * length)
    done = checked(members, count + 60, rules=hooks)
    body = announced(done, "hook").body
    assert len(body) < BODY_LIMIT_BYTES
    event = json.loads(body)
    data = event["data"]
    assert (event["type"], data["state"], data["group"]) == ("group.failed", "failed", "build 7")
    assert sum(data["counts"].values()) == count == len(data["members"]) + data["members_left_out"]
    if state is State.SUCCEEDED:
        assert "worst" in [each["app"] for each in data["members"]]
    assert body == announced(done, "hook").body


def test_only_one_of_several_calls_somebody() -> None:
    def failed(number: int, state: DeliveryState, *, quiet: bool = False) -> Tracking:
        delivery = a_delivery(target="chat", run=1, verdict=Verdict.FAILED, state=state, quiet=quiet)
        return member(number, State.FAILED, deliveries=(delivery,))

    mine, group = member(5, State.FAILED), group_record.begun("build 7", [member(5)], at(9))
    for other, for_me, for_group in (
        (failed(1, DeliveryState.DELIVERED), True, True),
        (failed(9, DeliveryState.DELIVERED), True, True),
        (failed(1, DeliveryState.DELIVERED, quiet=True), False, False),
        (failed(1, DeliveryState.RETRYING), True, True),
        (failed(9, DeliveryState.PENDING), False, True),
        (failed(1, DeliveryState.DEAD), False, False),
        (failed(1, DeliveryState.SKIPPED), False, False),
        (told(1, State.SUCCEEDED), False, False),
    ):
        assert group_record.has_called([mine, other], mine, "chat") is for_me
        assert group_record.has_called([mine, other], group, "chat") is for_group
        assert not group_record.has_called([mine, other], mine, "elsewhere")


class TestLive:
    def test_the_message_begins_with_the_first_answer_and_follows_the_members(self) -> None:
        unseen = member(0, operation=None)
        assert checked([unseen], 1).record.live == ()
        begun = checked([member(0)], 2).record
        (message,) = begun.live
        assert (message.target, message.due_at, message.posted) == ("live", at(2), None)
        wanted = group_record.shown_to(begun, [member(0)], "live", RULES, at(2))
        assert wanted is not None
        written = replace(message, posted=POSTED, shows=wanted.digest, shown_at=at(3), due_at=at(23))
        begun = replace(begun, live=(written,))
        assert checked([member(0)], 4, begun).record.live == (written,)
        (hurried,) = checked([member(0), member(1)], 4, begun).record.live
        assert hurried.due_at == at(7)
        held = replace(begun, live=(replace(written, claim="x"),))
        assert checked([member(0), member(1)], 4, held).record.live == held.live

    def test_the_message_of_an_older_version_goes_on(self) -> None:
        theirs = LiveMessage(target="live", run=1, posted=POSTED)
        (message,) = checked([member(0, live=(theirs,))], 2).record.live
        assert message.posted == POSTED

    def test_the_closing_finishes_it_and_waits_for_who_is_at_it(self) -> None:
        message = LiveMessage(id="x", target="live", run=1, due_at=at(20), posted=POSTED, claim="x")
        begun = replace(group_record.begun("build 7", [member(0)], at(1)), live=(message,))
        done = checked([told(0, State.FAILED, group_size=1)], 12, begun).record
        assert [m.due_at for m in done.live] == [None]
        assert {d.target: d.next_attempt_at for d in done.deliveries}["live"] == at(20)
        late = [told(0, State.FAILED, group_size=1), member(40)]
        (after,) = checked(late, 50, done).record.live
        assert (after.run, after.posted, after.due_at, after.claim) == (2, POSTED, at(50), None)

    def test_it_is_finished_even_where_nobody_is_told(self) -> None:
        message = LiveMessage(id="x", target="live", run=1, due_at=at(30), posted=POSTED)
        begun = replace(group_record.begun("build 7", [member(0)], at(1)), live=(message,))
        done = checked([member(0, State.CANCELLED, group_size=1)], 12, begun)
        assert [m.due_at for m in done.record.live] == [at(12)]
        gone = replace(begun, live=(replace(message, posted=None),))
        done = checked([member(0, State.CANCELLED, group_size=1)], 12, gone)
        assert [m.due_at for m in done.record.live] == [None]


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.sampled_from(ENDED), apps, hostile, monsters), min_size=1, max_size=40),
    monsters.map(lambda text: text[:200] or "x"),
    contexts,
)
def test_any_closing_message_keeps_to_the_vendors_limits_and_calls_nobody(
    drawn: list[tuple[State, str, str, str]], name: str, context: dict[str, str]
) -> None:
    members = [
        member(n, state, app, context=context, group=name, operation=Operation(status="x", type=type_, error=error))
        for n, (state, app, type_, error) in enumerate(drawn)
    ]
    planned = a_delivery(target="chat", run=1, verdict=Verdict.FAILED, state=DeliveryState.DELIVERED)
    members[0] = replace(members[0], deliveries=(planned,))
    record = group_record.begun(name, members, at(9))
    said = announced(group_record.checked(record, members, RULES, at(999)), "chat")
    documents = {kind: notifier.document(said) for kind, notifier in UNMENTIONING.items()}
    for kind, document in documents.items():
        assert not PINGS.search(shown(kind, document)), kind
        assert not any(CONTROL.search(text) for text in strings(document))
    check_discord(documents["discord"])
    check_teams(documents["teams"])
    assert all(len(each["text"]) <= 5_000 for each in documents["mattermost"]["attachments"])
    built = slack_message.message(said)
    check(built)
    check_escaped(built)


@pytest.mark.parametrize("kind", CHATS)
def test_all_chats_say_the_same_of_a_group(kind: str) -> None:
    failed = told(1, State.FAILED, "blog", error="it broke")
    members = [told(0, State.SUCCEEDED), failed, told(2, State.SUCCEEDED, "api")]
    said = announced(checked(members, 30), "chat")
    text = re.sub(r"[*`]", "", shown(kind, chat(kind).document(said)))
    assert "❌ build 7: failed after 12\u00a0s (1 failed, 2 succeeded)" in text
    assert "❌ blog: restart failed after 10\u00a0s: it broke\n✅ 2 succeeded: shop, api" in text
    assert (MENTIONS[kind] in text.split("\n")[0]) is True
    assert MENTIONS[kind] not in shown(kind, chat(kind).document(replace(said, quiet=True)))


def test_the_console_and_mail_say_it_in_lines() -> None:
    who = {"actor": "jane"}
    members = [told(0, State.SUCCEEDED, context=who), told(1, State.FAILED, "blog", context=who)]
    said = announced(checked(members, 30), "chat")
    headline = "❌ build 7: failed after 11 s (1 failed, 1 succeeded)"
    lines = ["❌ blog: restart failed after 10 s: Scalingo gave no error text", "✅ 1 succeeded: shop"]
    assert Console().preview(said).splitlines() == [headline, *(f"    | {line}" for line in lines)]
    mail = Email.model_validate(MAIL).preview(said)
    assert f"Subject: {headline}" in mail
    assert mail.replace("\u00a0", " ").endswith("\n".join(["", headline, "", *lines, "", "actor: jane", ""]))
