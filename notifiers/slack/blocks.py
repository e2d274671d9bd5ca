"""The parts of Slack messages, in which no text from outside is markup. Pure.

https://docs.slack.dev/reference/block-kit/blocks and https://docs.slack.dev/messaging/formatting-message-text
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from notifiers import NO_LINKS, Links, context_wording

URL_LIMIT = 1_000
CONTEXT_ELEMENTS = 10
_WORDS = re.compile(r"[^\W_]+(?:[ -][^\W_]+)*")
_LOOK_ALIKE = str.maketrans({"*": "\u2217", "~": "\u223c", "`": "'"})
_UNDERSCORE = re.compile(r"(?<!\w)_+|_+(?!\w)")
_PARSED = re.compile(r"(?<!<)[@#](?=\w)|:(?=//|[\w+'-]+:)|(?<=\w)\.(?=[^\W\d_]{2})")
"""What Slack may turn into a mention, a channel, an emoji or a link."""


def inert(text: str) -> str:
    """Escape a text from outside, and break all that Slack formats, links or turns into an emoji, for its markup.

    Formatting characters become similar ones, since Slack may format around a zero-width space. In the rest, one is
    put behind the first character. https://docs.slack.dev/messaging/formatting-message-text
    """
    broken = _PARSED.sub("\\g<0>\u200b", text.translate(_LOOK_ALIKE))
    return _escaped(_UNDERSCORE.sub(lambda found: "ˍ" * len(found[0]), broken))


def _dated(at: datetime, text: str) -> str:
    """Write a time so that Slack shows it in the reader's time zone."""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} at {{time}}|{text}>"


MARKUP = context_wording.Markup(safe=inert, strong="*{}*".format, dated=_dated)


def slack_length(text: str) -> int:
    """Count in UTF-16 units, as Slack does: an emoji is two."""
    return len(text.encode("utf-16-le", "replace")) // 2


def section(text: str) -> dict[str, Any]:
    """Build a block of text with markup. Texts from outside must be `inert`."""
    return {"type": "section", "text": _marked(text)}


def unmarked(text: str) -> dict[str, Any]:
    """Build a text in which Slack reads no markup."""
    return {"type": "plain_text", "text": text, "emoji": False}


def context_block(context: Mapping[str, str], own: Links = NO_LINKS, group: str | None = None) -> list[dict[str, Any]]:
    """Build the block with context, links and the group's name; empty if there is nothing to show."""
    elements = list(_elements(context, own, group))
    return [{"type": "context", "elements": elements[:CONTEXT_ELEMENTS]}] if elements else []


def links(given: Mapping[str, str], own: Links) -> str:
    """Link to the pages that say more, in one element: Slack shows ten."""
    there = ((word, _escaped(url)) for word, url in context_wording.links(given, own))
    return " · ".join(f"<{url}|{word}>" for word, url in there if slack_length(url) <= URL_LIMIT)


def _elements(given: Mapping[str, str], own: Links, group: str | None) -> Iterator[dict[str, Any]]:
    """Build the elements. Only a plain word gets markup, since Slack would read more of it in any other text."""
    for name, value in context_wording.known_context(given):
        if name == "actor":
            yield unmarked(f"by {value}")
        elif commit := value.replace("`", ""):
            yield _marked(f"commit `{commit}`") if _WORDS.fullmatch(commit) else unmarked(f"commit {commit}")
    if linked := links(given, own):
        yield _marked(linked)
    for name, value in context_wording.other_context(given, group):
        yield unmarked(f"{name}: {value}")


def _marked(text: str) -> dict[str, Any]:
    """Build a text with our own markup. Slack neither looks for links nor for names in it (`verbatim`)."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _escaped(text: str) -> str:
    """Escape Slack's control characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
