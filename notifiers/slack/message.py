"""Slack messages in Block Kit, within Slack's limits. Pure.

https://docs.slack.dev/reference/block-kit/blocks and https://docs.slack.dev/messaging/formatting-message-text
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from notifiers import Announcement, Verdict, first_line, plain, wording

ERROR_LIMIT = 2_400
FIRST_LINE_LIMIT = 300
CONTEXT_LIMIT = 150
URL_LIMIT = 1_000
CONTEXT_ELEMENTS = 10
_RENDERED_SPECIALLY = ("environment", "actor", "commit", "url")
_WORDS = re.compile(r"[^\W_]+(?:[ -][^\W_]+)*")
_ALERTS_OWN = re.compile(r"[a-z ]{1,40}`[a-z0-9][a-z0-9_-]{0,40}`")
_LOOK_ALIKE = str.maketrans({"*": "\u2217", "~": "\u223c", "`": "'"})
_UNDERSCORE = re.compile(r"(?<!\w)_+|_+(?!\w)")
_PARSED = re.compile(r"(?<!<)[@#](?=\w)|:(?=//|[\w+'-]+:)|(?<=\w)\.(?=[^\W\d_]{2})")
"""What Slack may turn into a mention, a channel, an emoji or a link."""


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
    cause = first_line(wording.shown_cause(announcement), FIRST_LINE_LIMIT)
    outcome = inert(wording.outcome(announcement) + (f": {cause}" if cause else ""))
    if announcement.alert is None:
        return outcome
    return alert_line(announcement) + (f"\n{outcome}" if announcement.ended else "")


def alert_line(announcement: Announcement) -> str:
    """Write an alert, with markup: only the name of a target at its beginning is code."""
    alert = announcement.alert or ""
    own = _ALERTS_OWN.match(alert)
    begun = own[0] if own else ""
    return f"{wording.alert_mark(announcement)} {begun}{inert(alert[len(begun) :])}"


def escape(text: str) -> str:
    """Escape Slack's control characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def inert(text: str) -> str:
    """Escape a text from outside, and break all that Slack formats, links or turns into an emoji, for its markup.

    Formatting characters become similar ones, since Slack may format around a zero-width space. In the rest, one is
    put behind the first character. https://docs.slack.dev/messaging/formatting-message-text
    """
    broken = _PARSED.sub("\\g<0>\u200b", text.translate(_LOOK_ALIKE))
    return escape(_UNDERSCORE.sub(lambda found: "ˍ" * len(found[0]), broken))


def slack_length(text: str) -> int:
    """Count in UTF-16 units, as Slack does: an emoji is two."""
    return len(text.encode("utf-16-le", "replace")) // 2


def section(text: str) -> dict[str, Any]:
    """Build a block of text with markup. Texts from outside must be `inert`."""
    return {"type": "section", "text": marked(text)}


def marked(text: str) -> dict[str, Any]:
    """Build a text with our own markup. Slack neither looks for links nor for names in it (`verbatim`)."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def unmarked(text: str) -> dict[str, Any]:
    """Build a text in which Slack reads no markup."""
    return {"type": "plain_text", "text": text, "emoji": False}


def outcome_line(announcement: Announcement) -> str:
    """Write the outcome, or that it is slow, with markup."""
    mark, said = wording.mark(announcement), inert(wording.verdict(announcement))
    line = f"{mark} *{inert(announcement.app)}*: {inert(wording.what(announcement))} *{said}*"
    return line + wording.compared(announcement, dated)


def dated(at: datetime, text: str) -> str:
    """Write a time so that Slack shows it in the reader's time zone."""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} at {{time}}|{text}>"


def context_block(context: Mapping[str, str]) -> list[dict[str, Any]]:
    """Build the block for a context; empty if there is nothing to show."""
    elements = list(_context(context))
    return [{"type": "context", "elements": elements[:CONTEXT_ELEMENTS]}] if elements else []


def _blocks(announcement: Announcement, pinged: str) -> Iterator[dict[str, Any]]:
    if announcement.alert is not None:
        yield section(pinged + alert_line(announcement))
        pinged = ""
    if announcement.ended or announcement.slow:
        yield section(pinged + outcome_line(announcement))
        if cause := wording.cut_cause(announcement, ERROR_LIMIT, slack_length):
            text = {"type": "text", "text": cause}
            yield {"type": "rich_text", "elements": [{"type": "rich_text_preformatted", "elements": [text]}]}
    yield from context_block(announcement.context)


def _context(given: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Build the elements. Only plain words get markup, since Slack would read more of it in any other text."""
    context = {name: first_line(plain(value), CONTEXT_LIMIT) for name, value in given.items()}
    if environment := context.get("environment"):
        yield marked(f"*{environment}*") if _WORDS.fullmatch(environment) else unmarked(environment)
    if actor := context.get("actor"):
        yield unmarked(f"by {actor}")
    if commit := context.get("commit", "").replace("`", ""):
        yield marked(f"commit `{commit}`") if _WORDS.fullmatch(commit) else unmarked(f"commit {commit}")
    if link := _link(given):
        yield marked(link)
    for name, value in context.items():
        if name not in _RENDERED_SPECIALLY and value:
            yield unmarked(f"{first_line(plain(name), CONTEXT_LIMIT)}: {value}")


def _link(given: Mapping[str, str]) -> str:
    """Link to the context's URL; empty if it is not a URL."""
    url = escape(wording.link(given))
    return f"<{url}|details>" if 0 < slack_length(url) <= URL_LIMIT else ""
