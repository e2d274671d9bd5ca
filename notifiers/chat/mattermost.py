"""Kind `mattermost`: one message per outcome, by an incoming webhook.

https://developers.mattermost.com/integrate/webhooks/incoming/ and
https://developers.mattermost.com/integrate/reference/message-attachments/
"""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from notifiers.chat import markdown
from notifiers.chat.base import Chat
from operations.telling.announcement import Announcement


class Mattermost(Chat):
    """Posts to the channel of an incoming webhook, or to `channel` where the webhook is not locked to its own.

    `mention` (`@here`, `@channel`, `@all`, `@name`) is put in front when something went wrong.
    """

    service: ClassVar[str] = "Mattermost"
    code_path: ClassVar[tuple[str, ...]] = ("id",)

    channel: str | None = None
    mention: Annotated[str, Field(pattern=r"^@[a-z0-9._-]{1,64}$")] | None = None

    def document(self, announcement: Announcement) -> dict[str, Any]:
        """Write the headline as text and the details as an attachment: of Slack's dialect there are no blocks here."""
        return markdown.with_attachment(announcement, self.mention, self.channel)

    def taken(self, body: bytes) -> bool:
        """Whether it says `ok`: a wrong path may be answered with 200 and a page."""
        return body.strip() == b"ok"
