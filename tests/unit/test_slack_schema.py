"""Every message has blocks by Slack's own types; all versions of a live one have the same types."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifiers.slack import message as slack_message
from operations.telling.announcement import Announcement
from operations.telling.progress import Progress
from tests.support.block_kit import page
from tests.support.slack_samples import FAILED, LOST, RUNNING, SUCCEEDED, TIMED_OUT, samples
from tests.unit.strategies import apps, usuals
from tests.unit.test_slack_message import (
    ACTIVE,
    HOSTILE,
    announcements,
    check,
    check_escaped,
    check_inert,
    contexts,
    nasty,
)

SCHEMA = json.loads((Path(__file__).parents[1] / "support" / "slack_blocks.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)

progresses = st.builds(
    Progress,
    app=apps,
    type=st.none() | nasty,
    status=nasty | st.sampled_from(["pending", "running"]),
    age_s=st.floats(0, 1e6),
    usual=st.none() | usuals,
    trouble=st.none() | nasty,
    slow=st.booleans(),
    over=st.booleans(),
    context=contexts,
)


def check_schema(message: dict[str, Any]) -> None:
    """Assert that the blocks match the schema, and that the method knows all other fields."""
    VALIDATOR.validate({key: message[key] for key in ("text", "blocks")})
    assert set(message) <= {"text", "blocks", "unfurl_links", "unfurl_media", "reply_broadcast"}


@pytest.mark.parametrize("what", samples())
def test_each_kind_of_message_is_as_slack_declares_it(what: str) -> None:
    check_schema(samples()[what])


@pytest.mark.parametrize("wrong", [
    {"type": "section", "text": "bare"},
    {"type": "section", "text": {"type": "mrkdwn", "text": "x", "emoji": True}},
    {"type": "context", "elements": [{"type": "text", "text": "x"}]},
    {"type": "rich_text", "elements": [{"type": "rich_text_preformatted", "elements": ["x"]}]},
    {"type": "paragraph"},
])  # fmt: skip
def test_the_schema_refuses_what_slack_would(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema_rs.ValidationError):
        check_schema({"text": "", "blocks": [wrong]})


@settings(max_examples=40)
@given(announcements)
def test_any_outcome_keeps_to_slacks_limits_in_place_and_in_a_reply(announcement: Announcement) -> None:
    check_schema(slack_message.message(announcement, "<!here>"))
    for built in (slack_message.final_message(announcement), slack_message.reply(announcement)):
        check_schema(built)
        check(built)
        check_escaped(built)


@settings(max_examples=60)
@given(progresses)
def test_any_progress_keeps_to_slacks_limits_and_pings_nobody(progress: Progress) -> None:
    built = slack_message.live_message(progress)
    check_schema(built)
    check(built)
    check_escaped(built)


def test_no_version_of_a_live_message_has_a_block_that_slack_lets_nothing_replace() -> None:
    versions = (RUNNING, replace(RUNNING, trouble="503"), replace(RUNNING, over=True))
    progress = [slack_message.live_message(each) for each in versions]
    outcomes = [slack_message.final_message(each) for each in (SUCCEEDED, FAILED, TIMED_OUT, LOST)]
    kinds = {block["type"] for built in [*progress, *outcomes] for block in built["blocks"]}
    assert kinds == {"section", "context"}


@pytest.mark.parametrize(
    ("mention", "broadcast"),
    [
        (None, True), ("<@U1>", False), ("<!subteam^S1>", False), ("<!subteam^S1|@ops>", False), ("<!here>", True),
        ("<!channel>", True), ("<!everyone>", True), ("<@U1> <!here>", True),
    ],
)  # fmt: skip
def test_a_reply_is_shown_in_the_channel_unless_its_mention_works_in_a_thread(
    mention: str | None,
    broadcast: bool,  # noqa: FBT001
) -> None:
    assert slack_message.reply(FAILED, mention)["reply_broadcast"] is broadcast


def test_no_text_from_outside_is_markup_in_a_live_message() -> None:
    for text in (HOSTILE, *ACTIVE):
        for progress in (replace(RUNNING, type=text, status=text, trouble=text), replace(RUNNING, context={"a": text})):
            check_inert(slack_message.live_message(replace(progress, usual=None, over=False)))
        outcome = replace(FAILED, type=text, error=text, context={"environment": text})
        for built in (slack_message.final_message(outcome), slack_message.reply(outcome)):
            check_inert(built)


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (RUNNING, "🔄 shop (production): restart running for 42\u00a0s (usually 15–20\u00a0s)"),
        (
            replace(RUNNING, status="pending", waiting=True, usual=None),
            "🕐 shop (production): restart pending for 42\u00a0s",
        ),
        (
            replace(RUNNING, type=None, status=""),
            "🔄 shop (production): operation under way for 42\u00a0s (usually 15–20\u00a0s)",
        ),
        (
            replace(RUNNING, slow=True),
            "⏳ shop (production): restart still running after 42\u00a0s (usually 15–20\u00a0s)",
        ),
        (replace(RUNNING, over=True, trouble="503"), "⏹️ shop (production): restart cancelled after 42\u00a0s"),
        (
            replace(RUNNING, trouble="<503>\nand more", usual=None),
            "🔄 shop (production): restart running for 42\u00a0s. ⚠️ &lt;503&gt;; still tracking",
        ),
    ],
)
def test_how_an_operation_goes_is_said_in_one_line(progress: Progress, said: str) -> None:
    assert slack_message.live_message(progress)["text"] == said


def test_messages_can_be_looked_at() -> None:
    drawn = page(samples())
    assert "<b>failed after 58\u00a0s</b> (usually 15–20\u00a0s)" in drawn
    assert '<span class="mention">@here</span>' in drawn
    assert "&lt;!channel&gt; &amp; *bold* `code` red" in drawn
