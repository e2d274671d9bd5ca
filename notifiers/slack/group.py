"""The Slack message that shows the operations of one deploy. Pure.

It has the same types of blocks as the message of a single operation.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from notifiers import Announcement, GroupMessage, State, Tracking, announce, group_wording, wording
from notifiers.slack import live as slack_live
from notifiers.slack import message as slack_message
from notifiers.slack.message import context_block, inert, section, slack_length, unmarked

LINES_LIMIT = 1_750
MOST_CAUSES = 10
"""With the longest context, the message stays below 6,000 characters and 50 blocks."""


def message(shown: GroupMessage, pinged: str = "", since: str = "", notified: str = "") -> dict[str, Any]:
    """Build the message. `pinged` is a mention before it, `since` what is added to its headline, both as markup.

    `notified` is `since` for notifications, which may not show Slack's dates.
    """
    mark, name = wording.MARKS[shown.group.state], inert(group_wording.name(shown))
    short, detail = map(inert, group_wording.headline(shown.group, shown.now))
    first = section(f"{pinged}{mark} *{name}*: *{short}*{detail}{since}")
    blocks = [first, *_members(shown), *context_block(shown.context)]
    text = f"{pinged}{mark} {name}: {short}{detail}{notified}"
    return {"text": text, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def whole(announcement: Announcement, mention: str | None = None) -> dict[str, Any]:
    """Build a message of its own, about one operation or a whole group."""
    if announcement.closing is None:
        return slack_message.message(announcement, mention)
    pinged = f"{mention} " if mention else ""
    since = wording.compared(announcement, slack_message.dated)
    return message(announcement.closing, pinged, since, wording.compared(announcement))


def final(announcement: Announcement) -> dict[str, Any]:
    """Build the last version of a live message."""
    return slack_live.outcome_message(announcement) if announcement.closing is None else whole(announcement)


def reply(announcement: Announcement, mention: str | None = None) -> dict[str, Any]:
    """Build the reply to a live message."""
    if announcement.closing is None:
        return slack_live.reply(announcement, mention)
    return {**whole(announcement, mention), "reply_broadcast": True}


def _members(shown: GroupMessage) -> Iterator[dict[str, Any]]:
    """Build the lines of the members, with the first line of each cause. Those without room are counted."""
    lines, causes, told, room = list[str](), 0, 0, LINES_LIMIT
    for member in shown.one_by_one[: group_wording.MOST_LINES]:
        line, cause = _line(shown, member)
        room -= slack_length(line)
        if room < 0:
            break
        told += 1
        lines.append(line)
        if cause and causes < MOST_CAUSES:
            causes += 1
            yield section("\n".join(lines))
            yield {"type": "section", "text": unmarked(cause)}
            lines = []
    lines += group_wording.together(shown, told, inert)
    if lines:
        yield section("\n".join(lines))


def _line(shown: GroupMessage, member: Tracking) -> tuple[str, str]:
    """Write a member's line with markup, and the first line of its cause without."""
    if "environment" in shown.context:  # then the headline names it
        member = replace(member, context={})
    if member.state is State.TRACKING:
        progress = shown.progress(member)
        unseen = f", {wording.ALERT_MARK} last look failed" if progress.trouble is not None else ""
        return slack_live.progress_line(progress) + unseen, ""
    outcome = announce(member)
    return slack_message.outcome_line(outcome), wording.short_cause(outcome, group_wording.CAUSE_LIMIT)
