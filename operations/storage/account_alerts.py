"""Accounts whose API token is rejected, as long as it is."""

import time
from collections.abc import Iterable
from typing import Any

import redis

from operations.model import AlertKind
from operations.telling.alerts import QUIET_S, mark

CLEAR_FOR_S = 30.0
"""How long a process takes an account to be clear: another process may have raised an alert meanwhile, and died."""

_LASTS_S = QUIET_S[AlertKind.REJECTED]


class AccountAlerts:
    """Keeps, for each account, what the operator has to fix."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self.clear_until_s: dict[str, float] = {}
        """Until when (monotonic clock) this process takes an account to be clear; `clear` need not be called before."""

    def raise_for(self, account: str, text: str) -> bool:
        """Keep what is wrong with an account until it is cleared; tells whether it is news.

        It expires when nothing has raised it again for a quarter of an hour, and so does the mark that keeps the alert
        target from being told again.
        """
        self.clear_until_s.pop(account, None)
        self._redis.expire(mark(AlertKind.REJECTED, account), _LASTS_S)
        return self._redis.set(_key(account), text, ex=_LASTS_S, get=True) is None

    def clear(self, account: str) -> None:
        """Remove the alert of an account, if it has one."""
        self._redis.delete(_key(account), mark(AlertKind.REJECTED, account))
        self.clear_until_s[account] = time.monotonic() + CLEAR_FOR_S

    def rejected(self, accounts: Iterable[str]) -> dict[str, str]:
        """Tell which of the accounts have an API token that is rejected, and what to do about each."""
        named = list(accounts)
        found = self._redis.mget([_key(account) for account in named])
        return {account: text.decode() for account, text in zip(named, found, strict=True) if text}


def _key(account: str) -> str:
    return f"opwatch:alert:{account}"
