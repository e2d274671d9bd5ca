"""The base of the chats that take one JSON document at one secret URL."""

import json
from abc import abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from notifiers.judge import check_host, judge
from notifiers.kind import Kind, SecretUrl
from operations.errors import TransientError
from operations.telling.announcement import Announcement
from operations.text import encodable

if TYPE_CHECKING:
    from aiohttp import ClientSession


class Chat(Kind):
    """Posts one JSON document for each outcome to `webhook_url`.

    A kind defines its documents, the place of an error code in the answers and, if the status alone does not tell
    success, `taken`.
    """

    service: ClassVar[str]
    code_path: ClassVar[tuple[str, ...]] = ()
    query: ClassVar[dict[str, str]] = {}

    webhook_url: Annotated[SecretUrl, Field(description="where messages are posted")]

    @abstractmethod
    def document(self, announcement: Announcement) -> dict[str, Any]:
        """Write the message, within the service's limits."""

    def taken(self, body: bytes) -> bool:  # noqa: ARG002 - for most services the status is enough
        """Tell whether the body of a 2xx says that the message was accepted. If it breaks off, the status counts."""
        return True

    async def send(self, announcement: Announcement, http: "ClientSession") -> None:
        """Post once. Raises unless the service itself answers with a 2xx."""
        async with http.post(
            self.webhook_url.get_secret_value(),
            params=self.query,
            data=encodable(json.dumps(self.document(announcement), ensure_ascii=False)).encode(),
            headers={"content-type": "application/json", "user-agent": "opwatch"},
            allow_redirects=False,
        ) as response:
            body = await response.read()
            code = self.answer_code(body, *self.code_path)
            error = judge(self.service, response.status, response.headers, datetime.now(UTC), code=code)
            if error is not None:
                raise error
            if not self.taken(body):
                raise TransientError(f"the answer is not {self.service}'s: check the URL")

    async def check(self, http: "ClientSession") -> str:
        """Connect, without posting."""
        return await check_host(self.webhook_url, http)

    def preview(self, announcement: Announcement) -> str:
        """Write the document."""
        return json.dumps(self.document(announcement), ensure_ascii=False, indent=2)
