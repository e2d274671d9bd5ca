"""Kind `teams`: one adaptive card per outcome, by a workflow of Microsoft Teams that starts with a webhook.

https://support.microsoft.com/office/8ae491c7-0394-4861-ba59-055e33f75498 (incoming webhooks with Workflows) and
https://learn.microsoft.com/connectors/teams/ (a card has at most 28 kB). The workflow answers 202 before it posts, so
only its run history shows failures.
"""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from notifiers import Announcement, Chat, Mentioning, context_wording, cut_middle, group_wording, json_bytes, wording

CAUSE_LIMIT_BYTES = 6_000
_CONTEXT_LIMIT_BYTES = 2_000
_STRONG = context_wording.Markup(strong="\0{}\0".format)


class Teams(Chat, Mentioning):
    """Posts a card to the channel or chat of a workflow."""

    service: ClassVar[str] = "Teams"
    code_path: ClassVar[tuple[str, ...]] = ("error", "code")

    set_up: ClassVar[str] = """\
In Teams: the channel's ⋯ → Workflows → "Send webhook alerts to a channel" → copy the URL. Anyone must be allowed to
trigger the workflow (the default), because the URL is the only credential. The old connectors (`webhook.office.com`)
are not supported.

```toml
[targets.teams]
kind = "teams"
webhook_url = "${TEAMS_URL}"
mention = "jane@example.com"
```

Teams answers 202 before the workflow posts the card. So `delivered` means only that the workflow was started. The
workflow's run history shows whether it posted the card.
"""
    limits: ClassVar[str] = (
        "the error text is cut to 6,000 bytes, the context to 2,000. So cards stay well below Teams' limit of 28 kB."
    )

    mentions: ClassVar[re.Pattern[str]] = re.compile(r"[^\s<>&]{1,200}")
    mentions_in_words: ClassVar[str] = "a user's e-mail address or object id in Entra; Teams cannot mention a channel"

    def document(self, announcement: Announcement) -> dict[str, Any]:
        """Write a card. Texts from outside are text runs, in which Teams reads no markup."""
        mention = self.mention_for(announcement)
        links = context_wording.links(announcement.context, announcement.links)
        card = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": list(_body(announcement, mention)),
            "actions": [{"type": "Action.OpenUrl", "title": word, "url": url} for word, url in links],
            "msteams": {"width": "Full", "entities": [_entity(mention)] if mention else []},
        }
        attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
        return {"type": "message", "attachments": [attachment]}


def _body(announcement: Announcement, mention: str | None) -> Iterator[dict[str, Any]]:
    if mention:
        yield {"type": "TextBlock", "text": f"<at>{mention}</at>"}
    if announcement.alert is not None:
        yield _runs(_run(wording.headline(announcement), weight="Bolder"))
    if announcement.closing is not None:
        yield _runs(_run(wording.outcome(announcement), weight="Bolder"))
        yield from (_runs(_run(line)) for line in group_wording.lines(announcement.closing))
    elif announcement.ended or announcement.slow:
        parts = wording.outcome(announcement, _STRONG).split("\0")  # each second one is strong
        yield _runs(*(_run(part, weight="Bolder") if number % 2 else _run(part) for number, part in enumerate(parts)))
        whole = wording.shown_cause(announcement)
        if cause := wording.shortened(whole, CAUSE_LIMIT_BYTES, lambda text: json_bytes(wording.unpinged(text))):
            yield _runs(_run(cause, fontType="Monospace"))
    if said := " · ".join(context_wording.phrases(announcement, context_wording.PLAIN)):
        said = cut_middle(wording.unpinged(said), _CONTEXT_LIMIT_BYTES, json_bytes)
        yield _runs(_run(said, isSubtle=True, size="Small"))


def _runs(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [run for run in runs if run["text"]]}


def _run(text: str, **style: Any) -> dict[str, Any]:
    return {"type": "TextRun", "text": wording.unpinged(text), **style}


def _entity(mention: str) -> dict[str, Any]:
    return {"type": "mention", "text": f"<at>{mention}</at>", "mentioned": {"id": mention, "name": mention}}
