"""Asks Scalingo's API about an operation, signed in as one of the configured accounts.

Every request first spends a token of the shared budget. Bearers are only in this process's memory, and are sent only to
configured hosts; no redirect is followed.
"""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Mapping
from contextlib import AbstractAsyncContextManager
from copy import copy
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol

import aiohttp
from pydantic import SecretStr

from operations.errors import OpwatchError, RateLimitedError, SignInRejectedError, TransientError, no_answer
from operations.model import Operation, Tracking
from operations.storage.budget import GOOD_FOR_S
from operations.telling.retries import parse_retry_after
from operations.text import CUT_MARK
from scalingo.bearer import RENEW_AHEAD_S, Bearer, lifetime_s, parse_bearer
from scalingo.operation import operation_url, parse_answer

LARGEST_ANSWER = 4_000_000
"""Of the long texts in a larger answer only both ends are kept: it still has a status."""

_MOST_READ = 64_000_000
_TEXT_END = 100_000
_STRING = re.compile(rb'"((?:[^"\\]++|\\.)*+)("|\\?\Z)', re.DOTALL)
_TORN_ESCAPE = re.compile(rb"\\+(?:u[0-9a-fA-F]{0,3})?\Z")
_CUT = json.dumps(CUT_MARK)[1:-1].encode()

SIGN_IN_DEADLINE_S = 5.0
"""Shorter than a look's deadline: during a sign-in, all looks of the account wait."""

SIGN_IN_PAUSE_S = 5.0
"""How long after a failed exchange all looks of the account get the same error, without a request."""


class Gate(Protocol):
    """The budget of an account and its lock for signing in, which all processes share."""

    def spend(self, account: str) -> Awaitable[float]:
        """Wait for one token of the account's budget and spend it. Returns when it was requested (monotonic clock)."""

    def signing_in(self, account: str) -> AbstractAsyncContextManager[None]:
        """Wait for the lock to exchange this account's token: one process at a time."""


class Client:
    """Gets operations. It is bound to one event loop."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        accounts: Mapping[str, SecretStr],
        regions: Mapping[str, str],
        auth_url: str,
        gate: Gate,
    ) -> None:
        self._session = session
        self._accounts = accounts
        self._regions = regions
        self._auth_url = auth_url
        self._gate = gate
        self._bearers: dict[str, Bearer] = {}
        self._failures: dict[str, tuple[OpwatchError, float]] = {}
        self._exchanging: dict[str, asyncio.Lock] = {}

    async def operation(self, tracking: Tracking, *, granted_at_s: float) -> Operation:
        """Look at an operation once.

        The caller spent the token for this request at `granted_at_s` (monotonic clock). Further tokens are spent here,
        also if the first has expired during a sign-in. Raises the OpwatchError for a missing or unusable answer, and
        SignInRejectedError if the API token is rejected.
        """
        base_url = self._regions.get(tracking.region)
        if base_url is None or tracking.account not in self._accounts:
            missing = f"region {tracking.region}" if base_url is None else f"account {tracking.account}"
            message = f"the {missing} is no longer configured: configure it again, or cancel this tracking"
            raise TransientError(message)
        url = operation_url(base_url, tracking.app, tracking.operation_id)
        bearer = await self._bearer(tracking.account)
        allowed = await self._allowed(tracking.account, granted_at_s)
        status, body, retry_after_s = await self._get(url, bearer, allowed)
        if status == HTTPStatus.UNAUTHORIZED:
            self._forget(tracking.account, bearer)
            bearer = await self._bearer(tracking.account)
            allowed = await self._allowed(tracking.account)
            status, body, retry_after_s = await self._get(url, bearer, allowed)
            if status == HTTPStatus.UNAUTHORIZED:
                self._forget(tracking.account, bearer)
                raise _rejected(tracking.account, "a new bearer made from it was refused")
        return parse_answer(
            status,
            body,
            operation_id=tracking.operation_id,
            app=tracking.app,
            retry_after_s=retry_after_s,
            hide=bearer.hide,  # a debug page may echo the request's headers, and its text is stored and announced
        )

    async def sign_in(self, account: str) -> None:
        """Exchange an account's API token for a bearer, unless a valid one is in memory. Raises OpwatchError."""
        await self._bearer(account)

    def is_signed_in(self, account: str) -> bool:
        """Tell whether a valid bearer is in memory. Thread-safe."""
        known = self._bearers.get(account)
        return known is not None and time.monotonic() < known.renew_at_s

    def is_signing_in(self, account: str) -> bool:
        """Tell whether an exchange is in progress. Thread-safe."""
        exchanging = self._exchanging.get(account)
        return exchanging is not None and exchanging.locked()

    def is_refused_for_now(self, account: str) -> bool:
        """Tell whether an exchange failed a moment ago, so that looks only get the same error. Thread-safe."""
        _, until_s = self._failures.get(account, (None, 0.0))
        return time.monotonic() < until_s

    async def _allowed(self, account: str, granted_at_s: float = float("-inf")) -> aiohttp.ClientTimeout:
        """Make sure that a token is valid, spending another if needed. Returns how soon the request must be sent."""
        while (good_for_s := granted_at_s + GOOD_FOR_S - time.monotonic()) <= 0:
            granted_at_s = await self._gate.spend(account)
        return aiohttp.ClientTimeout(connect=good_for_s)

    async def _get(self, url: str, bearer: Bearer, allowed: aiohttp.ClientTimeout) -> tuple[int, bytes, float | None]:
        headers = {
            "Authorization": bearer.header,
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        try:
            async with self._session.get(url, headers=headers, timeout=allowed, allow_redirects=False) as response:
                return response.status, await _read(response), _retry_after_s(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise no_answer(error) from error

    async def _bearer(self, account: str) -> Bearer:
        """Return a bearer that is valid for some minutes, exchanging the API token if needed."""
        async with self._exchanging.setdefault(account, asyncio.Lock()):
            if self.is_signed_in(account):
                return self._bearers[account]
            failure, until_s = self._failures.get(account, (None, 0.0))
            if failure is not None and time.monotonic() < until_s:
                raise copy(failure)  # each raise adds to a traceback
            try:
                async with self._gate.signing_in(account):
                    fresh = await self._exchange_in_time(account, await self._allowed(account))
            except OpwatchError as error:
                self._failures[account] = (copy(error), time.monotonic() + SIGN_IN_PAUSE_S)
                raise
            self._bearers[account] = fresh
            return fresh

    async def _exchange_in_time(self, account: str, allowed: aiohttp.ClientTimeout) -> Bearer:
        try:
            async with asyncio.timeout(SIGN_IN_DEADLINE_S):
                return await self._exchange(account, allowed)
        except TimeoutError:
            raise TransientError(f"signing in: no answer within {SIGN_IN_DEADLINE_S:.0f} s") from None

    async def _exchange(self, account: str, allowed: aiohttp.ClientTimeout) -> Bearer:
        """Exchange the account's API token for a bearer.

        https://developers.scalingo.com/tokens#exchange-token
        """
        login = aiohttp.encode_basic_auth("", self._accounts[account].get_secret_value())
        headers = {"Accept": "application/json", "Content-Type": "application/json", "Authorization": login}
        asked_at_s = time.monotonic()
        try:
            async with self._session.post(
                f"{self._auth_url}/v1/tokens/exchange", headers=headers, timeout=allowed, allow_redirects=False
            ) as response:
                status, body, retry_after_s = response.status, await _read(response), _retry_after_s(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TransientError(f"signing in: {no_answer(error)}") from error
        token = parse_bearer(status, body)
        if token is not None:
            lasts_s = lifetime_s(token, datetime.now(UTC))
            return Bearer(SecretStr(token), asked_at_s + max(lasts_s - RENEW_AHEAD_S, lasts_s / 2))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise _rejected(account, f"the exchange answered {status}")
        raise _sign_in_failure(status, retry_after_s)

    def _forget(self, account: str, bearer: Bearer) -> None:
        if self._bearers.get(account) is bearer:
            del self._bearers[account]


def _rejected(account: str, why: str) -> SignInRejectedError:
    return SignInRejectedError(
        f"Scalingo rejects the API token of the account {account} ({why}): create a new one and set it"
    )


def _sign_in_failure(status: int, retry_after_s: float | None) -> OpwatchError:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError("signing in: Scalingo asks for fewer requests (429)", retry_after_s=retry_after_s)
    return TransientError(f"signing in: Scalingo answered {status} without a bearer", retry_after_s=retry_after_s)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read the body, without the middle of long texts. A status other than 200 counts even if its body breaks off."""
    body, read = bytearray(), 0
    try:
        async for part in response.content.iter_chunked(65_536):
            body += part
            read += len(part)
            if len(body) > LARGEST_ANSWER:
                body[:] = _STRING.sub(_shortened, body)
            if len(body) > LARGEST_ANSWER or read > _MOST_READ:
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
