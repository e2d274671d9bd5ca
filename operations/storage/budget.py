"""The shared budget of requests: a token bucket per account in Redis, by Redis's clock.

It allows at most N requests in any 60 s, over all workers and restarts. A bucket of capacity c that refills by
(N - c) / 62 a second grants at most c + (N - c) tokens in 62 s, and a token is used within 2 s or not at all.

Other clients use the account, too. A 429 halves the share of that rate at which the bucket refills; the share then
grows evenly to 1: AIMD, additive increase, multiplicative decrease
(https://www.rfc-editor.org/rfc/rfc5681#section-3.1).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import redis

LARGEST_BURST = 5
GOOD_FOR_S = 2.0
"""How long a token is valid, from when it was requested. After that, the request needs another one."""

LEAST_SHARE = 1 / 8
GROWS_FOR_S = 120.0
"""How long the share takes from 0 to 1. So it recovers from a half within a minute."""

SHORTEST_PAUSE_S = 5.0
"""The shortest pause after a 429. Further 429s in it are answers to the same burst of requests."""

LONGEST_PAUSE_S = 300.0
"""The longest pause after a 429: the limit is per minute, and a date far ahead may come from a wrong clock."""


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
    """A budget after a 429: its share of the full rate, and when requests resume."""

    share: float
    resumes_at: datetime


class Grant(NamedTuple):
    """How many tokens were granted, and in how many seconds the next one is available."""

    tokens: int
    wait_s: float


class Balance(NamedTuple):
    """How many tokens a bucket has, and the share of the full rate at which it refills (below 1 after a 429)."""

    tokens: float
    share: float


class Budget:
    """Grants the tokens that requests to the API spend."""

    def __init__(self, connection: redis.Redis, requests_per_minute: int, *, key: str = "opwatch:budget") -> None:
        self.allowance = Allowance.per_minute(requests_per_minute)
        self._prefix = key
        # redis-py types every answer as bytes or str; without decoding they are bytes
        self._script: Any = connection.register_script((Path(__file__).parent / "budget.lua").read_text())

    @classmethod
    def of_events(cls, connection: redis.Redis, requests_per_minute: int) -> "Budget":
        """Make the budget that what only events tell of must spend besides: half of the account's."""
        return cls(connection, requests_per_minute // 2, key="opwatch:events")

    @classmethod
    def of_hints(cls, connection: redis.Redis, requests_per_minute: int) -> "Budget":
        """Make the budget of looks that events move forward: a quarter of the account's, since each may cost two."""
        return cls(connection, max(2, requests_per_minute // 4), key="opwatch:hints")

    def spend(self, account: str, wanted: int) -> Grant:
        """Spend up to `wanted` tokens of one account's bucket."""
        return self.spend_each({account: wanted})[account]

    def spend_each(self, wanted: Mapping[str, int]) -> dict[str, Grant]:
        """Spend tokens of several accounts' buckets, in one round trip."""
        buckets = self._buckets(wanted)
        return {account: Grant(int(tokens), int(wait_ms) / 1000) for account, (tokens, wait_ms, *_) in buckets.items()}

    def balances(self, accounts: Iterable[str]) -> dict[str, Balance]:
        """Read the accounts' buckets, in one round trip, without spending."""
        buckets = self._buckets(dict.fromkeys(accounts, 0))
        return {account: Balance(float(left), float(share)) for account, (_, _, left, share) in buckets.items()}

    def balance(self, account: str) -> Balance:
        """Read one account's bucket."""
        return self.balances([account])[account]

    def slow_down(self, account: str, retry_after_s: float | None) -> SlowedDown | None:
        """Apply a 429: pause as long as it asks, within bounds, then continue at half the share.

        Returns None if another 429 of the same burst was applied already.
        """
        pause_s = min(max(retry_after_s or 0.0, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)
        first = self._run([account], [pause_s])
        return first and SlowedDown(float(first[0]), datetime.fromtimestamp(float(first[1]), UTC))

    def _buckets(self, wanted: Mapping[str, int]) -> dict[str, Any]:
        return dict(zip(wanted, self._run(wanted, ["", *wanted.values()]), strict=True)) if wanted else {}

    def _run(self, accounts: Iterable[str], more: list[Any]) -> Any:
        keys, size = [f"{self._prefix}:{account}" for account in accounts], self.allowance
        known = [size.capacity, size.per_second, GROWS_FOR_S, LEAST_SHARE, LONGEST_PAUSE_S]
        return self._script(keys=keys, args=known + more)
