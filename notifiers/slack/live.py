"""What a Slack message says that is kept up to date, and the replies to it. Pure.

Every version of it is made of the same kinds of blocks: Slack refuses to put others in place of a `rich_text` block
(`block_mismatch`), so the whole error text, which needs one, stands in a reply.
https://docs.slack.dev/reference/methods/chat.update
"""

from typing import Any

from notifiers import Announcement, Progress, first_line, plain, wording
from notifiers.slack import message as slack_message
from notifiers.slack.message import CONTEXT_LIMIT, FIRST_LINE_LIMIT, context_block, escape, section


def progress_message(progress: Progress) -> dict[str, Any]:
    """Build the message that shows how an operation goes."""
    line = progress_line(progress)
    blocks, text = [section(line)], line.replace("*", "")
    if progress.trouble is not None and not progress.stopped:
        trouble = escape(first_line(plain(progress.trouble), CONTEXT_LIMIT))
        blocks.append(section(f"{wording.ALERT_MARK} {trouble}; still watching"))
        text += f". {wording.ALERT_MARK} {trouble}; still watching"
    return _message(text, [*blocks, *context_block(progress.context)])


def progress_line(progress: Progress) -> str:
    """Say how an operation goes, with markup."""
    app, what, said = map(escape, (progress.app, wording.what(progress), wording.progress(progress)))
    return f"{wording.progress_mark(progress)} *{app}*: {what} *{said}*{wording.usually(progress)}"


def outcome_message(announcement: Announcement) -> dict[str, Any]:
    """Build what the message says in the end: the verdict, and the first line of why it went wrong."""
    blocks = [section(slack_message.outcome_line(announcement))]
    if cause := first_line(wording.cause(announcement), FIRST_LINE_LIMIT):
        blocks.append({"type": "section", "text": {"type": "plain_text", "text": cause, "emoji": False}})
    return _message(slack_message.fallback_text(announcement), [*blocks, *context_block(announcement.context)])


def reply(announcement: Announcement, mention: str | None = None) -> dict[str, Any]:
    """Build the reply with the whole error text.

    The mention has it noticed; without one it is shown in the channel, too: a reply alone notifies nobody.
    """
    built = slack_message.message(announcement, mention)
    blocks = [block for block in built["blocks"] if block["type"] != "context"]
    pinged = mention is not None and not announcement.slow
    return {**built, "blocks": blocks, "reply_broadcast": not pinged}


def _message(text: str, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"text": text, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}
