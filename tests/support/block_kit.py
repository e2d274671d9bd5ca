"""Draws Slack messages as a page of HTML, similar to Slack's own look.

`python -m tests.support.block_kit >messages.html`, then open it, or have Chromium make a picture of it
(`chromium --headless --screenshot=messages.png --window-size=900,4000 messages.html`).
"""

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.slack_samples import samples

STYLE = """
body { margin: 0; font: 15px/1.47 Lato, "Noto Sans", "DejaVu Sans", "Noto Color Emoji", sans-serif; color: #1d1c1d; }
figure { margin: 0; padding: 4px 20px 10px; border-top: 1px solid #eee; max-width: 760px; }
figcaption { font-size: 11px; color: #a33; }
.message { display: grid; grid-template-columns: 44px 1fr; }
.avatar { width: 36px; height: 36px; border-radius: 4px; background: #4a154b; color: #fff; text-align: center;
  line-height: 36px; font-weight: bold; margin-top: 4px; }
.name { font-weight: 900; } .app { font-size: 10px; background: #ddd; border-radius: 2px; padding: 1px 3px; }
.time { font-size: 12px; color: #616061; }
.block { margin: 2px 0 6px; white-space: pre-wrap; overflow-wrap: anywhere; }
.context { font-size: 13px; color: #616061; display: flex; flex-wrap: wrap; gap: 8px; }
pre { font: 12px/1.5 Monaco, "DejaVu Sans Mono", "Noto Color Emoji", monospace; background: #f8f8f8;
  border: 1px solid #ddd; border-radius: 4px; padding: 8px; margin: 4px 0; white-space: pre-wrap;
  overflow-wrap: anywhere; }
code { font: 12px Monaco, "DejaVu Sans Mono", monospace; color: #e01e5a; background: #f8f8f8; border: 1px solid #ddd;
  border-radius: 3px; padding: 1px 3px; }
.mention { background: #f2c74466; color: #1264a3; border-radius: 3px; padding: 0 2px; }
a { color: #1264a3; text-decoration: none; }
.notified { font-size: 12px; color: #616061; border-left: 3px solid #ccc; padding-left: 6px; }
"""
_MARKUP = re.compile(
    r"<!date[^|]*\|(?P<date>[^>]*)>|<(?P<mention>[!@#][^>|]*)(?:\|[^>]*)?>|<(?P<url>https?://[^>|]+)(?:\|(?P<label>[^>]*))?>"
    r"|`(?P<code>[^`\n]+)`|\*(?P<bold>[^*\n]+)\*"
)


def mrkdwn(text: str) -> str:
    """Draw a text with Slack's markup, as far as we use it; its entities are HTML's, too."""

    def drawn(found: re.Match[str]) -> str:
        if found["date"]:
            return found["date"]
        if found["mention"]:
            return f'<span class="mention">@{found["mention"].strip("!@#").removeprefix("subteam^")}</span>'
        if found["url"]:
            return f'<a href="{found["url"]}">{found["label"] or found["url"]}</a>'
        return f"<code>{found['code']}</code>" if found["code"] else f"<b>{found['bold']}</b>"

    return _MARKUP.sub(drawn, text)


def block(drawn: Mapping[str, Any]) -> str:
    """Draw one block."""
    if drawn["type"] == "section":
        return f'<div class="block">{_text(drawn["text"])}</div>'
    if drawn["type"] == "context":
        return (
            f'<div class="block context">{"".join(f"<span>{_text(each)}</span>" for each in drawn["elements"])}</div>'
        )
    assert drawn["type"] == "rich_text", drawn
    texts = (part["text"] for element in drawn["elements"] for part in element["elements"])
    return "".join(f"<pre>{html.escape(text)}</pre>" for text in texts)


def _text(text: Mapping[str, Any]) -> str:
    return mrkdwn(text["text"]) if text["type"] == "mrkdwn" else html.escape(text["text"])


def _figure(caption: str, message: Mapping[str, Any]) -> Iterator[str]:
    yield f"<figure><figcaption>{html.escape(caption)}</figcaption>"
    yield '<div class="message"><div class="avatar">O</div><div>'
    yield '<span class="name">Opwatch</span> <span class="app">APP</span> <span class="time">08:18</span>'
    yield from map(block, message["blocks"])
    yield f'<div class="notified">notification: {mrkdwn(message["text"])}</div></div></div></figure>'


def page(messages: Mapping[str, Mapping[str, Any]]) -> str:
    """Draw messages, each under a caption, with its text for notifications and screen readers."""
    figures = "".join(part for caption, message in messages.items() for part in _figure(caption, message))
    return f'<!doctype html><meta charset="utf-8"><title>Messages</title><style>{STYLE}</style>{figures}'


if __name__ == "__main__":
    print(page(samples()))
