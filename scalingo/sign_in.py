"""Signs in to Scalingo: exchanges API tokens for bearers, and bearers for the tokens of databases.

Both are only in this process's memory, and are sent only to configured hosts.
"""

import asyncio
import time
from collections.abc import Mapping
from copy import copy
from datetime import UTC, datetime
from http import HTTPStatus
from weakref import WeakValueDictionary

import aiohttp
from pydantic import SecretStr

from operations.errors import OpwatchError, RateLimitedError, SignInRejectedError, TransientError
from operations.model import Tracking
from scalingo.answers import Answer, failure
from scalingo.bearer import RENEW_AHEAD_S, Bearer, lifetime_s, parse_addon_token, parse_bearer
from scalingo.database import token_path
from scalingo.transport import MOST_READ, NEVER_S, Gate, Transport

SIGN_IN_DEADLINE_S = 5.0
"""Shorter than a look's deadline: during a sign-in, all looks of the account wait."""

SIGN_IN_PAUSE_S = 5.0
"""How long after a failed exchange all looks of the account get the same error, without a request."""


class SignIn:
    """Keeps the bearers of one process. It is bound to one event loop."""

    def __init__(self, transport: Transport, *, accounts: Mapping[str, SecretStr], auth_url: str, gate: Gate) -> None:
        self._transport = transport
        self._accounts = accounts
        self._auth_url = auth_url
        self._gate = gate
        self._bearers: dict[str, Bearer] = {}
        self._failures: dict[str, tuple[OpwatchError, float]] = {}
        self._exchanging: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

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

    async def bearer(self, account: str) -> Bearer:
        """Return a bearer that is valid for some minutes, exchanging the API token if needed. Raises OpwatchError."""
        async with self._lock(account):
            if self.is_signed_in(account):
                return self._bearers[account]
            error, until_s = self._failures.get(account, (None, 0.0))
            if error is not None and time.monotonic() < until_s:
                raise copy(error)  # each raise adds to a traceback
            try:
                async with self._gate.signing_in(account):
                    fresh = await self._exchange_in_time(account, await self._transport.allowed(account))
            except OpwatchError as error:
                self._failures[account] = (copy(error), time.monotonic() + SIGN_IN_PAUSE_S)
                raise
            self._bearers[account] = fresh
            return fresh

    async def addon_token(self, tracking: Tracking, base_url: str) -> Bearer:
        """Return a token for the tracking's addon, which counts only in the database API. Raises OpwatchError.

        A token costs one request, and is valid for an hour. https://developers.scalingo.com/addons#get-addon-token
        """
        key = f"{tracking.account} {tracking.addon_id}"
        async with self._lock(key):
            if self.is_signed_in(key):
                return self._bearers[key]
            answer = await self.ask("POST", base_url + token_path(tracking), tracking.account)
            token = parse_addon_token(answer.status, answer.body)
            if token is None:
                raise failure(answer, app=tracking.app, resource="addon")
            self._bearers = {name: each for name, each in self._bearers.items() if self.is_signed_in(name)}
            self._bearers[key] = _bearer(token, time.monotonic())
            return self._bearers[key]

    async def ask(
        self, method: str, url: str, account: str, granted_at_s: float = NEVER_S, most_bytes: int = MOST_READ
    ) -> Answer:
        """Ask the API as an account. A bearer that it rejects is renewed once. Raises OpwatchError."""
        for granted in (granted_at_s, NEVER_S):
            bearer = await self.bearer(account)
            allowed = await self._transport.allowed(account, granted)
            answer = await self._transport.send(method, url, bearer.header, allowed, most_bytes)
            if answer.status != HTTPStatus.UNAUTHORIZED:
                return answer._replace(hide=bearer.hide)
            self.forget(bearer)
        raise _rejected(account, "a new bearer made from it was refused")

    def forget(self, bearer: Bearer) -> None:
        """Forget a bearer or token that was rejected."""
        self._bearers = {name: each for name, each in self._bearers.items() if each is not bearer}

    def _lock(self, key: str) -> asyncio.Lock:
        return self._exchanging.setdefault(key, asyncio.Lock())

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
        asked_at_s = time.monotonic()
        try:
            answer = await self._transport.send("POST", f"{self._auth_url}/v1/tokens/exchange", login, allowed)
        except TransientError as error:
            raise TransientError(f"signing in: {error}") from error
        token = parse_bearer(answer.status, answer.body)
        if token is not None:
            return _bearer(token, asked_at_s)
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise _rejected(account, f"the exchange answered {answer.status}")
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            message = "signing in: Scalingo asks for fewer requests (429)"
            raise RateLimitedError(message, retry_after_s=answer.retry_after_s)
        message = f"signing in: Scalingo answered {answer.status} without a bearer"
        raise TransientError(message, retry_after_s=answer.retry_after_s)


def _bearer(token: str, asked_at_s: float) -> Bearer:
    lasts_s = lifetime_s(token, datetime.now(UTC))
    return Bearer(SecretStr(token), asked_at_s + max(lasts_s - RENEW_AHEAD_S, lasts_s / 2))


def _rejected(account: str, why: str) -> SignInRejectedError:
    return SignInRejectedError(
        f"Scalingo rejects the API token of the account {account} ({why}): create a new one and set it"
    )
