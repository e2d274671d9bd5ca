"""Slack's clients on the worker's session: its bounds for reading, our judgement of answers, no redirect and no proxy.

slack_sdk reads a whole body before it looks at the status, and takes a proxy from the environment.
"""

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook import WebhookResponse
from slack_sdk.webhook.async_client import AsyncWebhookClient

from notifiers import ClientSession, OpwatchError, answer_field

if TYPE_CHECKING:
    from aiohttp import ClientResponse

Judge = Callable[[int, Mapping[str, str], bytes], OpwatchError | None]
"""Judges an answer by status, headers and body. Returns None if Slack accepted the request."""

_QUIET = logging.getLogger("opwatch.slack_sdk")
_QUIET.setLevel(logging.WARNING)  # at DEBUG slack_sdk writes the webhook's URL, which is a secret


class Webhook(AsyncWebhookClient):
    """Posts to an incoming webhook. Raises what `judge` returns."""

    def __init__(self, url: str, http: ClientSession, judge: Judge) -> None:
        super().__init__(url, session=http, retry_handlers=[], logger=_QUIET)
        self._http, self._judge = http, judge

    async def _perform_http_request(self, *, body: dict[str, Any], headers: dict[str, str]) -> WebhookResponse:
        headers = {**headers, "Content-Type": "application/json;charset=utf-8"}
        posting = self._http.post(self.url, data=json.dumps(body), headers=headers, allow_redirects=False)
        status, received, text = await _judged(posting, self._judge)
        return WebhookResponse(url="", status_code=status, body=text.decode(errors="replace"), headers=dict(received))


class Bot(AsyncWebClient):
    """Calls Slack's Web API. Raises what `judge` returns."""

    def __init__(self, token: str, base_url: str, http: ClientSession, judge: Judge) -> None:
        super().__init__(token, base_url=base_url, session=http, retry_handlers=[], logger=_QUIET)
        self._http, self._judge = http, judge

    async def _request(self, *, http_verb: str, api_url: str, req_args: dict[str, Any]) -> dict[str, Any]:
        asked = {**req_args, "proxy": None, "allow_redirects": False}
        _, headers, body = await _judged(self._http.request(http_verb, api_url, **asked), self._judge)
        document = answer_field(body)
        data = {**document, "ok": True} if isinstance(document, dict) else {"ok": True}
        return {"data": data, "headers": headers, "status_code": 200}


async def _judged(
    asking: "AbstractAsyncContextManager[ClientResponse]", judge: Judge
) -> tuple[int, Mapping[str, str], bytes]:
    async with asking as response:
        status, headers, body = response.status, response.headers, await response.read()
    error = judge(status, headers, body)
    if error is not None:
        raise error
    return status, headers, body
