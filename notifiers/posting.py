"""The base of the kinds that send requests to an operator's own programs and services, for days if need be."""

from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

from pydantic import Field

from notifiers.judge import check_host, judge
from notifiers.kind import Kind, SecretUrl
from operations.telling.announcement import Announcement

if TYPE_CHECKING:
    from aiohttp import ClientSession

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
    """Sends a request. Any 2xx is success, 410 a permanent failure, and any other answer a transient one.

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

    async def send(self, announcement: Announcement, http: "ClientSession") -> None:
        """Send the request once."""
        now = datetime.now(UTC)
        method, url, headers, body = self.request(announcement, now)
        headers = {"user-agent": "opwatch", **headers}
        async with http.request(method, url, data=body, headers=headers, allow_redirects=False) as response:
            error = judge("", response.status, response.headers, now, final={HTTPStatus.GONE}, overloaded=_OVERLOADED)
            if error is not None:
                raise error

    async def check(self, http: "ClientSession") -> str:
        """Connect, without sending anything."""
        return await check_host(self.url, http)
