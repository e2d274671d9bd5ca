"""Kind `slack`: one message per outcome, by incoming webhook or by bot token. A bot's message can be live.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks,
https://docs.slack.dev/reference/methods/chat.postMessage and https://docs.slack.dev/reference/methods/chat.update
"""

import asyncio
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from notifiers import (
    Announcement,
    ClientSession,
    GroupMessage,
    Mentioning,
    MessageRef,
    PermanentError,
    Progress,
    SecretUrl,
    check_host,
    stripped,
)
from notifiers.slack import check as slack_check
from notifiers.slack import message as slack_message
from notifiers.slack.errors import (
    Classify,
    MessageGoneError,
    PayloadRefusedError,
    classify,
    classify_edit,
    judge_answer,
)

if TYPE_CHECKING:
    from slack_sdk.web.async_slack_response import AsyncSlackResponse

API_URL = "https://slack.com/api/"
EDIT_WITHIN_S = 5.0
"""Short enough to leave time to post instead."""

_MENTION = r"<(!here|!channel|!everyone|@[UW][A-Z0-9]+|!subteam\^S[A-Z0-9]+)(\|[^<>|\n]+)?>"
_CHANNEL_LINK = re.compile(r"https://[^/]+/(?:archives|client/[A-Z0-9]+)/([CDG][A-Z0-9]+)(?:[/?#].*)?")
_CHANNEL_ID, _TS = re.compile(r"[A-Z][A-Z0-9]{0,20}"), re.compile(r"\d{1,20}\.\d{1,20}")


def _incoming(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    of_slack = (parts.hostname or "").endswith(("slack.com", "slack-gov.com"))
    if of_slack and parts.path.startswith(("/triggers/", "/workflows/")):
        raise ValueError("starts a workflow, and is no incoming webhook: those have a path that begins with /services/")
    return url


def _sendable(token: SecretStr) -> SecretStr:
    if re.fullmatch(r"[!-~]+", token.get_secret_value()) is None:
        raise ValueError("must be a token without blanks, such as xoxb-…")
    return token


def _channel(given: str) -> str:
    """Take the id out of a channel's link, which Slack's "Copy link" gives."""
    link = _CHANNEL_LINK.fullmatch(given.strip())
    if link is None and "://" in given:
        raise ValueError("must be the channel's id, its name or its link (https://….slack.com/archives/C…)")
    return link[1] if link else given.strip()


class Slack(Mentioning):
    """Posts to the channel of an incoming webhook, or as a bot."""

    set_up: ClassVar[str] = """\
[Slack and others](../README.md#slack-and-others) says how to get a webhook or a bot. Slack's error codes decide whether
a delivery is retried.

```toml
[targets.deploys]
kind = "slack"
webhook_url = "${SLACK_DEPLOYS_URL}"
mention = "<!here>"
```
"""
    limits: ClassVar[str] = (
        "the error text is cut to 2,300 characters. A live message shows its first line, and the reply all of it."
    )
    mentions: ClassVar[re.Pattern[str]] = re.compile(rf"{_MENTION}( {_MENTION}){{0,9}}")
    mentions_in_words: ClassVar[str] = (
        "`<!here>`, `<!channel>`, `<@U…>` or `<!subteam^S…>`; several are separated by a blank; `@name` notifies nobody"
    )

    webhook_url: Annotated[
        Annotated[SecretUrl, AfterValidator(_incoming)] | None,
        Field(description="the URL of an incoming webhook; or a bot:"),
    ] = None
    bot_token: Annotated[
        Annotated[SecretStr, BeforeValidator(stripped), AfterValidator(_sendable)] | None,
        Field(description="the token of a bot with the scope `chat:write`; together with `channel`"),
    ] = None
    channel: Annotated[
        Annotated[str, AfterValidator(_channel)] | None,
        Field(description="the channel that the bot posts to: its id or its link, or less well its name"),
    ] = None
    api_url: Annotated[SecretUrl | None, Field(description="another server with Slack's Web API, for the bot")] = None
    live: Annotated[bool, Field(description="`true`: one message for each operation, which the bot edits")] = False

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        by_bot = self.bot_token is not None or self.channel is not None
        if (self.webhook_url is not None) == by_bot or (by_bot and not (self.bot_token and self.channel)):
            raise ValueError("needs either a webhook URL, or a bot token and a channel")
        if self.live and not by_bot:
            raise ValueError("live = true needs a bot token and a channel: messages by webhook cannot be edited")
        return self

    async def send(self, announcement: Announcement, http: ClientSession) -> None:
        """Post once; if Slack refuses the blocks, once more as plain text."""
        try:
            await self._post(slack_message.message(announcement, self.mention_for(announcement)), http)
        except PayloadRefusedError:
            await self._post(slack_message.plain_message(announcement, self.mention_for(announcement)), http)

    async def show(self, shown: Progress | GroupMessage, posted: MessageRef | None, http: ClientSession) -> MessageRef:
        """Post the progress of an operation or a group, or edit its message; if that is gone, post another one."""
        message = slack_message.live_message(shown)
        if posted is not None:
            try:
                await self._edit(message, posted, http)
            except MessageGoneError:
                if shown.over:
                    raise
            else:
                return posted
        answer = await self._call(http, "chat.postMessage", json={**message, "channel": self.channel})
        return _where(answer)

    async def follow_up(self, announcement: Announcement, posted: MessageRef, http: ClientSession) -> None:
        """Edit the message to show the outcome, and reply if something went wrong, since edits notify nobody.

        If the edit or the reply is refused, the outcome is posted as a new message. The old one may then go on saying
        "running", but the outcome is told.
        """
        try:
            if not announcement.slow:
                async with asyncio.timeout(EDIT_WITHIN_S):
                    await self._edit(slack_message.final_message(announcement), posted, http)
        except Exception:  # noqa: BLE001 - an outcome does not depend on an edit
            await self.send(announcement, http)
        else:
            await self.reply(announcement, posted, http)

    async def reply(self, announcement: Announcement, posted: MessageRef, http: ClientSession) -> None:
        """Reply with error text and mention, if something went wrong or somebody is mentioned; see `follow_up`."""
        if (reply := self._reply(announcement)) is None:
            return
        where = {"thread_ts": posted.ts, "channel": posted.channel}
        try:
            await self._call(http, "chat.postMessage", classify_edit, json={**reply, **where})
        except (MessageGoneError, PayloadRefusedError):
            await self.send(announcement, http)

    async def _edit(self, message: dict[str, Any], posted: MessageRef, http: ClientSession) -> None:
        where = {"channel": posted.channel, "ts": posted.ts, "attachments": []}
        await self._call(http, "chat.update", classify_edit, json={**message, **where})

    async def check(self, http: ClientSession) -> str:
        """Test the bot's token and channel; for a webhook, whether its host answers."""
        if self.webhook_url is not None:
            return await check_host(self.webhook_url, http)
        return await slack_check.checked(partial(self._call, http), self.channel or "", self.repeats_settings)

    def preview(self, announcement: Announcement) -> str:
        """Write the message; for a live one, its final version and the reply."""
        built = [slack_message.message(announcement, self.mention_for(announcement))]
        if self.live:
            final = None if announcement.slow else slack_message.final_message(announcement)
            built = [message for message in (final, self._reply(announcement)) if message is not None]
        return "\n".join(json.dumps(message, ensure_ascii=False, indent=2) for message in built)

    def _reply(self, announcement: Announcement) -> dict[str, Any] | None:
        mention = self.mention_for(announcement)
        needed = mention is not None or not slack_message.went_well(announcement)
        return slack_message.reply(announcement, mention) if needed else None

    async def _post(self, message: dict[str, Any], http: ClientSession) -> None:
        if self.webhook_url is None:
            await self._call(http, "chat.postMessage", json={**message, "channel": self.channel})
            return
        headers = {"content-type": "application/json", "user-agent": "opwatch"}
        url, data = self.webhook_url.get_secret_value(), json.dumps(message)
        await self._asked(http, classify, "POST", url, data=data, headers=headers)

    async def _call(
        self, http: ClientSession, method: str, classify: Classify = classify, **body: Any
    ) -> "AsyncSlackResponse":
        """Call a method of the Web API. `body` is `json`, or a form as `data`."""
        from notifiers.slack.client import Bot  # noqa: PLC0415 - `web` never sends: it saves the memory

        url = API_URL if self.api_url is None else self.api_url.get_secret_value()
        token = "" if self.bot_token is None else self.bot_token.get_secret_value()
        return await Bot(token, url, partial(self._asked, http, classify)).api_call(method, **body)

    async def _asked(
        self, http: ClientSession, classify: Classify, verb: str, url: str, **request: Any
    ) -> tuple[Mapping[str, str], bytes]:
        """Send a request, and return the headers and the body of the answer. Raises unless Slack accepted it."""
        async with http.request(verb, url, allow_redirects=False, **request) as response:
            status, headers, body = response.status, response.headers, await response.read()
        error = judge_answer(status, headers, body, datetime.now(UTC), classify, self.repeats_settings)
        if error is not None:
            raise error
        return headers, body


def _where(answer: "AsyncSlackResponse") -> MessageRef:
    """Read where the message was posted: an edit needs the channel's id, not its name."""
    channel, ts = str(answer.get("channel")), str(answer.get("ts"))
    if not (_CHANNEL_ID.fullmatch(channel) and _TS.fullmatch(ts)):
        raise PermanentError("Slack's answer does not say where the message was posted")
    return MessageRef(channel=channel, ts=ts)
