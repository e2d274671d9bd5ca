"""Kind `discord`: one message per outcome, by a channel's webhook.

Limits, allowed mentions and answers: https://docs.discord.com/developers/resources/webhook#execute-webhook,
https://docs.discord.com/developers/resources/message#embed-object-embed-limits and
https://docs.discord.com/developers/topics/rate-limits
"""

import re
from typing import Annotated, Any, ClassVar

from pydantic import Field

from notifiers import Announcement, Chat, wording
from notifiers.chat import markdown


class Discord(Chat):
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

    mention: Annotated[
        str | None,
        Field(
            pattern=r"^(@here|@everyone|<@&?\d{1,20}>)$",
            description="`@here`, `@everyone`, `<@user id>` or `<@&role id>`",
        ),
    ] = None

    def document(self, announcement: Announcement) -> dict[str, Any]:
        """Write everything in an embed, which has the verdict's colour. Only a mention in the content notifies."""
        said = "\n".join(filter(None, [markdown.headline(announcement, None), markdown.details(announcement)]))
        return {
            "content": self.mention if self.mention and wording.went_wrong(announcement) else "",
            "embeds": [{"description": said, "color": wording.colour(announcement)}],
            "allowed_mentions": self._allowed_mentions(),
        }

    def _allowed_mentions(self) -> dict[str, list[str]]:
        """Allow only our own mention, not those in a text from outside."""
        numbers = re.findall(r"\d+", self.mention or "")
        kind = "roles" if "&" in (self.mention or "") else "users"
        return {"parse": ["everyone"] if self.mention and not numbers else [], **({kind: numbers} if numbers else {})}
