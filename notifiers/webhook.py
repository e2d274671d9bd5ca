"""Kind `webhook`: a signed POST by Standard Webhooks 1.0.0.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from standardwebhooks import Webhook as Signer

from notifiers import Announcement, Kind, SecretUrl, check_host, judge

if TYPE_CHECKING:
    from aiohttp import ClientSession

_MINUTE_S, _HOUR_S = 60.0, 3600.0
_OVERLOADED: Mapping[int, float] = {
    HTTPStatus.TOO_MANY_REQUESTS: _MINUTE_S,
    HTTPStatus.BAD_GATEWAY: _MINUTE_S,
    HTTPStatus.GATEWAY_TIMEOUT: _MINUTE_S,
}


def _signing_secrets(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if not all(_is_signing_secret(secret.get_secret_value()) for secret in secrets):
        message = "must be whsec_ and the base64 of 24 to 64 random bytes (echo whsec_$(openssl rand -base64 32))"
        raise ValueError(message)
    return secrets


def _is_signing_secret(secret: str) -> bool:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return False
    return secret.startswith("whsec_") and 24 <= len(key) <= 64  # noqa: PLR2004 - the specification's


def _listed(value: object) -> object:
    return value.split() if isinstance(value, str) else value


class Webhook(Kind):
    """Posts the outcome as signed JSON to your own program."""

    retry_delays_s: ClassVar[tuple[float, ...]] = (
        5.0,
        5 * _MINUTE_S,
        30 * _MINUTE_S,
        *(hours * _HOUR_S for hours in (2, 5, 10, 14, 20, 24)),
    )
    at_once: ClassVar[int] = 10
    groups: ClassVar[str] = "each"
    set_up: ClassVar[str] = """\
[Webhooks](messages.md#webhooks) describes the requests, and has an example of a receiver. Make a secret with
`echo whsec_$(openssl rand -base64 32)`.

```toml
[targets.ledger]
kind = "webhook"
url = "https://ledger.example.com/opwatch"
secret = "${LEDGER_SECRET}"
```

Any 2xx means success. After a 410, the delivery is given up. After every other answer, it is retried.
"""
    limits: ClassVar[str] = "the body stays below 20 kB; the error text in it is cut to 8 kB."

    url: Annotated[SecretUrl, Field(description="where the body is posted")]
    secret: Annotated[
        tuple[SecretStr, ...],
        BeforeValidator(_listed),
        AfterValidator(_signing_secrets),
        Field(min_length=1, description="`whsec_…`, or several, the newest first; each of them signs every message"),
    ]

    async def send(self, announcement: Announcement, http: "ClientSession") -> None:
        """Post once. Any 2xx is success, 410 a permanent failure, and any other answer a transient one."""
        now = datetime.now(UTC)
        async with http.post(
            self.url.get_secret_value(),
            data=announcement.body,
            headers=self.headers(announcement, now),
            allow_redirects=False,
        ) as response:
            error = judge("", response.status, response.headers, now, final={HTTPStatus.GONE}, overloaded=_OVERLOADED)
            if error is not None:
                raise error

    async def check(self, http: "ClientSession") -> str:
        """Connect, without posting."""
        return await check_host(self.url, http)

    def preview(self, announcement: Announcement) -> str:
        """Write the body, indented."""
        return json.dumps(json.loads(announcement.body), ensure_ascii=False, indent=2)

    def headers(self, announcement: Announcement, now: datetime) -> dict[str, str]:
        """Return the headers of an attempt made at `now`, with its signatures."""
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
