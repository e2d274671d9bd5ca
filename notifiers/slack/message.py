"""Slack messages in Block Kit, within Slack's limits. Pure.

https://docs.slack.dev/reference/block-kit/blocks and https://docs.slack.dev/messaging/formatting-message-text
"""

from collections.abc import Iterator, Mapping
from typing import Any

from notifiers import Announcement, Verdict, cut_middle, first_line, plain, whole_lines, wording

ERROR_LIMIT = 2_400
FIRST_LINE_LIMIT = 300
CONTEXT_LIMIT = 150
URL_LIMIT = 1_000
CONTEXT_ELEMENTS = 10
_RENDERED_SPECIALLY = ("environment", "actor", "commit", "url")


def message(announcement: Announcement, mention: str | None = None) -> dict[str, Any]:
    """Build the whole message: blocks for the channel, `text` for notifications and screen readers."""
    text = fallback_text(announcement)
    pinged = f"{mention} " if mention and wording.went_wrong(announcement) else ""
    return {
        "text": pinged + text,
        "blocks": list(_blocks(announcement, pinged)),
        "unfurl_links": False,
        "unfurl_media": False,
    }


def went_well(announcement: Announcement) -> bool:
    """Tell whether the live message alone is enough, without a reply."""
    return announcement.ended and announcement.alert is None and announcement.verdict is Verdict.SUCCEEDED


def plain_message(announcement: Announcement, mention: str | None = None) -> dict[str, Any]:
    """Build the message without blocks, in case Slack refuses them."""
    full = message(announcement, mention)
    return {key: value for key, value in full.items() if key != "blocks"}


def fallback_text(announcement: Announcement) -> str:
    """Write app, operation, verdict, duration and the error's first line in one escaped line, below an alert if any."""
    cause = first_line(wording.cause(announcement), FIRST_LINE_LIMIT)
    outcome = wording.outcome(announcement) + (f": {cause}" if cause else "")
    if announcement.alert is None:
        return escape(outcome)
    return escape(wording.headline(announcement) + (f"\n{outcome}" if announcement.ended else ""))


def escape(text: str) -> str:
    """Escape Slack's control characters, so that a text from outside can neither mention nor link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slack_length(text: str) -> int:
    """Count in UTF-16 units, as Slack does: an emoji is two."""
    return len(text.encode("utf-16-le", "replace")) // 2


def section(text: str) -> dict[str, Any]:
    """Build a block of text with markup."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def outcome_line(announcement: Announcement) -> str:
    """Write the outcome, or that it is slow, with markup."""
    mark, said = wording.mark(announcement), escape(wording.verdict(announcement))
    line = f"{mark} *{escape(announcement.app)}*: {escape(wording.what(announcement))} *{said}*"
    return line + wording.compared(announcement)


def context_block(context: Mapping[str, str]) -> list[dict[str, Any]]:
    """Build the block for a context; empty if there is nothing to show."""
    elements = [{"type": "mrkdwn", "text": text} for text in _context(context)]
    return [{"type": "context", "elements": elements[:CONTEXT_ELEMENTS]}] if elements else []


def _blocks(announcement: Announcement, pinged: str) -> Iterator[dict[str, Any]]:
    if announcement.alert is not None:
        yield section(pinged + escape(wording.headline(announcement)))
        pinged = ""
    if announcement.ended or announcement.slow:
        yield section(pinged + outcome_line(announcement))
        cause = whole_lines(cut_middle(wording.cause(announcement), ERROR_LIMIT, slack_length))
        if cause:
            text = {"type": "text", "text": cause}
            yield {"type": "rich_text", "elements": [{"type": "rich_text_preformatted", "elements": [text]}]}
    yield from context_block(announcement.context)


def _context(given: Mapping[str, str]) -> Iterator[str]:
    context = {name: _shown(value, CONTEXT_LIMIT) for name, value in given.items()}
    if environment := context.get("environment"):
        yield f"*{environment}*"
    if actor := context.get("actor"):
        yield f"by {actor}"
    if commit := context.get("commit", "").replace("`", ""):
        yield f"commit `{commit}`"
    if link := _link(given):
        yield link
    for name, value in context.items():
        if name not in _RENDERED_SPECIALLY and value:
            yield f"{_shown(name, CONTEXT_LIMIT)}: {value}"


def _shown(text: str, limit: int) -> str:
    """Return a text's first line, escaped, cut to `limit`."""
    escaped = ""
    for char in first_line(plain(text), limit):
        piece = escape(char)
        if slack_length(escaped + piece) > limit - 1:
            return escaped + "…"
        escaped += piece
    return escaped


def _link(given: Mapping[str, str]) -> str:
    """Link to the context's URL; empty if it is not a URL."""
    url = escape(wording.link(given))
    return f"<{url}|details>" if 0 < slack_length(url) <= URL_LIMIT else ""
