"""Kind `rocketchat`: one message per outcome, by an incoming webhook integration.

https://docs.rocket.chat/docs/integrations; answers and mentions are documented only by the source:
https://github.com/RocketChat/Rocket.Chat/tree/develop/apps/meteor/app (integrations/server/api, mentions/server)
"""

import re
from typing import Annotated, Any, ClassVar

from pydantic import Field

from notifiers import Announcement, Chat, Mentioning, answer_field
from notifiers.chat import markdown


class RocketChat(Chat, Mentioning):
    """Posts to the channel of an integration, or to another one."""

    service: ClassVar[str] = "Rocket.Chat"
    code_path: ClassVar[tuple[str, ...]] = ("error",)
    set_up: ClassVar[str] = """\
Administration → Workspace → Integrations → New → Incoming: enable it, choose channel and user, save, copy the webhook
URL. Leave its script off, or make it answer `{"success": true}`.

```toml
[targets.rocketchat]
kind = "rocketchat"
webhook_url = "${ROCKETCHAT_URL}"
channel = "#deploys"
mention = "@here"
```

Your own server on a private address needs `OPWATCH_ALLOW_PRIVATE_TARGETS=true`.
"""
    limits: ClassVar[str] = "error text and context together are cut to 3,500 bytes."
    mentions: ClassVar[re.Pattern[str]] = re.compile(r"@[A-Za-z0-9._-]{1,64}")
    mentions_in_words: ClassVar[str] = "`@here`, `@all` or `@name`"

    channel: Annotated[
        str | None, Field(description="another channel (`#name`) or person (`@name`), if the integration allows it")
    ] = None

    def document(self, announcement: Announcement) -> dict[str, Any]:
        """Write the headline as text and the details as an attachment: in the text even code can mention people."""
        return markdown.with_attachment(announcement, self.mention_for(announcement), self.channel)

    def taken(self, body: bytes) -> bool:
        """Tell whether the body has `"success": true`: a wrong path is answered with 200 and a page."""
        broken_off = body.strip()[:1] in (b"", b"{") and answer_field(body) is None
        return broken_off or answer_field(body, "success") is True
