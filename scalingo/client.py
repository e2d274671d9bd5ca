"""Asks Scalingo's API about an operation, signed in as one of the configured accounts.

Every request first spends a token of the shared budget. Bearers are only in this process's memory, and are sent only to
configured hosts; no redirect is followed.
"""

import asyncio
import base64
import json
import math
import time
from collections.abc import Awaitable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol

import aiohttp
from pydantic import SecretStr

from operations.errors import OpwatchError, RateLimitedError, SignInRejectedError, TransientError, no_answer
from operations.model import Operation, Tracking
from operations.storage.budget import GOOD_FOR_S
from operations.telling.retries import parse_retry_after
from scalingo.operation import operation_url, parse_answer, parse_json

BEARER_LASTS_S = 3600.0
RENEW_AHEAD_S = 300.0
"""Scalingo's Go client also renews a bearer when less than 5 minutes remain."""

LARGEST_ANSWER = 2_000_000
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


@dataclass(frozen=True, slots=True)
class Bearer:
    """A bearer, and when to renew it (monotonic clock)."""

    secret: SecretStr
    renew_at_s: float


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
            status, body, operation_id=tracking.operation_id, app=tracking.app, retry_after_s=retry_after_s
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
            "Authorization": f"Bearer {bearer.secret.get_secret_value()}",
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        try:
            async with self._session.get(url, headers=headers, timeout=allowed, allow_redirects=False) as response:
                # A debug page may echo the request's headers, and its text would be stored and announced.
                body = (await _read(response)).replace(bearer.secret.get_secret_value().encode(), b"[bearer]")
                return response.status, body, _retry_after_s(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise no_answer(error) from error

    async def _bearer(self, account: str) -> Bearer:
        """Return a bearer that is valid for some minutes, exchanging the API token if needed."""
        async with self._exchanging.setdefault(account, asyncio.Lock()):
            if self.is_signed_in(account):
                return self._bearers[account]
            failure, until_s = self._failures.get(account, (None, 0.0))
            if failure is not None and time.monotonic() < until_s:
                raise failure
            try:
                async with self._gate.signing_in(account):
                    fresh = await self._exchange_in_time(account, await self._allowed(account))
            except OpwatchError as error:
                self._failures[account] = (error, time.monotonic() + SIGN_IN_PAUSE_S)
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
            lasts_s = _lifetime_s(token, datetime.now(UTC))
            return Bearer(SecretStr(token), asked_at_s + max(lasts_s - RENEW_AHEAD_S, lasts_s / 2))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise _rejected(account, f"the exchange answered {status}")
        raise _sign_in_failure(status, retry_after_s)

    def _forget(self, account: str, bearer: Bearer) -> None:
        if self._bearers.get(account) is bearer:
            del self._bearers[account]


def parse_bearer(status: int, body: bytes) -> str | None:
    """Read the bearer from the answer to a token exchange; None if there is none."""
    document = parse_json(body)
    token = document.get("token") if status == HTTPStatus.OK and isinstance(document, dict) else None
    usable = isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token
    return token if usable and token else None


def _rejected(account: str, why: str) -> SignInRejectedError:
    return SignInRejectedError(
        f"Scalingo rejects the API token of the account {account} ({why}): create a new one and set it"
    )


def _sign_in_failure(status: int, retry_after_s: float | None) -> OpwatchError:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError("signing in: Scalingo asks for fewer requests (429)", retry_after_s=retry_after_s)
    return TransientError(f"signing in: Scalingo answered {status} without a bearer", retry_after_s=retry_after_s)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for part in response.content.iter_chunked(65_536):
        body += part
        if len(body) > LARGEST_ANSWER:
            message = f"the answer is larger than {LARGEST_ANSWER} bytes"
            raise TransientError(message)
    return body


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    value = response.headers.get("Retry-After")
    return None if value is None else parse_retry_after(value, datetime.now(UTC))


def _lifetime_s(token: str, now: datetime) -> float:
    """Read a bearer's lifetime from its claims (RFC 7519), unverified: it only decides when to renew."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        lasts_s = float(claims["exp"]) - float(claims.get("iat", now.timestamp()))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return BEARER_LASTS_S
    return BEARER_LASTS_S if math.isnan(lasts_s) else min(max(lasts_s, 1.0), BEARER_LASTS_S)
