"""The bases of the kinds that post by HTTP: to chats, and to an operator's own programs and services."""

import json
from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from notifiers.judge import judge
from notifiers.kind import ClientSession, Kind, SecretUrl
from operations.errors import TransientError
from operations.telling.announcement import Announcement
from operations.text import encodable

_MINUTE_S, _HOUR_S = 60.0, 3600.0
_OVERLOADED: Mapping[int, float] = {
    HTTPStatus.TOO_MANY_REQUESTS: _MINUTE_S,
    HTTPStatus.BAD_GATEWAY: _MINUTE_S,
    HTTPStatus.GATEWAY_TIMEOUT: _MINUTE_S,
}


class Request(NamedTuple):
    """One HTTP request."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


class Posting(Kind):
    """Sends a request, for days if need be. Any 2xx is success, 410 a permanent failure, any other answer transient.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """

    retry_delays_s: ClassVar[tuple[float, ...]] = (
        5.0,
        5 * _MINUTE_S,
        30 * _MINUTE_S,
        *(hours * _HOUR_S for hours in (2, 5, 10, 14, 20, 24)),
    )
    at_once: ClassVar[int] = 10
    groups: ClassVar[str] = "each"

    url: Annotated[SecretUrl, Field(description="where the body is posted")]

    @abstractmethod
    def request(self, announcement: Announcement, now: datetime) -> Request:
        """Write the request of an attempt made at `now`. Raises PermanentError if it cannot be written."""

    async def send(self, announcement: Announcement, http: ClientSession) -> None:
        """Send the request once."""
        now = datetime.now(UTC)
        method, url, headers, body = self.request(announcement, now)
        headers = {"user-agent": "opwatch", **headers}
        async with http.request(method, url, data=body, headers=headers, allow_redirects=False) as response:
            error = judge("", response.status, response.headers, now, final={HTTPStatus.GONE}, overloaded=_OVERLOADED)
            if error is not None:
                raise error

    async def check(self, http: ClientSession) -> str:
        """Connect, without sending anything."""
        return await check_host(self.url, http)


class Chat(Kind):
    """Posts one JSON document for each outcome to `webhook_url`, which is a secret.

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

    async def send(self, announcement: Announcement, http: ClientSession) -> None:
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

    async def check(self, http: ClientSession) -> str:
        """Connect, without posting."""
        return await check_host(self.webhook_url, http)

    def preview(self, announcement: Announcement) -> str:
        """Write the document."""
        return json.dumps(self.document(announcement), ensure_ascii=False, indent=2)


async def check_host(url: SecretStr, http: ClientSession) -> str:
    """Connect to the host of a URL as `send` does (resolver, address guard, TLS). Raises what `http` raises.

    It sends only `HEAD /`: the URL's path is neither requested nor shown.
    """
    parts = urlsplit(url.get_secret_value())
    root = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
    async with http.head(root, allow_redirects=False):
        pass
    return f"{parts.hostname} answers; only send-test shows whether it accepts messages"
