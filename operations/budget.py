"""The shared budget of requests: a token bucket per account in Redis, on Redis' clock.

At most N requests in any 60 s, over all workers and restarts: a bucket of capacity c that refills (N - c) / 62 a second
never grants more than c + (N - c) tokens in 62 s, and a token is used within 2 s or not at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

LARGEST_BURST = 5
GOOD_FOR_S = 2.0
"""Whoever has not sent its request so long after it asked for a token takes another one."""

SLOW_FOR_S = 60
"""How long a 429 halves the pace."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The size of one account's bucket."""

    capacity: int
    per_second: float

    @classmethod
    def of(cls, requests_per_minute: int) -> "Allowance":
        """Size the bucket so that no 60 s see more than `requests_per_minute` (at least 2)."""
        capacity = min(LARGEST_BURST, max(1, requests_per_minute // 10))
        return cls(capacity=capacity, per_second=(requests_per_minute - capacity) / (60 + GOOD_FOR_S))


class Budget:
    """Every request to the API takes a token here first."""

    def __init__(self, connection: redis.Redis, requests_per_minute: int) -> None:
        self.allowance = Allowance.of(requests_per_minute)
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._spend = connection.register_script((Path(__file__).parent / "spend.lua").read_text())

    def spend(self, account: str, wanted: int) -> tuple[int, float]:
        """Take up to `wanted` tokens; returns how many were granted, and the seconds until the next one."""
        return self.spend_each({account: wanted})[account]

    def spend_each(self, wanted: Mapping[str, int]) -> dict[str, tuple[int, float]]:
        """Do so for several accounts in one round trip."""
        keys, size = [_bucket(account) for account in wanted], self.allowance
        answers = self._spend(keys=keys, args=[size.capacity, size.per_second, *wanted.values()]) if wanted else ()
        return {
            account: (int(granted), int(wait_ms) / 1000)
            for account, (granted, wait_ms) in zip(wanted, answers, strict=True)
        }

    def left(self, account: str) -> float:
        """Tell how many tokens the bucket holds now, without taking any."""
        self.spend(account, 0)
        return float(self._redis.hget(_bucket(account), "tokens") or 0)

    def slow_down(self, account: str, retry_after_s: float | None) -> None:
        """Empty the bucket after a 429 and halve its refill for a minute, beginning after `retry_after_s`."""
        seconds, microseconds = self._redis.time()
        start = seconds + microseconds / 1e6 + (retry_after_s or 0.0)
        state = {"tokens": 0, "at": f"{start:.6f}", "slow_until": f"{start + SLOW_FOR_S:.6f}"}
        self._redis.hset(_bucket(account), mapping=state)


def _bucket(account: str) -> str:
    return f"opwatch:budget:{account}"
