"""The message of a group: what it says, and to whom."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifiers import group_wording, wording
from notifiers.slack import message as slack_message
from notifiers.slack.blocks import slack_length
from operations.model import Operation, State, Tracking, Verdict
from operations.telling import progress
from operations.telling.announcement import Announcement
from operations.telling.progress import GroupMessage
from tests.unit.strategies import NOW, a_tracking, apps
from tests.unit.test_slack_message import ACTIVE, HOSTILE, check, check_escaped, check_inert, contexts, huge, nasty


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


def shown(*members: Tracking, second: float = 60) -> GroupMessage:
    made = progress.compose("build 7", members, {m.id for m in members}, at(second))
    assert made is not None
    return made


def lines(*members: Tracking, second: float = 60) -> list[str]:
    """List the lines of all sections."""
    blocks = slack_message.live_message(shown(*members, second=second))["blocks"]
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


def test_who_went_wrong_comes_first_with_a_cause_and_who_succeeded_shares_a_line() -> None:
    cause = "<!channel> *it* broke at https://example.com"
    failed = member(1, State.FAILED, "blog", error=f"{cause}\nmore")
    good = (member(n, State.SUCCEEDED, app) for n, app in ((2, "api"), (3, "api"), (4, "cart")))
    told = shown(member(0), failed, *good, member(5, State.CANCELLED, "old"))
    assert "\n".join(group_wording.lines(told)).splitlines() == [
        f"❌ blog: restart failed after 10\u00a0s: {cause}",
        "🔄 shop: restart running for 1\u00a0min",
        "⏹️ 1 cancelled: old",
        "✅ 3 succeeded: api ×2, cart",  # noqa: RUF001 - a sign of multiplication
    ]
    blocks = slack_message.live_message(told)["blocks"]
    assert [line for block in blocks for line in block["text"]["text"].split("\n")][1:] == [
        "❌ *blog*: restart *failed after 10\u00a0s*",
        cause,
        "🔄 *shop*: restart *running for 1\u00a0min*",
        "⏹️ 1 cancelled: old",
        "✅ 3 succeeded: api ×2, cart",  # noqa: RUF001 - a sign of multiplication
    ]
    (plain,) = (block["text"] for block in blocks if cause in json.dumps(block, ensure_ascii=False))
    assert plain == {"type": "plain_text", "text": cause, "emoji": False}  # it neither mentions nor links


def test_who_works_again_or_has_only_started_is_said_behind_the_name() -> None:
    again = member(1, State.SUCCEEDED, "blog", failures_in_a_row=2)
    started = Operation(status="done", type=wording.ONE_OFF)
    told = shown(member(0, State.SUCCEEDED), again, member(2, State.SUCCEEDED, "jobs", operation=started))
    said = "✅ 3 succeeded: shop, blog (again after 2 failures), jobs (one-off started)"
    assert "\n".join(group_wording.lines(told)) == said
    assert slack_message.live_message(told)["blocks"][1]["text"]["text"] == said


def test_an_environment_makes_no_name_code() -> None:
    members = (member(n, State.SUCCEEDED, app, context={"environment": "qa"}) for n, app in ((0, "shop"), (1, "a_b")))
    told = shown(*members, member(2, State.SUCCEEDED, context={}))

    def safe(text: str) -> str:
        return text if text.isalnum() else f"`{text}`"

    assert list(group_wording.together(told, 0, safe)) == ["✅ 3 succeeded: shop (qa), `a_b` (qa), shop"]
    shared = shown(member(0, State.SUCCEEDED, context={"environment": "qa"}))
    assert group_wording.name(shared, safe) == "`build 7` (qa)"


def test_of_many_all_names_are_counted_that_have_no_room() -> None:
    told = shown(*(member(n, State.SUCCEEDED, f"an-app-with-a-long-name-{n}") for n in range(40)), second=900)
    (line,) = "\n".join(group_wording.lines(told)).splitlines()
    names = line.partition(": ")[2].split(", ")
    assert line.startswith("✅ 40 succeeded: an-app-with-a-long-name-0, an-app-")
    assert names[-1] == f"and {40 - len(names) + 1} more"
    assert len(line) < 600


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
    assert slack_message.live_message(made)["blocks"][-1]["elements"] == [
        {"type": "plain_text", "text": "by jane", "emoji": False}
    ]


def test_no_text_from_outside_is_markup_in_a_groups_message() -> None:
    for text in (HOSTILE[:80], *ACTIVE):
        states = (State.TRACKING, State.FAILED, State.SUCCEEDED)
        members = [
            member(number, state, error=text, group=text, context={"note": text}, last_error=text)
            for number, state in enumerate(states)
        ]
        check_inert(slack_message.live_message(shown(*members)))


@pytest.mark.parametrize("count", [2, 30, 31, 60, 1000])
@pytest.mark.parametrize(
    ("state", "fields"),
    [
        (State.SUCCEEDED, {}),
        (State.TRACKING, {}),
        (State.FAILED, {"group": "&" * 200, "app": "a" * 63, "error": "<💥" * 500}),
    ],
)
def test_a_message_stays_within_slacks_limits_and_counts_what_it_leaves_out(
    count: int, state: State, fields: dict[str, Any]
) -> None:
    members = [member(number, state, **fields) for number in range(count)]
    message = slack_message.live_message(shown(*members, second=5000))
    texts = [block["text"]["text"] for block in message["blocks"]]
    assert len(texts) <= 50
    assert max(map(slack_length, texts)) <= 3000
    assert sum(map(slack_length, texts)) < 6000
    assert slack_length(message["text"]) < 4000
    if state is not State.SUCCEEDED:
        told = sum(text.count("*: restart *") for text in texts)
        assert (told == count) or texts[-1].endswith(f"and {count - told} more: {count - told} {wording.WORDS[state]}")


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
    built = slack_message.live_message(shown(*members, second=50))
    check(built)
    check_escaped(built)


def test_a_late_closing_message_has_a_date_that_notifications_can_show() -> None:
    told = shown(member(0, State.FAILED))
    closing = Announcement(
        delivery_id="", body=b"", verdict=Verdict.FAILED, app="build 7", region="", operation_id="", type=None,
        error=None, reason=None, duration_s=10.0, context={}, at=NOW, ended_at=NOW, late_s=120.0, closing=told,
    )  # fmt: skip
    built = slack_message.message(closing)
    assert "ended <!date^" in built["blocks"][0]["text"]["text"]
    assert built["text"] == wording.headline(closing)


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


def test_a_target_sees_only_the_members_it_is_told_of() -> None:
    both = member(0, State.SUCCEEDED, group_size=2), member(1, app="blog")
    made = progress.compose("build 7", both, {both[0].id}, at(60))
    assert made is not None
    assert [each.app for each in made.group.members] == ["shop"]
    assert (made.group.state, made.group.size) == (State.TRACKING, None)  # the whole group has not ended
    ended = both[0], member(1, State.FAILED, "blog")
    made = progress.compose("build 7", ended, {both[0].id}, at(11))
    assert made is not None
    assert (made.group.state, made.group.size) == (State.SUCCEEDED, 1)
    assert progress.compose("build 7", both, (), at(60)) is None
