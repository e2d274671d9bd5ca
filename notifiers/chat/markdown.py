"""Messages in Markdown, within the limits of all chats that use it. Pure.

Dialects differ, also in how to escape. None reads markup in code, so every text from outside is written as code, unless
it has only letters and digits.
"""

import re
from typing import Any

from notifiers import Announcement, context_wording, group_wording, wording

DETAILS_LIMIT = 3_500
"""Bytes. Discord takes 4,096 characters in an embed, Rocket.Chat 5,000 in a message, Mattermost 16,383."""

CONTEXT_LIMIT = 2_000
_NAMES_ROOM = 1_500  # bytes, for the names of those that succeeded or were cancelled
_PLAIN_WORDS = re.compile(r"[^\W_]+(?:(?:[ \u00a0-]|\.(?=\d))[^\W_]+)*")
_TOGETHER, _APART = re.compile("`(?=`)"), "`\u200b"
_IN_URLS = {ord(char): f"%{ord(char):02X}" for char in "()[]*_~`\\"}


def headline(announcement: Announcement, mention: str | None) -> str:
    """Write the announcement in one line, after the mention, if any."""
    pinged = f"{mention} " if mention else ""
    if announcement.alert is not None:
        return f"{pinged}{wording.alert_mark(announcement)} {_shown(announcement.alert)}"
    return pinged + wording.outcome(announcement, _MARKUP)


def details(announcement: Announcement) -> str:
    """Write the text below the headline: the cause as a block of code, and the context; may be empty."""
    below = _context(announcement)
    if announcement.closing is not None:
        room = DETAILS_LIMIT - wording.size_bytes(below) - _NAMES_ROOM
        return "\n".join((*group_wording.lines(announcement.closing, _MARKUP, room), *filter(None, [below])))
    above = wording.outcome(announcement, _MARKUP) if announcement.alert is not None and announcement.ended else ""
    room = DETAILS_LIMIT - wording.size_bytes(above + below) - 2
    told = wording.shown_cause(announcement) if announcement.ended or announcement.slow else ""
    cause = wording.shortened(told, room, lambda text: wording.size_bytes(_fenced(text)))
    return "\n".join(filter(None, (above, _fenced(cause) if cause else "", below)))


def with_attachment(announcement: Announcement, mention: str | None, channel: str | None) -> dict[str, Any]:
    """Write a message for chats that know Slack's attachments but not its blocks."""
    below = details(announcement)
    attachment = {
        "fallback": wording.unpinged(wording.headline(announcement)),
        "text": below,
        "color": f"#{wording.colour(announcement):06x}",
    }
    message = {"text": headline(announcement, mention), "attachments": [attachment] if below else []}
    return {**message, "channel": channel} if channel else message


def _fenced(text: str) -> str:
    """Put a text into a block of code. Its backticks are kept apart, so that it cannot end the block."""
    return f"```\n{wording.unpinged(_TOGETHER.sub(_APART, text))}\n```"


def _context(announcement: Announcement) -> str:
    said = ""
    for entry in context_wording.phrases(announcement, _MARKUP):
        longer = f"{said} · {entry}" if said else entry
        if wording.size_bytes(longer) <= CONTEXT_LIMIT:
            said = longer
    return said


def _shown(text: str) -> str:
    return text if _PLAIN_WORDS.fullmatch(text) else _code(text)


def _code(text: str) -> str:
    return f"`{wording.unpinged(text.replace('`', chr(39)))}`"


_MARKUP = context_wording.Markup(
    safe=_shown, code=_code, strong="**{}**".format, link=lambda word, url: f"[{word}]({url.translate(_IN_URLS)})"
)
