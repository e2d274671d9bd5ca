"""Kind `slack`: one message per outcome, by incoming webhook or by bot token.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and
https://docs.slack.dev/reference/methods/chat.postMessage
"""

import logging
import re
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, SecretStr, model_validator

from notifiers import KIND_SETTINGS, SecretUrl, slack_check, slack_message
from notifiers.reach import reached
from notifiers.reasons import reason_of
from operations.announcement import Announcement
from operations.errors import OpwatchError, PermanentError, RateLimitedError, TransientError
from operations.retries import parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import ClientSession

RATE = frozenset({"ratelimited", "rate_limited"})
OUR_PAYLOAD = frozenset(
    [
        "invalid_payload",
        "no_text",
        "invalid_blocks",
        "invalid_blocks_format",
        "too_many_attachments",
        "msg_blocks_too_long",
        "msg_too_long",
        "invalid_attachments",
    ]
)
TARGET = frozenset(
    [
        "invalid_token",
        "action_prohibited",
        "channel_not_found",
        "no_service",
        "no_service_id",
        "no_active_hooks",
        "no_team",
        "channel_is_archived",
        "user_not_found",
        "team_disabled",
        "posting_to_general_channel_denied",
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "missing_scope",
        "not_in_channel",
        "is_archived",
        "restricted_action",
        "no_permission",
        "ekm_access_denied",
        "message_limit_exceeded",
    ]
)
_QUIET = logging.getLogger("opwatch.slack_sdk")
_QUIET.setLevel(logging.WARNING)  # at DEBUG slack_sdk writes the webhook's URL, which is a secret
_DEFAULT_PAUSE_S = 30.0
_CODE = re.compile(r"[a-z0-9_]{1,60}")


class PayloadRefusedError(PermanentError):
    """Slack does not accept what we built; a plain text may still pass."""


def classify(code: str, status: int, retry_after_s: float | None) -> OpwatchError:
    """Turn a refusal into the error that says what to do: Slack's error string counts first, the status second."""
    said = f"Slack answered {status}" + (f": {code}" if code else "")
    if code in OUR_PAYLOAD or code.startswith("metadata_"):
        return PayloadRefusedError(said)
    if code in TARGET or code.startswith("restricted_action"):
        return PermanentError(said)
    if code in RATE or status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(said, retry_after_s=_DEFAULT_PAUSE_S if retry_after_s is None else retry_after_s)
    return TransientError(said, retry_after_s=retry_after_s, reason=reason_of(status))


class Slack(BaseModel):
    """Posts to the channel of an incoming webhook, or as a bot to `channel`.

    `mention` (`<!here>`, `<@U…>`, `<!subteam^S…>`) is put in front when something went wrong.
    """

    model_config = KIND_SETTINGS
    retry_delays_s: ClassVar[tuple[float, ...]] = (5.0, 15.0, 45.0, 120.0, 300.0, 600.0, 1200.0, 1200.0)
    at_once: ClassVar[int] = 1  # Slack takes about one message a second per channel

    webhook_url: SecretUrl | None = None
    bot_token: SecretStr | None = None
    channel: str | None = None
    api_url: SecretUrl | None = None
    mention: str | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        by_bot = self.bot_token is not None or self.channel is not None
        if (self.webhook_url is not None) == by_bot or (by_bot and not (self.bot_token and self.channel)):
            message = "needs either a webhook URL, or a bot token and a channel"
            raise ValueError(message)
        return self

    @property
    def _api_url(self) -> str | None:
        return None if self.api_url is None else self.api_url.get_secret_value()

    async def send(self, announcement: Announcement, http: "ClientSession") -> None:
        """Post once; where Slack refuses the blocks, once more as plain text."""
        try:
            await self._post(slack_message.message(announcement, self.mention), http)
        except PayloadRefusedError:
            await self._post(slack_message.plain_message(announcement, self.mention), http)

    async def check(self, http: "ClientSession") -> str:
        """Try the bot's token and channel; of a webhook, whether its host can be reached."""
        if self.webhook_url is not None:
            return await reached(self.webhook_url, http)
        return await slack_check.checked(partial(self._ask, http), self.channel or "")

    async def _ask(
        self, http: "ClientSession", method: str, form: dict[str, str]
    ) -> "tuple[Mapping[str, Any], Mapping[str, str]]":
        token = "" if self.bot_token is None else self.bot_token.get_secret_value()
        return await _call(token, self._api_url, method, http, data=form)

    async def _post(self, message: dict[str, Any], http: "ClientSession") -> None:
        if self.webhook_url is not None:
            await _post_to_webhook(self.webhook_url.get_secret_value(), message, http)
        elif self.bot_token is not None:
            await _post_as_bot(
                self.bot_token.get_secret_value(), self._api_url, {**message, "channel": self.channel}, http
            )


async def _post_to_webhook(url: str, message: dict[str, Any], http: "ClientSession") -> None:
    from slack_sdk.webhook.async_client import AsyncWebhookClient  # noqa: PLC0415 - `web` never sends: it saves the memory

    client = AsyncWebhookClient(url, session=http, retry_handlers=[], logger=_QUIET)
    client.proxy = None  # taken from the environment otherwise; the address guard would see the proxy
    response = await client.send_dict(message)
    if response.status_code != HTTPStatus.OK or response.body.strip() != "ok":
        raise classify(_code(response.body), response.status_code, _pause_s(response.headers))


async def _post_as_bot(token: str, api_url: str | None, message: dict[str, Any], http: "ClientSession") -> None:
    await _call(token, api_url, "chat.postMessage", http, json=message)


async def _call(
    token: str, api_url: str | None, method: str, http: "ClientSession", **body: Any
) -> "tuple[Mapping[str, Any], Mapping[str, str]]":
    """Call a method of the Web API; gives the answer and its headers. `body`: `json`, or a form as `data`."""
    from slack_sdk.errors import SlackApiError  # noqa: PLC0415
    from slack_sdk.web.async_client import AsyncWebClient  # noqa: PLC0415

    base_url = AsyncWebClient.BASE_URL if api_url is None else api_url.rstrip("/") + "/"
    client = AsyncWebClient(token, session=http, retry_handlers=[], logger=_QUIET, base_url=base_url)
    client.proxy = None
    try:
        answer = await client.api_call(method, **body)
    except SlackApiError as error:
        refusal = error.response
        said = refusal.data.get("error", "") if isinstance(refusal.data, dict) else None
        raise classify(_code(said), refusal.status_code, _pause_s(refusal.headers)) from None
    except AttributeError:  # slack_sdk looks for "ok" in whatever a 200 brought
        raise TransientError("the answer is not Slack's: no JSON object") from None
    return (answer.data if isinstance(answer.data, dict) else {}), answer.headers


def _code(said: object) -> str:
    """Keep an error code such as Slack writes them; any other text may hold anything, even what we sent."""
    code = said.strip() if isinstance(said, str) else None
    return code if code == "" or (code and _CODE.fullmatch(code)) else "an unexpected body"


def _pause_s(headers: "Mapping[str, str]") -> float | None:
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    return parse_retry_after(value, datetime.now(UTC))
