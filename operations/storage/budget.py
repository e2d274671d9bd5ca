"""The shared budget of requests: a token bucket per account in Redis, on Redis' clock.

At most N requests in any 60 s, over all workers and restarts: a bucket of capacity c that refills (N - c) / 62 a second
never grants more than c + (N - c) tokens in 62 s, and a token is used within 2 s or not at all.

Others use the account, too. A 429 halves the share of that rate at which the bucket refills; it then grows evenly until
it is whole again: additive increase, multiplicative decrease (https://www.rfc-editor.org/rfc/rfc5681#section-3.1).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import redis

LARGEST_BURST = 5
GOOD_FOR_S = 2.0
"""Whoever has not sent its request so long after it asked for a token takes another one."""

LEAST_SHARE = 1 / 8
GROWS_FOR_S = 120.0
"""How long a share would take from nothing to the whole: half of it is back after a minute."""

SHORTEST_PAUSE_S = 5.0
"""After a 429 nothing is asked for so long, and longer if it says so: what was in flight then is the same burst."""

LONGEST_PAUSE_S = 300.0
"""A 429 that asks for longer is asked again after that: the limit counts minutes, and a date may be a wrong clock's."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The size of one account's bucket."""

    capacity: int
    per_second: float

    @classmethod
    def per_minute(cls, requests_per_minute: int) -> "Allowance":
        """Size the bucket so that no 60 s see more than `requests_per_minute` (at least 2)."""
        capacity = min(LARGEST_BURST, max(1, requests_per_minute // 10))
        return cls(capacity=capacity, per_second=(requests_per_minute - capacity) / (60 + GOOD_FOR_S))


@dataclass(frozen=True, slots=True)
class SlowedDown:
    """What a 429 made of a budget: its share of the full rate, and when the first request may follow."""

    share: float
    resumes_at: datetime


class Grant(NamedTuple):
    """How many tokens were granted, and in how many seconds there is another."""

    tokens: int
    wait_s: float


class Balance(NamedTuple):
    """How many tokens a bucket holds, and at what share of its rate it refills (1 unless a 429 came lately)."""

    tokens: float
    share: float


class Budget:
    """Every request to the API takes a token here first."""

    def __init__(self, connection: redis.Redis, requests_per_minute: int) -> None:
        self.allowance = Allowance.per_minute(requests_per_minute)
        self._spend = _script(connection, "spend.lua")
        self._slow_down = _script(connection, "slow_down.lua")

    def spend(self, account: str, wanted: int) -> Grant:
        """Take up to `wanted` tokens of one account's bucket."""
        return self.spend_each({account: wanted})[account]

    def spend_each(self, wanted: Mapping[str, int]) -> dict[str, Grant]:
        """Take tokens of several accounts' buckets in one round trip."""
        buckets = self._buckets(wanted)
        return {account: Grant(int(tokens), int(wait_ms) / 1000) for account, (tokens, wait_ms, *_) in buckets.items()}

    def balances(self, accounts: Iterable[str]) -> dict[str, Balance]:
        """Tell how the accounts' buckets stand, in one round trip; takes no token."""
        buckets = self._buckets(dict.fromkeys(accounts, 0))
        return {account: Balance(float(left), float(share)) for account, (_, _, left, share) in buckets.items()}

    def balance(self, account: str) -> Balance:
        """Tell how one account's bucket stands."""
        return self.balances([account])[account]

    def slow_down(self, account: str, retry_after_s: float | None) -> SlowedDown | None:
        """Take in a 429: pause, then go on at half the share; None where one of the same burst has done that.

        The pause is what the 429 asks for, within bounds.
        """
        pause_s = min(max(retry_after_s or 0.0, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)
        first = self._slow_down(keys=[_key(account)], args=[pause_s, LEAST_SHARE, GROWS_FOR_S, LONGEST_PAUSE_S])
        return first and SlowedDown(float(first[0]), datetime.fromtimestamp(float(first[1]), UTC))

    def _buckets(self, wanted: Mapping[str, int]) -> dict[str, Any]:
        size, keys = self.allowance, [_key(account) for account in wanted]
        arguments = [size.capacity, size.per_second, GROWS_FOR_S, LEAST_SHARE, LONGEST_PAUSE_S, *wanted.values()]
        return dict(zip(wanted, self._spend(keys=keys, args=arguments), strict=True)) if keys else {}


def _script(connection: redis.Redis, name: str) -> Any:  # redis-py types every answer as bytes or str
    return connection.register_script((Path(__file__).parent / name).read_text())


def _key(account: str) -> str:
    return f"opwatch:budget:{account}"
