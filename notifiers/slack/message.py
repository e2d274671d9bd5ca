"""Slack messages in Block Kit, within Slack's limits. Pure.

https://docs.slack.dev/reference/block-kit/blocks and https://docs.slack.dev/messaging/formatting-message-text

All versions of a live message have the same types of blocks: Slack refuses to replace a `rich_text` block by another
type (`block_mismatch`). So the whole error text, which needs such a block, is in a reply.
https://docs.slack.dev/reference/methods/chat.update
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from notifiers import (
    Announcement,
    GroupMessage,
    Progress,
    Verdict,
    context_wording,
    first_line,
    group_wording,
    plain,
    progress_wording,
    wording,
)
from notifiers.slack.blocks import MARKUP, context_block, inert, links, section, slack_length, unmarked

ERROR_LIMIT = 2_300
FIRST_LINE_LIMIT = 300
TROUBLE_LIMIT = 150
LINES_LIMIT = 1_750
MOST_CAUSES = 10
"""Of a group. With the longest context, its message stays below 6,000 characters and 50 blocks."""

_ALERTS_OWN = re.compile(r"[a-z ]{1,40}`[a-z0-9][a-z0-9_-]{0,40}`")
_WHOLE_CHANNEL = re.compile(r"<!(?!subteam)")


def message(announcement: Announcement, mention: str | None = None) -> dict[str, Any]:
    """Build the whole message: blocks for the channel, `text` for notifications and screen readers."""
    pinged = f"{mention} " if mention else ""
    return _message(pinged + fallback_text(announcement), _blocks(announcement, pinged))


def plain_message(announcement: Announcement, mention: str | None = None) -> dict[str, Any]:
    """Build the message without blocks, in case Slack refuses them. Links and the group's name are in its last line."""
    full = message(announcement, mention)
    group = (inert(f"{name}: {value}") for name, value in context_wording.other_context({}, announcement.group))
    below = " · ".join(filter(None, [links(announcement.context, announcement.links), *group]))
    del full["blocks"]
    return {**full, "text": f"{full['text']}\n{below}" if below else full["text"]}


def live_message(shown: Progress | GroupMessage) -> dict[str, Any]:
    """Build the live message that shows the progress of an operation, or the operations of one deploy."""
    if isinstance(shown, GroupMessage):
        line = f"{wording.MARKS[shown.group.state]} {group_wording.line(shown, MARKUP)}"
        return _message(line.replace("*", ""), [section(line), *_members(shown), *context_block(shown.context)])
    line = progress_wording.line(shown, MARKUP)
    blocks, text = [section(line)], line.replace("*", "")
    if shown.trouble is not None and not shown.over:
        trouble = f"{wording.ALERT_MARK} {inert(first_line(plain(shown.trouble), TROUBLE_LIMIT))}; still tracking"
        blocks.append(section(trouble))
        text += f". {trouble}"
    return _message(text, [*blocks, *context_block(shown.context, shown.links, shown.group)])


def final_message(announcement: Announcement) -> dict[str, Any]:
    """Build the last version of a live message: the verdict, and the first line of the cause; or the whole group."""
    if announcement.closing is not None:
        return message(announcement)
    blocks = [section(wording.outcome(announcement, MARKUP))]
    if cause := wording.short_cause(announcement, FIRST_LINE_LIMIT):
        blocks.append({"type": "section", "text": unmarked(cause)})
    blocks += context_block(announcement.context, announcement.links, announcement.group)
    return _message(fallback_text(announcement), blocks)


def reply(announcement: Announcement, mention: str | None = None) -> dict[str, Any]:
    """Build the reply to a live message: the whole error text, the links and the group's name; or the whole group.

    A reply alone notifies nobody, and `<!here>` in a thread only those who follow it. So the reply is also shown in the
    channel, unless it mentions a user or a group of users about one operation.
    """
    if announcement.closing is not None:
        return {**message(announcement, mention), "reply_broadcast": True}
    linked = {name: value for name, value in announcement.context.items() if name in ("environment", "url")}
    pinged = mention is not None and not _WHOLE_CHANNEL.search(mention)
    return {**message(replace(announcement, context=linked), mention), "reply_broadcast": not pinged}


def went_well(announcement: Announcement) -> bool:
    """Tell whether the live message alone is enough, without a reply."""
    if announcement.closing is not None:
        return not wording.went_wrong(announcement)
    return announcement.ended and announcement.alert is None and announcement.verdict is Verdict.SUCCEEDED


def fallback_text(announcement: Announcement) -> str:
    """Write app, operation, verdict, duration and the error's first line in one escaped line, below an alert if any."""
    cause = wording.short_cause(announcement, FIRST_LINE_LIMIT)
    outcome = inert(wording.outcome(announcement) + (f": {cause}" if cause else ""))
    if announcement.alert is None:
        return outcome
    return _alert_line(announcement) + (f"\n{outcome}" if announcement.ended else "")


def _alert_line(announcement: Announcement) -> str:
    """Write an alert, with markup: only the name of a target at its beginning is code."""
    alert = announcement.alert or ""
    own = _ALERTS_OWN.match(alert)
    begun = own[0] if own else ""
    return f"{wording.alert_mark(announcement)} {begun}{inert(alert[len(begun) :])}"


def _message(text: str, blocks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"text": text, "blocks": list(blocks), "unfurl_links": False, "unfurl_media": False}


def _blocks(announcement: Announcement, pinged: str) -> Iterator[dict[str, Any]]:
    if announcement.alert is not None:
        yield section(pinged + _alert_line(announcement))
        pinged = ""
    told = announcement.ended or announcement.slow
    if told:
        yield section(pinged + wording.outcome(announcement, MARKUP))
    if announcement.closing is not None:
        yield from _members(announcement.closing)
    elif told and (cause := wording.shortened(wording.shown_cause(announcement), ERROR_LIMIT, slack_length)):
        text = {"type": "text", "text": cause}
        yield {"type": "rich_text", "elements": [{"type": "rich_text_preformatted", "elements": [text]}]}
    yield from context_block(announcement.context, announcement.links, announcement.group)


def _members(shown: GroupMessage) -> Iterator[dict[str, Any]]:
    """Build the lines of the members, with the first line of each cause. Those without room are counted."""
    lines, causes, told, room = list[str](), 0, 0, LINES_LIMIT
    for line, cause in group_wording.members(shown, MARKUP):
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
