"""Kind `rocketchat`: one message per outcome, by an incoming webhook integration.

https://docs.rocket.chat/docs/integrations; answers, and what calls somebody, in the source:
https://github.com/RocketChat/Rocket.Chat/tree/develop/apps/meteor/app (integrations/server/api, mentions/server)
"""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from notifiers import answers
from notifiers.chat import markdown
from notifiers.chat.base import Chat
from operations.telling.announcement import Announcement


class RocketChat(Chat):
    """Posts to the channel of an integration, or to `channel` (`#name`, `@name`) where it allows overriding its own.

    `mention` (`@here`, `@all`, `@name`) is put in front when something went wrong.
    """

    service: ClassVar[str] = "Rocket.Chat"
    code_path: ClassVar[tuple[str, ...]] = ("error",)

    channel: str | None = None
    mention: Annotated[str, Field(pattern=r"^@[A-Za-z0-9._-]{1,64}$")] | None = None

    def document(self, announcement: Announcement) -> dict[str, Any]:
        """Write the headline as text and the details as an attachment: in the text even code could call somebody."""
        return markdown.with_attachment(announcement, self.mention, self.channel)

    def taken(self, body: bytes) -> bool:
        """Whether it says `"success": true`: a wrong path is answered with 200 and a page."""
        return answers.field(body, "success") is True
