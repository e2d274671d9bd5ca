"""The accounts whose API token is rejected."""

import time
from collections.abc import Iterable
from typing import Any

import redis

from operations.model import AlertKind
from operations.telling.alerts import QUIET_S, mark

CLEAR_FOR_S = 30.0
"""How long a process trusts that an account is clear: another process may have raised an alert, and died."""

_LASTS_S = QUIET_S[AlertKind.REJECTED]


class AccountAlerts:
    """Stores, for each account, what the operator has to fix."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self.clear_until_s: dict[str, float] = {}
        """Until when (monotonic clock) this process trusts that an account is clear. `clear` is not needed before."""

    def raise_for(self, account: str, text: str) -> bool:
        """Store what is wrong with an account until it is cleared. Tells whether it is new.

        It expires if it is not raised again for a quarter of an hour. So does the mark that suppresses further alerts.
        """
        self.clear_until_s.pop(account, None)
        self._redis.expire(mark(AlertKind.REJECTED, account), _LASTS_S)
        return self._redis.set(_key(account), text, ex=_LASTS_S, get=True) is None

    def clear(self, account: str) -> None:
        """Remove the alert of an account, if it has one."""
        self._redis.delete(_key(account), mark(AlertKind.REJECTED, account))
        self.clear_until_s[account] = time.monotonic() + CLEAR_FOR_S

    def rejected(self, accounts: Iterable[str]) -> dict[str, str]:
        """Return what to do about each account with a rejected API token, by account."""
        named = list(accounts)
        found = self._redis.mget([_key(account) for account in named])
        return {account: text.decode() for account, text in zip(named, found, strict=True) if text}


def _key(account: str) -> str:
    return f"opwatch:alert:{account}"
