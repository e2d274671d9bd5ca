"""Kind `mattermost`: one message per outcome, by an incoming webhook.

https://developers.mattermost.com/integrate/webhooks/incoming/ and
https://developers.mattermost.com/integrate/reference/message-attachments/
"""

import re
from typing import Annotated, Any, ClassVar

from pydantic import Field

from notifiers import Announcement, Chat, Mentioning
from notifiers.chat import markdown


class Mattermost(Chat, Mentioning):
    """Posts to the channel of an incoming webhook, or to another one."""

    service: ClassVar[str] = "Mattermost"
    code_path: ClassVar[tuple[str, ...]] = ("id",)
    set_up: ClassVar[str] = """\
Integrations → Incoming Webhooks → Add, then copy the URL. An administrator must enable incoming webhooks.

```toml
[targets.mattermost]
kind = "mattermost"
webhook_url = "${MATTERMOST_URL}"
channel = "town-square"
mention = "@here"
```

A 2xx with another body than `ok` is a failure. Your own server on a private address needs
`OPWATCH_ALLOW_PRIVATE_TARGETS=true`.
"""
    limits: ClassVar[str] = "error text and context together are cut to 3,500 bytes."
    mentions: ClassVar[re.Pattern[str]] = re.compile(r"@[a-z0-9._-]{1,64}")
    mentions_in_words: ClassVar[str] = "`@here`, `@channel`, `@all` or `@name`"

    channel: Annotated[str | None, Field(description="another channel, unless the webhook is locked to its own")] = None

    def document(self, announcement: Announcement) -> dict[str, Any]:
        """Write the headline as text and the details as an attachment; Mattermost has no blocks."""
        return markdown.with_attachment(announcement, self.mention_for(announcement), self.channel)

    def taken(self, body: bytes) -> bool:
        """Tell whether the body is `ok`: a wrong path may be answered with 200 and a page."""
        return b"ok".startswith(body.strip())
