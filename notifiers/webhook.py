"""Kind `webhook`: a signed POST as Standard Webhooks 1.0.0 has it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr
from standardwebhooks import Webhook as Signer

from notifiers import KIND_SETTINGS, SecretUrl
from notifiers.answers import answered
from notifiers.reach import reached
from notifiers.reasons import reason_of
from operations.errors import PermanentError, RateLimitedError, TransientError
from operations.telling.announcement import Announcement
from operations.telling.retries import parse_retry_after

if TYPE_CHECKING:
    from aiohttp import ClientSession

_MINUTE_S, _HOUR_S = 60.0, 3600.0
_OVERLOADED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)
_LEAST_PAUSE_WHEN_OVERLOADED_S = 60.0


def _signing_secret(secret: SecretStr) -> SecretStr:
    try:
        key = base64.b64decode(secret.get_secret_value().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not (secret.get_secret_value().startswith("whsec_") and 24 <= len(key) <= 64):  # noqa: PLR2004 - the specification's
        message = "must be whsec_ and the base64 of 24 to 64 random bytes (echo whsec_$(openssl rand -base64 32))"
        raise ValueError(message)
    return secret


def _listed(value: object) -> object:
    return value.split() if isinstance(value, str) else value


class Webhook(BaseModel):
    """Posts the announcement's very bytes, signed with each secret (the newest first, while one is being replaced)."""

    model_config = KIND_SETTINGS
    retry_delays_s: ClassVar[tuple[float, ...]] = (
        5.0,
        5 * _MINUTE_S,
        30 * _MINUTE_S,
        *(hours * _HOUR_S for hours in (2, 5, 10, 14, 20, 24)),
    )
    at_once: ClassVar[int] = 10

    url: SecretUrl
    secret: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_signing_secret)], ...], BeforeValidator(_listed), Field(min_length=1)
    ]

    async def send(self, announcement: Announcement, http: "ClientSession") -> None:
        """Post once. Any 2xx is success; 410 means never again; everything else is worth another try."""
        now = datetime.now(UTC)
        async with http.post(
            self.url.get_secret_value(),
            data=announcement.body,
            headers=self.headers(announcement, now),
            allow_redirects=False,
        ) as response:
            if response.status // 100 == 2:  # noqa: PLR2004
                return
            said, reason = answered(response.status), reason_of(response.status)
            if response.status == HTTPStatus.GONE:
                raise PermanentError(said, reason=reason)
            pause_s = parse_retry_after(response.headers.get("Retry-After"), now)
            if response.status in _OVERLOADED:
                pause_s = pause_s or _LEAST_PAUSE_WHEN_OVERLOADED_S
                raise RateLimitedError(said, retry_after_s=pause_s, reason=reason)
            raise TransientError(said, retry_after_s=pause_s, reason=reason)

    async def check(self, http: "ClientSession") -> str:
        """Connect, without posting anything."""
        return await reached(self.url, http)

    def headers(self, announcement: Announcement, now: datetime) -> dict[str, str]:
        """Sign one attempt made at `now`."""
        signatures = (
            Signer(secret.get_secret_value()).sign(announcement.delivery_id, now, announcement.body.decode())
            for secret in self.secret
        )
        return {
            "content-type": "application/json",
            "user-agent": "opwatch",
            "webhook-id": announcement.delivery_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
