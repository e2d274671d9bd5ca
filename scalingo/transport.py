"""Sends requests to Scalingo's hosts. Each first spends a token of the account's budget; no redirect is followed."""

import json
import re
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol

import aiohttp

from operations.errors import no_answer
from operations.storage.budget import GOOD_FOR_S
from operations.telling.retries import parse_retry_after
from operations.text import CUT_MARK
from scalingo.answers import Answer

LARGEST_ANSWER = 4_000_000
"""Of the long texts in a larger answer only both ends are kept: it still has a status."""

NEVER_S = float("-inf")

MOST_READ = 64_000_000
_TEXT_END = 100_000
_STRING = re.compile(rb'"((?:[^"\\]++|\\.)*+)("|\\?\Z)', re.DOTALL)
_TORN_ESCAPE = re.compile(rb"\\+(?:u[0-9a-fA-F]{0,3})?\Z")
_CUT = json.dumps(CUT_MARK)[1:-1].encode()


class Gate(Protocol):
    """The budget of an account and its lock for signing in, which all processes share."""

    def spend(self, account: str) -> Awaitable[float]:
        """Wait for one token of the account's budget and spend it. Returns when it was requested (monotonic clock)."""

    def signing_in(self, account: str) -> AbstractAsyncContextManager[None]:
        """Wait for the lock to exchange this account's token: one process at a time."""


class Transport:
    """Sends requests on one event loop. Raises TransientError if there is no answer."""

    def __init__(self, session: aiohttp.ClientSession, gate: Gate) -> None:
        self._session = session
        self._gate = gate

    async def allowed(self, account: str, granted_at_s: float = NEVER_S) -> aiohttp.ClientTimeout:
        """Make sure that a token is valid, spending another if needed. Returns how soon the request must be sent.

        `granted_at_s` is when a token was granted before (monotonic clock).
        """
        while (good_for_s := granted_at_s + GOOD_FOR_S - time.monotonic()) <= 0:
            granted_at_s = await self._gate.spend(account)
        return aiohttp.ClientTimeout(connect=good_for_s)

    async def send(
        self, method: str, url: str, authorization: str, allowed: aiohttp.ClientTimeout, most_bytes: int = MOST_READ
    ) -> Answer:
        """Send a request without a body, and read the answer within bounds."""
        async with self.opened(method, url, authorization, allowed, accept="application/json") as response:
            return Answer(response.status, await _read(response, most_bytes), _retry_after_s(response))

    @asynccontextmanager
    async def opened(
        self, method: str, url: str, authorization: str, allowed: aiohttp.ClientTimeout, *, accept: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request, and leave the body to the caller, who must bound it."""
        headers = {"Authorization": authorization, "Accept": accept, "Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, url, headers=headers, timeout=allowed, allow_redirects=False
            ) as response:
                yield response
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise no_answer(error) from error


async def _read(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """Read the body, without the middle of long texts. A status other than 200 counts even if its body breaks off."""
    body, read = bytearray(), 0
    try:
        async for part in response.content.iter_chunked(65_536):
            body += part
            read += len(part)
            if len(body) > LARGEST_ANSWER:
                body[:] = _STRING.sub(_shortened, body)
            if len(body) > LARGEST_ANSWER or read > most_bytes:
                break
    except (aiohttp.ClientError, OSError):
        if response.status == HTTPStatus.OK:
            raise
    return bytes(body)


def _shortened(string: re.Match[bytes]) -> bytes:
    """Cut the middle of a long JSON string, between two of its escapes."""
    text, start = string[1], len(string[1]) - _TEXT_END
    if start <= _TEXT_END:
        return string[0]
    while start > 0 and text[start] in b'"\\':
        start -= 1
    return b'"' + _TORN_ESCAPE.sub(b"", text[:_TEXT_END]) + _CUT + text[start:] + string[2]


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    value = response.headers.get("Retry-After")
    return None if value is None else parse_retry_after(value, datetime.now(UTC))
