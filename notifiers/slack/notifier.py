"""Kind `slack`: one message per outcome, by incoming webhook or by bot token. A bot's message can be live.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks,
https://docs.slack.dev/reference/methods/chat.postMessage and https://docs.slack.dev/reference/methods/chat.update
"""

import asyncio
import json
import logging
import re
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, SecretStr, model_validator

from notifiers import (
    Announcement,
    GroupMessage,
    Kind,
    MessageRef,
    PermanentError,
    Progress,
    SecretUrl,
    TransientError,
    check_host,
)
from notifiers.slack import check as slack_check
from notifiers.slack import group as slack_group
from notifiers.slack import live as slack_live
from notifiers.slack import message as slack_message
from notifiers.slack.errors import MessageGoneError, PayloadRefusedError, classify, classify_edit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import ClientSession
    from slack_sdk.web.async_client import AsyncWebClient

    from notifiers import OpwatchError

    Classify = Callable[[str, int, Mapping[str, str], datetime], OpwatchError]

_QUIET = logging.getLogger("opwatch.slack_sdk")
_QUIET.setLevel(logging.WARNING)  # at DEBUG slack_sdk writes the webhook's URL, which is a secret
EDIT_WITHIN_S = 5.0
"""Short enough to leave time to post instead."""

_CODE = re.compile(r"[a-z0-9_]{1,60}")


class Slack(Kind):
    """Posts to the channel of an incoming webhook, or as a bot."""

    set_up: ClassVar[str] = """\
See [Slack and others](../README.md#slack-and-others) for how to get either. Slack's error codes decide what is retried.

```toml
[targets.deploys]
kind = "slack"
webhook_url = "${SLACK_DEPLOYS_URL}"
mention = "<!here>"
```
"""
    limits: ClassVar[str] = (
        "the error text is cut to 2,400 characters; a live message shows its first line, and a reply has the rest."
    )

    webhook_url: Annotated[SecretUrl | None, Field(description="of an incoming webhook; or:")] = None
    bot_token: Annotated[SecretStr | None, Field(description="of a bot with the scope `chat:write`")] = None
    channel: Annotated[str | None, Field(description="the bot's channel, best by its id")] = None
    api_url: Annotated[SecretUrl | None, Field(description="another server with Slack's Web API, for the bot")] = None
    mention: Annotated[str | None, Field(description="`<!here>`, `<@U…>` or `<!subteam^S…>`")] = None
    live: Annotated[bool, Field(description="`true`: the bot edits one message per operation while it runs")] = False

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        by_bot = self.bot_token is not None or self.channel is not None
        if (self.webhook_url is not None) == by_bot or (by_bot and not (self.bot_token and self.channel)):
            message = "needs either a webhook URL, or a bot token and a channel"
            raise ValueError(message)
        if self.live and not by_bot:
            message = "live = true needs a bot token and a channel: messages by webhook cannot be edited"
            raise ValueError(message)
        return self

    async def send(self, announcement: Announcement, http: "ClientSession") -> None:
        """Post once; if Slack refuses the blocks, once more as plain text."""
        try:
            await self._post(slack_message.message(announcement, self.mention), http)
        except PayloadRefusedError:
            await self._post(slack_message.plain_message(announcement, self.mention), http)

    async def show(
        self, shown: Progress | GroupMessage, posted: MessageRef | None, http: "ClientSession"
    ) -> MessageRef:
        """Post the progress of an operation or a group, or edit its message; if that is gone, post another one."""
        message = slack_live.progress_message(shown) if isinstance(shown, Progress) else slack_group.message(shown)
        if posted is not None:
            try:
                await self._edit(message, posted, http)
            except MessageGoneError:
                if shown.over:
                    raise
            else:
                return posted
        return _where(await self._as_bot("chat.postMessage", {**message, "channel": self.channel}, http))

    async def follow_up(self, announcement: Announcement, posted: MessageRef, http: "ClientSession") -> None:
        """Edit the message to show the outcome, and reply if something went wrong, since edits notify nobody.

        If the edit or the reply is refused, the outcome is posted as a new message. The old one may then go on saying
        "running", but the outcome is told.
        """
        try:
            if not announcement.slow:
                async with asyncio.timeout(EDIT_WITHIN_S):
                    await self._edit(slack_live.outcome_message(announcement), posted, http)
        except Exception:  # noqa: BLE001 - an outcome does not depend on an edit
            await self.send(announcement, http)
        else:
            await self.reply(announcement, posted, http)

    async def reply(self, announcement: Announcement, posted: MessageRef, http: "ClientSession") -> None:
        """Reply to the message with error text and mention, if something went wrong; see `follow_up`."""
        if slack_message.went_well(announcement):
            return
        reply = {**slack_live.reply(announcement, self.mention), "thread_ts": posted.ts, "channel": posted.channel}
        try:
            await self._as_bot("chat.postMessage", reply, http, classify_edit)
        except (MessageGoneError, PayloadRefusedError):
            await self.send(announcement, http)

    async def _edit(self, message: dict[str, Any], posted: MessageRef, http: "ClientSession") -> None:
        where = {"channel": posted.channel, "ts": posted.ts, "attachments": []}
        await self._as_bot("chat.update", {**message, **where}, http, classify_edit)

    async def check(self, http: "ClientSession") -> str:
        """Test the bot's token and channel; for a webhook, whether its host answers."""
        if self.webhook_url is not None:
            return await check_host(self.webhook_url, http)
        return await slack_check.checked(partial(self._ask, http), self.channel or "")

    def preview(self, announcement: Announcement) -> str:
        """Write the message; for a live one, its final version and the reply."""
        built = [slack_message.message(announcement, self.mention)]
        if self.live:
            built = [] if announcement.slow else [slack_live.outcome_message(announcement)]
            if not slack_message.went_well(announcement):
                built.append(slack_live.reply(announcement, self.mention))
        return "\n".join(json.dumps(message, ensure_ascii=False, indent=2) for message in built)

    async def _ask(
        self, http: "ClientSession", method: str, form: dict[str, str]
    ) -> "tuple[Mapping[str, Any], Mapping[str, str]]":
        return await _call(self._client(http), method, classify, data=form)

    async def _post(self, message: dict[str, Any], http: "ClientSession") -> None:
        if self.webhook_url is not None:
            await _post_to_webhook(self.webhook_url.get_secret_value(), message, http)
        else:
            await self._as_bot("chat.postMessage", {**message, "channel": self.channel}, http)

    async def _as_bot(
        self, method: str, message: dict[str, Any], http: "ClientSession", refused: "Classify" = classify
    ) -> "Mapping[str, Any]":
        answer, _ = await _call(self._client(http), method, refused, json=message)
        return answer

    def _client(self, http: "ClientSession") -> "AsyncWebClient":
        from slack_sdk.web.async_client import AsyncWebClient  # noqa: PLC0415

        base_url = AsyncWebClient.BASE_URL
        if self.api_url is not None:
            base_url = self.api_url.get_secret_value().rstrip("/") + "/"
        token = "" if self.bot_token is None else self.bot_token.get_secret_value()
        client = AsyncWebClient(token, session=http, retry_handlers=[], logger=_QUIET, base_url=base_url)
        client.proxy = None
        return client


async def _post_to_webhook(url: str, message: dict[str, Any], http: "ClientSession") -> None:
    from slack_sdk.webhook.async_client import AsyncWebhookClient  # noqa: PLC0415 - `web` never sends: it saves the memory

    client = AsyncWebhookClient(url, session=http, retry_handlers=[], logger=_QUIET)
    client.proxy = None  # slack_sdk takes one from the environment, and the address guard would see only the proxy
    response = await client.send_dict(message)
    if response.status_code != HTTPStatus.OK or response.body.strip() != "ok":
        raise classify(_code(response.body), response.status_code, response.headers, datetime.now(UTC))


async def _call(
    client: "AsyncWebClient", method: str, refused: "Classify", **body: Any
) -> "tuple[Mapping[str, Any], Mapping[str, str]]":
    """Call a method of the Web API. Returns the answer and its headers. `body` is `json`, or a form as `data`."""
    from slack_sdk.errors import SlackApiError  # noqa: PLC0415

    try:
        answer = await client.api_call(method, **body)
    except SlackApiError as error:
        refusal = error.response
        said = refusal.data.get("error", "") if isinstance(refusal.data, dict) else None
        raise refused(_code(said), refusal.status_code, refusal.headers, datetime.now(UTC)) from None
    except AttributeError:  # slack_sdk looks for "ok" in any body of a 200
        raise TransientError("the answer is not Slack's: no JSON object") from None
    return (answer.data if isinstance(answer.data, dict) else {}), answer.headers


def _where(answer: "Mapping[str, Any]") -> MessageRef:
    """Read where the message was posted: an edit needs the channel's id, not its name."""
    channel, ts = answer.get("channel"), answer.get("ts")
    if not (isinstance(channel, str) and isinstance(ts, str) and channel and ts):
        raise PermanentError("Slack's answer does not say where the message was posted")
    return MessageRef(channel=channel, ts=ts)


def _code(said: object) -> str:
    """Return the text if it looks like one of Slack's error codes. Other texts may hold anything, even what we sent."""
    code = said.strip() if isinstance(said, str) else None
    return code if code == "" or (code and _CODE.fullmatch(code)) else "an unexpected body"
