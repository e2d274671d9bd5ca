"""Slack's client on the worker's session: its bounds for reading, our judgement of answers, no redirect and no proxy.

slack_sdk reads a whole body before it looks at the status, and takes a proxy from the environment.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from notifiers import answer_field

_QUIET = logging.getLogger("opwatch.slack_sdk")
_QUIET.setLevel(logging.WARNING)  # at DEBUG slack_sdk writes whole answers


class Bot(AsyncWebClient):
    """Calls Slack's Web API by `asked`, which returns headers and body of an answer that says yes, else raises."""

    def __init__(
        self, token: str, base_url: str, asked: Callable[..., Awaitable[tuple[Mapping[str, str], bytes]]]
    ) -> None:
        super().__init__(token, base_url=base_url, logger=_QUIET)
        self._asked = asked

    async def _request(self, *, http_verb: str, api_url: str, req_args: dict[str, Any]) -> dict[str, Any]:
        headers, body = await self._asked(http_verb, api_url, **{**req_args, "proxy": None})
        document = answer_field(body)
        data = {**document, "ok": True} if isinstance(document, dict) else {"ok": True}
        return {"data": data, "headers": headers, "status_code": 200}
