"""Stores many operations of many accounts directly in Redis, and measures how long ago each was seen."""

import json
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from operations.errors import NewerRecordError
from operations.model import Operation, Tracking
from operations.storage.budget import GOOD_FOR_S
from operations.storage.glances import GLANCE
from operations.storage.index import record_key
from operations.storage.records import decode
from operations.storage.store import Store

ACCOUNTS = 200
EACH_S = 5.0
"""The limit allows a look at every operation this often."""

SPREAD_S = 5.0
OLDEST_S = 300.0
COHORT = 500
_BURST = 5
_HEADROOM = 1.04


def names(count: int) -> list[str]:
    """Return the names of so many accounts."""
    return [f"a{number:03d}" for number in range(count)]


def settings(operations: int, accounts: int) -> dict[str, str]:
    """Return settings that allow a look at each operation every 5 s, and hardly more.

    A bucket refills at (N - 5) / 62 a second, so that no 60 s have more than N requests. The limit is 4 % higher,
    because of rounding, so that looks are not late for lack of tokens alone.
    """
    per_s = operations / accounts / EACH_S * _HEADROOM
    return {
        **{f"SCALINGO_API_TOKEN_{name.upper()}": f"tk-us-{name}" for name in names(accounts)},
        "SCALINGO_REQUESTS_PER_MINUTE": f"{_BURST + per_s * (60 + GOOD_FOR_S):.0f}",
        "OPWATCH_MAX_IN_FLIGHT": "100000",
    }


def fill(store: Store, operations: int, accounts: int, *, new: bool) -> list[str]:
    """Store the operations. Returns their ids. They become due evenly within 5 s, in a few seconds.

    Their ages are mixed, up to 5 min, and older ones get fewer looks; or all are `new`.
    """
    ready_at = store.records.now() + timedelta(seconds=3 + operations / 4000)
    chance = random.Random(operations)  # noqa: S311 - a mix that is the same each time
    identities = []
    for number in range(operations):
        age_s = 0.0 if new else chance.uniform(0, OLDEST_S)
        created_at = ready_at - timedelta(seconds=age_s)
        polls = 1 if new else 1 + int(min(age_s, 60) / EACH_S)
        operation_id = secrets.token_hex(12)
        tracking = Tracking(
            id=f"osc-fr1-{operation_id}",
            app=f"shop-{number // accounts}",
            operation_id=operation_id,
            region="osc-fr1",
            account=names(accounts)[number % accounts],
            created_at=created_at,
            created_by="ci",
            caller_counted=True,
            timeout_s=3600,
            context={"actor": "jane", "environment": "production", "commit": secrets.token_hex(20)},
            group=f"deploy-{number // 4}",
            group_size=4,
            next_look_at=ready_at + timedelta(seconds=SPREAD_S * number / operations),
        )
        seen = Operation(status="running", type="restart", created_at=created_at)
        store.add(replace(tracking, polls=polls, last_polled_at=ready_at, operation=seen))
        identities.append(tracking.id)
    return identities


class Cohort:
    """A random sample of the operations: how long ago each was last seen, by a look or a glance, twice a second."""

    def __init__(self, redis: Any, identities: Sequence[str]) -> None:
        self._redis = redis
        self._identities = random.sample(identities, min(COHORT, len(identities)))
        self.unseen_s: list[float] = []
        self.commands = 0

    @property
    def operations(self) -> list[str]:
        """Their ids at the API."""
        return [identity.rpartition("-")[2] for identity in self._identities]

    def read(self) -> None:
        """Note how long ago each was seen."""
        now = time.time()
        places = {account: self._glanced_at(account) for account in names(ACCOUNTS)}
        self.commands += 1 + len(places)
        for record in self._redis.mget([record_key(identity) for identity in self._identities]):
            try:
                tracking = decode(record)
            except NewerRecordError:
                continue
            looked_at = 0.0 if tracking.last_polled_at is None else tracking.last_polled_at.timestamp()
            self.unseen_s.append(max(0.0, now - max(looked_at, places.get(tracking.account, 0.0))))

    def _glanced_at(self, account: str) -> float:
        stored = self._redis.get(f"{GLANCE}:{account}:osc-fr1")
        return 0.0 if stored is None else json.loads(stored)["at"] / 1000
