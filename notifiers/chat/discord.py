"""Kind `discord`: one message per outcome, by a channel's webhook.

Limits, allowed mentions and answers: https://docs.discord.com/developers/resources/webhook#execute-webhook,
https://docs.discord.com/developers/resources/message#embed-object-embed-limits and
https://docs.discord.com/developers/topics/rate-limits
"""

import re
from typing import Any, ClassVar

from notifiers import Announcement, Chat, Mentioning, wording
from notifiers.chat import markdown


class Discord(Chat, Mentioning):
    """Posts to the channel of a webhook."""

    service: ClassVar[str] = "Discord"
    code_path: ClassVar[tuple[str, ...]] = ("code",)
    query: ClassVar[dict[str, str]] = {
        "wait": "true"
    }  # without it, Discord reports no error for a message that it drops
    set_up: ClassVar[str] = """\
Channel settings → Integrations → Webhooks → New Webhook → Copy Webhook URL. For a thread, add `?thread_id=…`. For the
ids in a `mention`: Developer Mode, right click, Copy ID.

```toml
[targets.discord]
kind = "discord"
webhook_url = "${DISCORD_URL}"
mention = "<@&81384788765712384>"
```

Only this mention can notify anyone (`allowed_mentions`). A delivery to an unknown or deleted webhook
(`404 Not Found: 10015`) is given up immediately.
"""
    limits: ClassVar[str] = "error text and context together are cut to 3,500 bytes."
    mentions: ClassVar[re.Pattern[str]] = re.compile(r"@here|@everyone|<@&?\d{1,20}>")
    mentions_in_words: ClassVar[str] = "`@here`, `@everyone`, `<@user id>` or `<@&role id>`"

    def document(self, announcement: Announcement) -> dict[str, Any]:
        """Write everything in an embed, which has the verdict's colour. Only a mention in the content notifies."""
        mention = self.mention_for(announcement) or ""
        said = "\n".join(filter(None, [markdown.headline(announcement, None), markdown.details(announcement)]))
        return {
            "content": mention,
            "embeds": [{"description": said, "color": wording.colour(announcement)}],
            "allowed_mentions": _allowed_mentions(mention),
        }


def _allowed_mentions(mention: str) -> dict[str, list[str]]:
    """Allow only our own mention, not those in a text from outside."""
    numbers = re.findall(r"\d+", mention)
    kind = "roles" if "&" in mention else "users"
    return {"parse": ["everyone"] if mention and not numbers else [], **({kind: numbers} if numbers else {})}
