"""Kind `teams`: one adaptive card per outcome, by a workflow of Microsoft Teams that starts with a webhook.

https://support.microsoft.com/office/8ae491c7-0394-4861-ba59-055e33f75498 (incoming webhooks with Workflows) and
https://learn.microsoft.com/connectors/teams/ (a card has about 28 kB). The workflow answers 202 before it posts: what
it cannot post is seen in its run history alone.
"""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from notifiers import wording
from notifiers.chat.base import Chat
from operations.telling.announcement import Announcement
from operations.text import cut_middle, json_bytes

CAUSE_LIMIT_BYTES = 6_000
_CONTEXT_LIMIT_BYTES = 2_000
_INTRODUCED = {"environment": "", "actor": "by ", "commit": "commit "}


class Teams(Chat):
    """Posts to the channel or chat of a workflow.

    `mention` (a user's e-mail address or object id in Entra) is put in front when something went wrong.
    """

    service: ClassVar[str] = "Teams"
    code_path: ClassVar[tuple[str, ...]] = ("error", "code")

    mention: Annotated[str, Field(pattern=r"^[^\s<>&]{1,200}$")] | None = None

    def document(self, announcement: Announcement) -> dict[str, Any]:
        """Write a card; texts from outside stand in text runs, where no markup is read."""
        mention = self.mention if wording.went_wrong(announcement) else None
        url = wording.link(announcement.context)
        card = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": list(_body(announcement, mention)),
            "actions": [{"type": "Action.OpenUrl", "title": "details", "url": url}] if url else [],
            "msteams": {"width": "Full", "entities": [_entity(mention)] if mention else []},
        }
        attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
        return {"type": "message", "attachments": [attachment]}


def _body(announcement: Announcement, mention: str | None) -> Iterator[dict[str, Any]]:
    if mention:
        yield {"type": "TextBlock", "text": f"<at>{mention}</at>"}
    if announcement.alert is not None:
        yield _runs(_run(wording.headline(announcement), weight="Bolder"))
    if announcement.ended or announcement.slow:
        app, verdict = _run(announcement.app, weight="Bolder"), _run(wording.verdict(announcement), weight="Bolder")
        what = _run(f": {wording.what(announcement)} ")
        yield _runs(_run(f"{wording.mark(announcement)} "), app, what, verdict, _run(wording.compared(announcement)))
        if cause := cut_middle(wording.unpinged(wording.cause(announcement)), CAUSE_LIMIT_BYTES, json_bytes):
            yield _runs(_run(cause, fontType="Monospace"))
    if said := " · ".join(_phrases(announcement)):
        yield _runs(
            _run(cut_middle(wording.unpinged(said), _CONTEXT_LIMIT_BYTES, json_bytes), isSubtle=True, size="Small")
        )


def _phrases(announcement: Announcement) -> Iterator[str]:
    for name, value in wording.context(announcement.context):
        yield _INTRODUCED.get(name, f"{name}: ") + value


def _runs(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [run for run in runs if run["text"]]}


def _run(text: str, **style: Any) -> dict[str, Any]:
    return {"type": "TextRun", "text": wording.unpinged(text), **style}


def _entity(mention: str) -> dict[str, Any]:
    return {"type": "mention", "text": f"<at>{mention}</at>", "mentioned": {"id": mention, "name": mention}}
