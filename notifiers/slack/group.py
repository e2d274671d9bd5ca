"""The Slack message that shows the operations of one deploy, one line each. Pure.

It has the same types of blocks as the message of a single operation: one message can become the other when a second
operation joins.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from notifiers import (
    Group,
    GroupMessage,
    State,
    Tracking,
    announce,
    context_wording,
    first_line,
    group_wording,
    plain,
    wording,
)
from notifiers.slack import live as slack_live
from notifiers.slack import message as slack_message
from notifiers.slack.message import context_block, inert, section, slack_length, unmarked

LONG = 10
MOST_LINES = 30
LINES_LIMIT = 1_750
SECTION_LIMIT = 2_900
MOST_CAUSES, CAUSE_LIMIT = 10, 120
"""With the longest context, the message stays below 6,000 characters and 50 blocks."""


def message(shown: GroupMessage) -> dict[str, Any]:
    """Build the message; for a single operation, as if it had no group."""
    group = shown.group
    if shown.alone is not None:
        return _alone(shown, shown.alone)
    mark, name = wording.MARKS[group.state], inert(first_line(plain(group.name), context_wording.GROUP_LIMIT))
    short, detail = map(inert, group_wording.headline(group, shown.now))
    shared = wording.environment(shown.context)
    where = f" ({inert(shared)})" if shared else ""
    blocks = [section(f"{mark} *{name}*{where}: *{short}*{detail}"), *_members(shown), *context_block(shown.context)]
    text = f"{mark} {name}{where}: {short}{detail}"
    return {"text": text, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _alone(shown: GroupMessage, member: Tracking) -> dict[str, Any]:
    if member.state in (State.TRACKING, State.CANCELLED):
        return slack_live.progress_message(shown.progress(member))
    return slack_live.outcome_message(announce(member))


def _members(shown: GroupMessage) -> Iterator[dict[str, Any]]:
    """Build the members' lines, with the first line of each cause. Members without room are counted."""
    group, lines, causes, told = shown.group, list[str](), 0, 0
    room = LINES_LIMIT
    for member in _in_order(group)[:MOST_LINES]:
        line, cause = _line(shown, member)
        if slack_length(line) > room:
            break
        room, told = room - slack_length(line), told + 1
        lines.append(line)
        if cause and causes < MOST_CAUSES:
            causes += 1
            yield section("\n".join(lines))
            yield {"type": "section", "text": unmarked(cause)}
            lines = []
    if left := _left(group, told):
        lines.append(left)
    if lines:
        yield section("\n".join(lines))


def _in_order(group: Group) -> tuple[Tracking, ...]:
    """List the members: of a long group those that went wrong first, else in order of joining."""
    return group.worst_first if len(group.members) > LONG else group.members


def _left(group: Group, told: int) -> str:
    rest = _in_order(group)[told:]
    return f"and {len(rest)} more: {group_wording.tally(rest)}" if rest else ""


def _line(shown: GroupMessage, member: Tracking) -> tuple[str, str]:
    """Write a member's line with markup, and the first line of its cause without."""
    if "environment" in shown.context:  # then the headline names it
        member = replace(member, context={})
    if member.state in (State.TRACKING, State.CANCELLED):
        progress = shown.progress(member)
        unseen = progress.trouble is not None and not progress.over
        return slack_live.progress_line(progress) + (f", {wording.ALERT_MARK} last look failed" if unseen else ""), ""
    outcome = announce(member)
    return slack_message.outcome_line(outcome), wording.short_cause(outcome, CAUSE_LIMIT)
