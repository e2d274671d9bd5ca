"""The live message in Slack, and the replies to it. Pure.

All versions have the same types of blocks: Slack refuses to replace a `rich_text` block by another type
(`block_mismatch`). So the whole error text, which needs such a block, is in a reply.
https://docs.slack.dev/reference/methods/chat.update
"""

import re
from dataclasses import replace
from typing import Any

from notifiers import Announcement, Progress, first_line, plain, progress_wording, wording
from notifiers.slack import message as slack_message
from notifiers.slack.message import (
    CONTEXT_LIMIT,
    FIRST_LINE_LIMIT,
    app_and_type,
    context_block,
    inert,
    section,
    unmarked,
)

_WHOLE_CHANNEL = re.compile(r"<!(?!subteam)")


def progress_message(progress: Progress) -> dict[str, Any]:
    """Build the message that shows the progress of an operation."""
    line = progress_line(progress)
    blocks, text = [section(line)], line.replace("*", "")
    if progress.trouble is not None and not progress.over:
        trouble = inert(first_line(plain(progress.trouble), CONTEXT_LIMIT))
        blocks.append(section(f"{wording.ALERT_MARK} {trouble}; still tracking"))
        text += f". {wording.ALERT_MARK} {trouble}; still tracking"
    return _message(text, [*blocks, *context_block(progress.context, progress.links, progress.group)])


def progress_line(progress: Progress) -> str:
    """Write the progress of an operation, with markup."""
    mark, said = progress_wording.progress_mark(progress), inert(progress_wording.progress(progress))
    return f"{mark} {app_and_type(progress)} *{said}*{progress_wording.usually(progress)}"


def outcome_message(announcement: Announcement) -> dict[str, Any]:
    """Build the final version of the message: the verdict, and the first line of the cause."""
    blocks = [section(slack_message.outcome_line(announcement))]
    if cause := wording.short_cause(announcement, FIRST_LINE_LIMIT):
        blocks.append({"type": "section", "text": unmarked(cause)})
    blocks += context_block(announcement.context, announcement.links, announcement.group)
    return _message(slack_message.fallback_text(announcement), blocks)


def reply(announcement: Announcement, mention: str | None = None) -> dict[str, Any]:
    """Build the reply with the whole error text, the links and the group's name.

    A reply alone notifies nobody, and `<!here>` in a thread only those who follow it. So the reply is also shown in the
    channel, unless it mentions a user or a group of users.
    """
    linked = {name: value for name, value in announcement.context.items() if name in ("environment", "url")}
    built = slack_message.message(replace(announcement, context=linked), mention)
    pinged = mention is not None and not _WHOLE_CHANNEL.search(mention)
    return {**built, "reply_broadcast": not pinged}


def _message(text: str, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"text": text, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}
