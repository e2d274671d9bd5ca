"""Texts with placeholders: what takes their place, and how it is escaped. Pure.

There are no conditions, loops or expressions. A value is never searched for placeholders itself.
"""

import re
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from notifiers import Announcement, PermanentError, encodable, first_line, plain, time_wording, timestamp, wording

NAMES = ("app", "type", "kind", "verdict", "headline", "cause", "duration", "id", "group", "ended_at", "story", "logs")
CAUSE_LIMIT_BYTES = 2_000
_LINE_LIMIT = 500  # characters of a value in a header or a URL
PLACEHOLDER, _CONTEXT = re.compile(r"\{\{([^{}]*)\}\}"), re.compile(r"context\.[\w.-]{1,60}")


def fault(template: str) -> str | None:
    """Return what is wrong with a template: an unknown placeholder, which is named, or one that does not end."""
    for name in PLACEHOLDER.findall(template):
        if name.strip() not in NAMES and _CONTEXT.fullmatch(name.strip()) is None:
            shown = f"{{{{{name}}}}}" if re.fullmatch(r"[\w. -]{0,60}", name) else "a placeholder"
            known = ", ".join(f"{{{{{each}}}}}" for each in (*NAMES, "context.NAME"))
            return f"{shown} is not known; known: {known}"
    return "has {{ without a name and }} after it" if "{{" in PLACEHOLDER.sub("", template) else None


def values(announcement: Announcement) -> Callable[[str], str]:
    """Return a function that finds the value of a placeholder by its name; it is empty if unknown."""
    a, of_group = announcement, announcement.closing is not None
    told = {
        "app": a.app,
        "type": "group" if of_group else first_line(plain(a.type or a.kind.value), 40),
        "kind": "group" if of_group else a.kind.value,
        "verdict": "alert" if a.alert is not None else "slow" if a.slow else _verdict(a),
        "headline": wording.headline(a),
        "cause": wording.shortened(wording.explanation(a), CAUSE_LIMIT_BYTES),
        "duration": time_wording.duration(a.duration_s),
        "id": _message_id(a),
        "group": a.app if of_group else a.group or "",
        "ended_at": timestamp(a.ended_at) or "",
        "story": a.links.story or "",
        "logs": a.links.logs or "",
    }
    known = told | {f"context.{name}": value for name, value in a.context.items()}
    return lambda name: encodable(wording.for_terminals(plain(known.get(name.strip(), ""))))


def _verdict(announcement: Announcement) -> str:
    """Return the verdict; of a group, its state, which may also be `cancelled`."""
    closing = announcement.closing
    return announcement.verdict.value if closing is None else closing.group.state.value


def _message_id(announcement: Announcement) -> str:
    """Return the tracking's id for its first outcome, else the `webhook-id`: each message has another one."""
    first, found, _ = announcement.delivery_id.partition(f"_1_{_verdict(announcement)}_")
    return first if found and announcement.ended and announcement.alert is None else announcement.delivery_id


def filled(template: str, value: Callable[[str], str], escaped: Callable[[str], str]) -> str:
    """Fill in a template's placeholders, in one pass."""
    return PLACEHOLDER.sub(lambda found: escaped(value(found[1])), template)


def walked(part: Any, change: Callable[[str], str]) -> Any:
    """Change every text of a JSON document, also the names of its fields."""
    if isinstance(part, dict):
        names = {name: change(name) if "{{" in name else name for name in part}
        return {names[name]: walked(each, change) for name, each in part.items()}
    if isinstance(part, list):
        return [walked(each, change) for each in part]
    return change(part) if isinstance(part, str) else part


def in_url(value: str) -> str:
    """Escape a value for the query of a URL."""
    return quote(one_line(value), safe="")


def in_path(value: str) -> str:
    """Escape a value for the path of a URL. Raises PermanentError if it is empty, or could lead to another path.

    Some servers decode `%2F` before they resolve `..`.
    """
    line = one_line(value)
    if not line or {".", ".."} & set(re.split(r"[/\\]", line)):
        message = "a placeholder in the path of the URL has no value for this message, or one with . or .. in it"
        raise PermanentError(message)
    return quote(line, safe="")


def one_line(value: str) -> str:
    """Write a value in one line, for a header."""
    return " ".join(value.split())[:_LINE_LIMIT]


def ascii_only(value: str) -> str:
    """Encode a header that is not ASCII by RFC 2047."""
    return value if value.isascii() else f"=?UTF-8?B?{b64encode(value.encode()).decode()}?="
