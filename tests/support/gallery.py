"""Draws the pictures of docs/gallery.md, and docs/message.png: `make gallery`.

Each message is the product's own. Only the frame around it is drawn here, similar to the look of each chat.
"""

import hashlib
import html
import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import sync_playwright

from notifiers import Chat, email, wording
from notifiers.slack import message as slack_message
from notifiers.targets import build
from operations.kind import Kind, Links
from operations.model import Usual, Verdict
from operations.telling.announcement import Announcement
from tests.support import slack_samples as samples
from tests.support.block_kit import STYLE, block

DOCS = Path(__file__).parents[2] / "docs"
WIDTH, WIDE, COLOURS = 390, 560, 128
DRAWN_FROM = "drawn-from"
ERROR = "container web-1 failed to start: address already in use\n\nError: listen tcp :5000: bind"
TRACE = "\n".join(
    [
        "Traceback (most recent call last):",
        *(f'  File "/app/shop/step_{number}.py", line {number * 7}, in run' for number in range(1, 24)),
        "shop.errors.MigrationError: column orders.total does not exist",
    ]
)
LINKS = Links(logs="https://dashboard.scalingo.com/apps/osc-fr1/shop/logs", story="https://opwatch.example.com/o/1")
CONTEXT = {
    "environment": "production",
    "actor": "jane",
    "commit": "4f2c1aa",
    "repository": "https://github.com/example/shop",
    "url": "https://ci.example/runs/7",
}
FAILED = replace(samples.FAILED, error=ERROR, context=CONTEXT, links=LINKS)
SUCCEEDED = replace(FAILED, verdict=Verdict.SUCCEEDED, error=None, duration_s=17.2)
DEPLOYMENT = replace(
    FAILED, kind=Kind.DEPLOYMENT, type=None, error=TRACE, duration_s=131.0, usual=Usual(p50=110, p90=160, samples=9)
)
TIMED_OUT = replace(samples.TIMED_OUT, context=CONTEXT, links=LINKS, duration_s=3600)
LOST = replace(samples.LOST, context=CONTEXT, links=LINKS)
SLOW = replace(samples.SLOW, context=CONTEXT, links=LINKS)
ALERT = replace(samples.ALERT, context=CONTEXT, error=ERROR)
RUNNING = replace(samples.RUNNING, context=CONTEXT, links=LINKS)
CALLING = samples.CALLING

LOOK = (
    STYLE
    + """
body { padding: 10px 12px; background: #fff; }
h2 { font: 12px/1.3 "DejaVu Sans", sans-serif; color: #616061; margin: 12px 0 2px; font-weight: normal; }
h2:first-child { margin-top: 0; }
.message { grid-template-columns: 40px minmax(0, 1fr); }
.avatar { width: 32px; height: 32px; line-height: 32px; }
.thread { margin: 2px 0 0 16px; border-left: 2px solid #ddd; padding-left: 10px; }
.embed { border-left: 4px solid; background: #f2f3f5; border-radius: 4px; padding: 8px 10px; }
.embed p, .text p { margin: 2px 0; } .text { overflow-wrap: anywhere; } pre code { all: unset; }
.card { border: 1px solid #ddd; border-radius: 6px; padding: 10px; box-shadow: 0 1px 3px #0002; }
.embed, .card { overflow-wrap: anywhere; }
.card p { margin: 0 0 8px; white-space: pre-wrap; } .card .subtle { color: #616061; font-size: 13px; }
.actions a { display: inline-block; border: 1px solid #bbb; border-radius: 4px; padding: 2px 10px; margin-right: 6px;
  color: #242424; }
.mono { font: 12px/1.5 "DejaVu Sans Mono", "Noto Color Emoji", monospace; }
.subject { border-bottom: 1px solid #ddd; padding-bottom: 6px; margin-bottom: 6px; font-weight: bold; }
"""
)


def pictures() -> Mapping[str, str]:
    """Return the HTML of each picture, by its path in docs/."""
    groups = samples.groups()
    slack = {"a failure": FAILED, "a success": SUCCEEDED, "timed out": TIMED_OUT, "lost": LOST, "a warning": SLOW}
    live = {
        "not begun": replace(RUNNING, status="pending", age_s=1.2, waiting=True),
        "running": RUNNING,
        "the API does not answer": replace(RUNNING, age_s=190, trouble="Scalingo's API does not answer: 503"),
        "cancelled": replace(RUNNING, over=True),
    }
    alerts = {
        "deliveries fail": ALERT,
        "they work again": replace(
            ALERT, alert="deliveries to `ci-hook` work again", ended=False, recovered=True, quiet=True, context={}
        ),
    }
    ended_at = samples.NOW
    late = {
        "told late": replace(FAILED, ended_at=ended_at, late_s=1_500.0),
        "told late, and no longer true": replace(FAILED, ended_at=ended_at, late_s=1_500.0, overtaken=True),
    }
    chats = {"a failure": FAILED, "a success": SUCCEEDED}
    return {
        "message.png": _story(),
        "gallery/slack.png": _titled(
            {name: _slack(slack_message.message(each, CALLING.mention_for(each))) for name, each in slack.items()}
        ),
        "gallery/deployment.png": _slack(slack_message.message(DEPLOYMENT, CALLING.mention)),
        "gallery/live.png": _titled({name: _slack(slack_message.live_message(seen)) for name, seen in live.items()}),
        "gallery/groups.png": _titled(
            {name: _slack(slack_message.live_message(groups[name])) for name in ("under way", "failed")}
        ),
        "gallery/late.png": _titled(
            {name: _slack(slack_message.message(each, CALLING.mention_for(each))) for name, each in late.items()}
        ),
        "gallery/alerts.png": _titled(
            {name: _slack(slack_message.message(each, CALLING.mention_for(each))) for name, each in alerts.items()}
        ),
        "gallery/discord.png": _titled({name: _discord(each) for name, each in chats.items()}),
        "gallery/teams.png": _titled({name: _teams(each) for name, each in chats.items()}),
        "gallery/mattermost.png": _titled({name: _mattermost(each) for name, each in chats.items()}),
        "gallery/mail.png": _titled({name: _mail(each) for name, each in chats.items()}),
    }


def _story() -> str:
    """Draw a live message that runs and fails, and the reply in its thread."""
    replied = slack_message.reply(FAILED, CALLING.mention)
    return (
        f"<h2>while it runs, the message is kept up to date</h2>{_slack(slack_message.live_message(RUNNING))}"
        f"<h2>16 seconds later: the same message, and a reply that notifies</h2>"
        f"{_slack(slack_message.final_message(FAILED))}<div class='thread'>{_slack(replied)}</div>"
    )


def _titled(drawn: Mapping[str, str]) -> str:
    return "".join(f"<h2>{html.escape(title)}</h2>{each}" for title, each in drawn.items())


def _framed(inside: str, app: str = "APP") -> str:
    return (
        '<div class="message"><div class="avatar">O</div><div><span class="name">Opwatch</span> '
        f'<span class="app">{app}</span> <span class="time">08:18</span>{inside}</div></div>'
    )


def _slack(message: Mapping[str, Any]) -> str:
    return _framed("".join(map(block, message["blocks"])))


def _document(kind: str, announcement: Announcement, mention: str) -> dict[str, Any]:
    table = {"kind": kind, "webhook_url": "https://chat.example/x", "mention": mention}
    notifier = build("x", table, {}, plain_http=False).notifier
    assert isinstance(notifier, Chat)
    return notifier.document(announcement)


def _markdown(text: str) -> str:
    return str(MarkdownIt("commonmark", {"breaks": True}).render(text))


def _embed(text: str, colour: str) -> str:
    return f'<div class="embed" style="border-color: {colour}">{_markdown(text)}</div>' if text else ""


def _discord(announcement: Announcement) -> str:
    document = _document("discord", announcement, "@here")
    (embed,) = document["embeds"]
    ping = f'<div class="block"><span class="mention">{document["content"]}</span></div>' if document["content"] else ""
    return _framed(ping + _embed(embed["description"], f"#{embed['color']:06x}"))


def _mattermost(announcement: Announcement) -> str:
    document = _document("mattermost", announcement, "@here")
    text = _markdown(document["text"]).replace("@here", '<span class="mention">@here</span>')
    shown = "".join(_embed(each["text"], each["color"]) for each in document["attachments"])
    return _framed(f'<div class="text">{text}</div>{shown}', "BOT")


def _teams(announcement: Announcement) -> str:
    (attachment,) = _document("teams", announcement, "jane@example.com")["attachments"]
    card = attachment["content"]
    parts = "".join(_card_part(each) for each in card["body"])
    actions = "".join(f"<a>{html.escape(each['title'])}</a>" for each in card["actions"])
    return f'<div class="card">{parts}<div class="actions">{actions}</div></div>'


def _card_part(part: Mapping[str, Any]) -> str:
    if part["type"] == "TextBlock":
        return f'<p><span class="mention">{re.sub("</?at>", "", part["text"])}</span></p>'
    return f"<p>{''.join(_run(each) for each in part['inlines'])}</p>"


def _run(run: Mapping[str, Any]) -> str:
    text = html.escape(run["text"])
    if run.get("weight") == "Bolder":
        return f"<b>{text}</b>"
    style = "mono" if run.get("fontType") == "Monospace" else "subtle" if run.get("isSubtle") else ""
    return f'<span class="{style}">{text}</span>'


def _mail(announcement: Announcement) -> str:
    page = email.page(announcement)
    subject = html.escape(wording.for_terminals(wording.headline(announcement)))
    body = page[page.index("<div") : page.index("</body>")]
    return f'<div class="card"><div class="subject">{subject}</div>{body}</div>'


def drawn() -> Iterator[tuple[str, bytes]]:
    """Have Chromium draw the pictures: twice as many pixels as on a phone 390 px wide, and few colours."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert path, "install the package `chromium`, or name the program in CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        for name, inside in pictures().items():
            width = WIDE if name == "message.png" else WIDTH
            page = browser.new_page(viewport={"width": width, "height": 100}, device_scale_factor=2)
            page.set_content(f'<!doctype html><meta charset="utf-8"><style>{LOOK}</style>{inside}')
            yield name, _small(page.screenshot(full_page=True), digest(inside))
            page.close()
        browser.close()


def _small(picture: bytes, drawn_from: str) -> bytes:
    made, note = io.BytesIO(), PngInfo()
    note.add_text(DRAWN_FROM, drawn_from)
    image = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS)
    image.save(made, "PNG", optimize=True, pnginfo=note)
    return made.getvalue()


def digest(inside: str) -> str:
    """Make the digest of a picture's HTML. It is stored in the picture, so that a test notices outdated ones."""
    return hashlib.sha256((LOOK + inside).encode()).hexdigest()


def drawn_from(path: Path) -> str:
    """Read the digest of the HTML that a picture was drawn from."""
    with Image.open(path) as picture:
        return str(picture.info[DRAWN_FROM])


if __name__ == "__main__":
    for name, picture in drawn():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_bytes(picture)
        print(f"{name}: {len(picture) // 1000} kB")
