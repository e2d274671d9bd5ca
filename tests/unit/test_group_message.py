"""The message of a group: its text, its place, and until when it is checked."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifiers.slack import group as slack_group
from notifiers.slack.message import slack_length
from operations.model import LiveMessage, MessageRef, Operation, State, Tracking
from operations.telling import group_message
from operations.telling.audience import Rule, Rules
from operations.telling.group_message import AGAIN_FOR, AGAIN_S, GroupMessage, GroupShown
from operations.telling.groups import SETTLE
from operations.telling.live import Written
from tests.unit.strategies import NOW, a_delivery, a_tracking, apps
from tests.unit.test_slack_message import ACTIVE, HOSTILE, check, check_escaped, check_inert, contexts, huge, nasty

RULES: Rules = {"deploys": Rule(live=True), "shops": Rule(live=True, apps=("shop*",)), "quiet": Rule()}
POSTED = MessageRef(channel="C1", ts="1.0001")


def at(second: float) -> datetime:
    return NOW + timedelta(seconds=second)


def member(number: int, state: State = State.TRACKING, app: str = "shop", error: str = "", **more: Any) -> Tracking:
    """Return a member that joined at so many seconds and, unless in flight, ended 10 s later."""
    ended = state is not State.TRACKING
    status = {State.SUCCEEDED: "done", State.FAILED: "error"}.get(state, "running")
    fields: dict[str, Any] = {
        "id": f"osc-fr1-{number:024x}",
        "app": app,
        "group": "build 7",
        "created_at": at(number),
        "state": state,
        "operation": Operation(status=status, type="restart", error=error or None),
        "next_look_at": None if ended else at(number),
        "ended_at": at(number + 10) if ended else None,
        "duration_s": 10.0 if ended else None,
        "last_polled_at": at(number),
    }
    return a_tracking(**{**fields, **more})


def shown(*members: Tracking, second: float = 60, target: str = "deploys", telling: bool = False) -> GroupMessage:
    made = group_message.compose(members[0], members, target, RULES, at(second), telling=telling)
    assert made is not None
    return made


def lines(*members: Tracking, second: float = 60) -> list[str]:
    """List the lines of all sections."""
    blocks = slack_group.message(shown(*members, second=second))["blocks"]
    return [line for block in blocks if block["type"] == "section" for line in block["text"]["text"].split("\n")]


@pytest.mark.parametrize(
    ("states", "size", "headline"),
    [
        ("ss", None, "✅ *build 7*: *succeeded after 11\u00a0s* (2 succeeded)"),
        ("sf", None, "❌ *build 7*: *failed after 11\u00a0s* (1 failed, 1 succeeded)"),
        ("flt", 3, "❌ *build 7*: *failed after 12\u00a0s* (1 failed, 1 end unknown, 1 not finished)"),
        ("ls", None, "❓ *build 7*: *end unknown after 11\u00a0s* (1 end unknown, 1 succeeded)"),
        ("ts", None, "⏱️ *build 7*: *not finished after 11\u00a0s* (1 not finished, 1 succeeded)"),
        ("cs", None, "⏹️ *build 7*: *cancelled after 11\u00a0s* (1 cancelled, 1 succeeded)"),
        ("..", None, "🔄 *build 7*: *0 of 2 ended* after 1\u00a0min"),
        ("f.", None, "🔄 *build 7*: *1 of 2 ended* after 1\u00a0min (1 failed, 1 under way)"),
        ("ss", 4, "🔄 *build 7*: *2 of 4 ended* after 1\u00a0min (2 succeeded), 2 not begun"),
    ],
)
def test_the_headline_says_how_all_of_it_stands(states: str, size: int | None, headline: str) -> None:
    known = {"s": State.SUCCEEDED, "f": State.FAILED, "l": State.LOST, "t": State.TIMED_OUT, "c": State.CANCELLED}
    members = [member(n, known.get(each, State.TRACKING), group_size=size) for n, each in enumerate(states)]
    assert lines(*members)[0] == headline


def test_each_member_has_a_line_and_a_failure_its_cause() -> None:
    cause = "<!channel> *it* broke at https://example.com"
    failed = member(1, State.FAILED, "blog", error=f"{cause}\nmore")
    assert lines(member(0), failed, member(2, State.SUCCEEDED, "api"))[1:] == [
        "🔄 *shop*: restart *running for 1\u00a0min*",
        "❌ *blog*: restart *failed after 10\u00a0s*",
        cause,
        "✅ *api*: restart *succeeded after 10\u00a0s*",
    ]
    blocks = slack_group.message(shown(member(0), failed))["blocks"]
    (plain,) = (block["text"] for block in blocks if cause in json.dumps(block, ensure_ascii=False))
    assert plain == {"type": "plain_text", "text": cause, "emoji": False}  # it neither mentions nor links


def test_a_member_of_which_nothing_new_is_known_is_marked() -> None:
    silent = member(1, app="blog", last_error="503", unanswered_since=at(1), last_polled_at=at(50))
    assert lines(member(0), silent)[1:] == [
        "🔄 *shop*: restart *running for 1\u00a0min*",
        "🔄 *blog*: restart *running for 59\u00a0s*, ⚠️ last look failed",
    ]
    assert shown(member(0), silent).digest != shown(member(0), member(1, app="blog")).digest


def test_one_that_joined_late_is_named() -> None:
    before = member(0, State.SUCCEEDED)
    assert lines(before, member(40, app="blog"))[0].endswith(", reopened by blog")


def test_what_all_contexts_have_in_common_stands_below() -> None:
    made = shown(
        member(0, context={"actor": "jane", "commit": "abc", "only": "here"}),
        member(1, context={"actor": "jane", "commit": "def"}),
    )
    assert made.context == {"actor": "jane"}
    assert slack_group.message(made)["blocks"][-1]["elements"] == [
        {"type": "plain_text", "text": "by jane", "emoji": False}
    ]


def test_no_text_from_outside_is_markup_in_a_groups_message() -> None:
    for text in (HOSTILE[:80], *ACTIVE):
        states = (State.TRACKING, State.FAILED, State.SUCCEEDED)
        members = [
            member(number, state, error=text, group=text, context={"note": text}, last_error=text)
            for number, state in enumerate(states)
        ]
        check_inert(slack_group.message(shown(*members)))


@pytest.mark.parametrize("count", [2, 30, 31, 60, 1000])
@pytest.mark.parametrize(
    ("state", "fields"),
    [
        (State.SUCCEEDED, {}),
        (State.FAILED, {"group": "&" * 200, "app": "a" * 63, "error": "<💥" * 500}),
    ],
)
def test_a_message_stays_within_slacks_limits_and_counts_what_it_leaves_out(
    count: int, state: State, fields: dict[str, Any]
) -> None:
    members = [member(number, state, **fields) for number in range(count)]
    message = slack_group.message(shown(*members, second=5000))
    texts = [block["text"]["text"] for block in message["blocks"]]
    assert len(texts) <= 50
    assert max(map(slack_length, texts)) <= 3000
    assert sum(map(slack_length, texts)) < 6000
    assert slack_length(message["text"]) < 4000
    told = sum(text.count("*: restart *") for text in texts)
    left = f"and {count - told} more: {count - told} {state}"
    assert (told == count) or texts[-1].endswith(left)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(State), apps, nasty, nasty.map(lambda text: text or None)), min_size=2, max_size=45
    ),
    huge.map(lambda text: text[:200] or "x"),
    contexts,
)
def test_any_group_keeps_to_slacks_limits_and_pings_nobody(
    drawn: list[tuple[State, str, str, str | None]], name: str, context: dict[str, str]
) -> None:
    members = [
        member(
            number,
            state,
            app,
            group=name,
            context=context,
            operation=Operation(status=text, type=text, error=error),
            last_error=error,
        )
        for number, (state, app, text, error) in enumerate(drawn)
    ]
    built = slack_group.message(shown(*members, second=50))
    check(built)
    check_escaped(built)


def test_the_failures_of_a_long_group_are_not_among_those_left_out() -> None:
    members = [member(number, State.SUCCEEDED) for number in range(200)]
    members[150] = member(150, State.FAILED, "blog")
    assert lines(*members, second=900)[1].startswith("❌ *blog*")


@pytest.mark.parametrize(("count", "first"), [(10, "✅"), (11, "❌")])
def test_in_a_long_group_failures_come_first(count: int, first: str) -> None:
    members = [member(number, State.SUCCEEDED) for number in range(count - 1)]
    shown_lines = lines(*members, member(count, State.FAILED, "blog"), second=900)
    assert shown_lines[1].startswith(first)
    assert any(line.startswith("❌ *blog*") for line in shown_lines)


def test_the_digest_changes_with_what_is_shown_and_not_with_time() -> None:
    pair = member(0), member(1)
    digest = shown(*pair).digest
    assert shown(*pair, second=90).digest == digest
    running = replace(pair[1], operation=Operation(status="stopping", type="restart"))
    for changed in (running, member(1, State.SUCCEEDED), replace(pair[1], run=2), replace(pair[1], group_size=3)):
        assert shown(pair[0], changed).digest != digest
    assert shown(*pair, member(2)).digest != digest
    over = member(0, State.SUCCEEDED), member(1, State.SUCCEEDED)
    assert shown(*over, second=12).digest != shown(*over, second=60).digest  # it has become final
    assert shown(over[0], second=12).digest == shown(over[0], second=60).digest  # a single member shows nothing new


def test_a_target_sees_only_the_members_it_is_told_of() -> None:
    both = member(0, State.SUCCEEDED, group_size=2), member(1, app="blog")
    assert [each.app for each in shown(*both, target="shops").group.members] == ["shop"]
    assert (
        shown(*both, target="shops").group.state is State.SUCCEEDED
    )  # it does not wait for members that it is not told about
    assert group_message.compose(both[1], both, "shops", RULES, NOW) is None
    assert group_message.compose(both[0], both, "quiet", RULES, NOW) is None
    assert group_message.compose(member(9), both, "deploys", RULES, NOW) is None


def test_the_newest_word_on_where_the_message_stands_counts() -> None:
    old = LiveMessage(target="deploys", run=1, posted=POSTED, group_digest="x", shown_at=at(1))
    new = replace(old, posted=MessageRef(channel="C1", ts="2.0002"), shown_at=at(2))
    others = replace(new, target="shops", shown_at=at(3)), replace(new, group_digest=None, shown_at=at(4))
    made = shown(member(0, live=(new, *others)), member(1, live=(old,)))
    assert group_message.last_written(made, "deploys") == new
    assert group_message.last_written(shown(member(0)), "deploys") is None


@pytest.mark.parametrize(
    ("states", "age_s", "says", "expected"),
    [("..", 19, "", True), ("..", 20, "", False), ("..", 1, "what was", False), ("ss", 3000, "", True)],
)
def test_a_message_is_up_to_date_that_says_it_all_and_counts_the_time(
    states: str, age_s: float, says: str, *, expected: bool
) -> None:
    members = [member(n, State.SUCCEEDED if each == "s" else State.TRACKING) for n, each in enumerate(states)]
    made = shown(*members, second=4000)
    there = LiveMessage(
        target="deploys",
        run=1,
        posted=POSTED,
        group_digest=says or made.digest,
        shown_at=made.now - timedelta(seconds=age_s),
    )
    assert group_message.up_to_date(made, there) is expected
    assert not group_message.up_to_date(made, None)


def test_an_outcome_that_was_told_is_looked_at_again_until_the_group_is_final() -> None:
    one, other = member(0, State.SUCCEEDED), member(1)
    delivery = a_delivery(target="deploys")

    def due_at(*members: Tracking, second: float) -> datetime | None:
        made = shown(*members, second=second)
        written = GroupShown(Written(POSTED, "own", made.digest), made.group)
        after = group_message.told(members[0], delivery, written, at(second))
        (message,) = after.live
        assert (message.posted, message.group_digest, message.shown_at) == (POSTED, made.digest, at(second))
        return message.due_at

    assert due_at(one, second=11) == at(10) + SETTLE
    assert due_at(one, second=25) is None
    assert due_at(one, other, second=60) == at(60 + AGAIN_S)
    assert due_at(one, other, second=10 + AGAIN_FOR.total_seconds()) is None
    assert due_at(replace(one, group_size=1), second=11) is None
    assert (
        due_at(replace(one, run=2, state=State.TRACKING, ended_at=None), second=60) is None
    )  # its next run has started


def test_what_says_it_all_already_is_left_as_others_have_left_it() -> None:
    mine = LiveMessage(target="deploys", run=1, due_at=at(60))
    one = member(0, live=(mine,))
    made = shown(one, member(1))
    there = LiveMessage(target="deploys", run=1, posted=POSTED, group_digest=made.digest, shown_at=at(59))
    after = group_message.passed_over(one, mine, made, there, 3)
    assert after is not None
    (left,) = after.live
    assert (left.posted, left.group_digest, left.shown_at, left.due_at) == (POSTED, made.digest, at(59), at(80))
    assert group_message.passed_over(after, mine, made, there, 3) is None
    ended = member(0, State.CANCELLED, live=(mine,))
    after = group_message.passed_over(ended, mine, shown(ended, second=12), there, 3)
    assert after is not None
    assert [m.due_at for m in after.live] == [at(10) + SETTLE]
