"""A message as HTML for mail programs, without style sheets, pictures or anything to load. Pure."""

from collections.abc import Iterator
from html import escape

from notifiers import context_wording, wording
from operations.telling.announcement import Announcement
from operations.text import cut_middle, whole_lines

_FONT = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif"
_MONO = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace"


def page(announcement: Announcement, limit_bytes: int) -> str:
    """Write the message, with the verdict's colour at its side. The error text is cut to `limit_bytes`."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title></title></head>\n'
        f'<body style="margin:0;padding:12px;{_FONT};font-size:16px;line-height:1.4">\n'
        f'<div style="border-left:4px solid #{wording.colour(announcement):06x};padding-left:12px">\n'
        f"{''.join(_parts(announcement, limit_bytes))}</div></body></html>\n"
    )


def _parts(announcement: Announcement, limit_bytes: int) -> Iterator[str]:
    yield f'<p style="margin:0 0 8px;font-weight:600">{escape(wording.headline(announcement))}</p>\n'
    if said := whole_lines(cut_middle(wording.explanation(announcement), limit_bytes, wording.size_bytes)):
        yield (
            f'<pre style="{_MONO};font-size:14px;background:#8882;padding:8px;border-radius:4px;margin:0 0 8px;'
            f'white-space:pre-wrap;overflow-wrap:anywhere">{escape(said)}</pre>\n'
        )
    if said := " · ".join(_entries(announcement)):
        yield f'<p style="font-size:14px;margin:0">{said}</p>\n'


def _entries(announcement: Announcement) -> Iterator[str]:
    given = announcement.context
    for name, value in context_wording.known_context(given):
        yield escape(f"by {value}" if name == "actor" else f"commit {value}")
    for word, url in context_wording.links(given, announcement.links):
        yield f'<a href="{escape(url)}">{escape(word)}</a>'
    for name, value in context_wording.other_context(given, announcement.group):
        yield escape(f"{name}: {value}")
