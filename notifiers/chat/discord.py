"""Kind `discord`: one message per outcome, by a channel's webhook.

Limits, allowed mentions and answers: https://docs.discord.com/developers/resources/webhook#execute-webhook,
https://docs.discord.com/developers/resources/message#embed-object-embed-limits and
https://docs.discord.com/developers/topics/rate-limits
"""

import re
from typing import Annotated, Any, ClassVar

from pydantic import Field

from notifiers.chat import markdown
from notifiers.chat.base import Chat
from operations.telling.announcement import Announcement


class Discord(Chat):
    """Posts to the channel of a webhook, a thread of it with `?thread_id=…`.

    `mention` (`@here`, `@everyone`, `<@user id>`, `<@&role id>`) is put in front when something went wrong.
    """

    service: ClassVar[str] = "Discord"
    code_path: ClassVar[tuple[str, ...]] = ("code",)
    query: ClassVar[dict[str, str]] = {"wait": "true"}  # otherwise a message that is not kept is no error

    mention: Annotated[str, Field(pattern=r"^(@here|@everyone|<@&?\d{1,20}>)$")] | None = None

    def document(self, announcement: Announcement) -> dict[str, Any]:
        """Write the headline as content, at most 2,000 characters, and the details as an embed."""
        embed = {"description": markdown.details(announcement), "color": markdown.colour(announcement)}
        return {
            "content": markdown.headline(announcement, self.mention),
            "embeds": [embed] if embed["description"] else [],
            "allowed_mentions": self._allowed_mentions(),
        }

    def _allowed_mentions(self) -> dict[str, list[str]]:
        """Allow our own mention, and nothing that a text from outside may look like."""
        numbers = re.findall(r"\d+", self.mention or "")
        kind = "roles" if "&" in (self.mention or "") else "users"
        return {"parse": ["everyone"] if self.mention and not numbers else [], **({kind: numbers} if numbers else {})}
