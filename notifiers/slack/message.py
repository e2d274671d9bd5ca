"""Slack messages in Block Kit, within Slack's limits. Pure.

https://docs.slack.dev/reference/block-kit/blocks and https://docs.slack.dev/messaging/formatting-message-text
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from notifiers import NO_LINKS, Announcement, Links, Progress, Verdict, context_wording, wording

ERROR_LIMIT = 2_300
FIRST_LINE_LIMIT = 300
CONTEXT_LIMIT = 150
URL_LIMIT = 1_000
CONTEXT_ELEMENTS = 10
_WORDS = re.compile(r"[^\W_]+(?:[ -][^\W_]+)*")
_ALERTS_OWN = re.compile(r"[a-z ]{1,40}`[a-z0-9][a-z0-9_-]{0,40}`")
_LOOK_ALIKE = str.maketrans({"*": "\u2217", "~": "\u223c", "`": "'"})
_UNDERSCORE = re.compile(r"(?<!\w)_+|_+(?!\w)")
_PARSED = re.compile(r"(?<!<)[@#](?=\w)|:(?=//|[\w+'-]+:)|(?<=\w)\.(?=[^\W\d_]{2})")
"""What Slack may turn into a mention, a channel, an emoji or a link."""


def message(announcement: Announcement, mention: str | None = None) -> dict[str, Any]:
    """Build the whole message: blocks for the channel, `text` for notifications and screen readers."""
    text = fallback_text(announcement)
    pinged = f"{mention} " if mention else ""
    return {
        "text": pinged + text,
        "blocks": list(_blocks(announcement, pinged)),
        "unfurl_links": False,
        "unfurl_media": False,
    }


def went_well(announcement: Announcement) -> bool:
    """Tell whether the live message alone is enough, without a reply."""
    if announcement.closing is not None:
        return not wording.went_wrong(announcement)
    return announcement.ended and announcement.alert is None and announcement.verdict is Verdict.SUCCEEDED


def plain_message(announcement: Announcement, mention: str | None = None) -> dict[str, Any]:
    """Build the message without blocks, in case Slack refuses them. Links and the group's name are in its last line."""
    full = message(announcement, mention)
    group = next(
        (inert(f"{name}: {value}") for name, value in context_wording.other_context({}, announcement.group)), ""
    )
    below = " · ".join(filter(None, [_links(announcement.context, announcement.links), group]))
    text = f"{full['text']}\n{below}" if below else full["text"]
    return {**{key: value for key, value in full.items() if key != "blocks"}, "text": text}


def fallback_text(announcement: Announcement) -> str:
    """Write app, operation, verdict, duration and the error's first line in one escaped line, below an alert if any."""
    cause = wording.short_cause(announcement, FIRST_LINE_LIMIT)
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
    begun = f"{wording.mark(announcement)} {app_and_type(announcement)}{wording.joint(announcement)}"
    return f"{begun}*{inert(wording.verdict(announcement))}*{wording.compared(announcement, dated)}"


def app_and_type(told: Announcement | Progress) -> str:
    """Write which app it is and what ran, with markup."""
    app = inert(told.app)
    return f"*{app}*{inert(wording.app(told)).removeprefix(app)}: {inert(wording.what(told))}"


def dated(at: datetime, text: str) -> str:
    """Write a time so that Slack shows it in the reader's time zone."""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} at {{time}}|{text}>"


def context_block(context: Mapping[str, str], own: Links = NO_LINKS, group: str | None = None) -> list[dict[str, Any]]:
    """Build the block with context, links and the group's name; empty if there is nothing to show."""
    elements = list(_context(context, own, group))
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
    yield from context_block(announcement.context, announcement.links, announcement.group)


def _context(given: Mapping[str, str], own: Links, group: str | None) -> Iterator[dict[str, Any]]:
    """Build the elements. Only a plain word gets markup, since Slack would read more of it in any other text."""
    for name, value in context_wording.known_context(given):
        if name == "actor":
            yield unmarked(f"by {value}")
        elif commit := value.replace("`", ""):
            yield marked(f"commit `{commit}`") if _WORDS.fullmatch(commit) else unmarked(f"commit {commit}")
    if links := _links(given, own):
        yield marked(links)
    for name, value in context_wording.other_context(given, group):
        yield unmarked(f"{name}: {value}")


def _links(given: Mapping[str, str], own: Links) -> str:
    """Link to the pages that say more, in one element: Slack shows ten."""
    there = ((word, escape(url)) for word, url in context_wording.links(given, own))
    return " · ".join(f"<{url}|{word}>" for word, url in there if slack_length(url) <= URL_LIMIT)
