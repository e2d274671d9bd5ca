"""Very many operations in flight over many accounts, put straight into Redis, and how late each is looked at."""

import random
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from operations.errors import NewerRecordError
from operations.model import Operation, Tracking
from operations.storage.budget import GOOD_FOR_S
from operations.storage.index import record_key
from operations.storage.records import decode
from operations.storage.store import Store

ACCOUNTS = 200
EACH_S = 5.0
"""The limit allows a look at every operation so often."""

SPREAD_S = 5.0
OLDEST_S = 300.0
AHEAD_S = 900.0
COHORT = 500
_APPS = 400
_BURST = 5
_HEADROOM = 1.04


def names(count: int) -> list[str]:
    """Name so many accounts."""
    return [f"a{number:03d}" for number in range(count)]


def settings(operations: int, accounts: int) -> dict[str, str]:
    """Return the settings of a service that may look at each of them every 5 s, and little more often.

    A bucket refills at (N - 5) / 62 a second, so that no 60 s see more than N requests; 4 % more, for what is lost to
    rounding, keeps looks from falling behind for want of tokens alone.
    """
    per_s = operations / accounts / EACH_S * _HEADROOM
    return {
        **{f"SCALINGO_API_TOKEN_{name.upper()}": f"tk-us-{name}" for name in names(accounts)},
        "SCALINGO_REQUESTS_PER_MINUTE": f"{_BURST + per_s * (60 + GOOD_FOR_S):.0f}",
        "OPWATCH_MAX_IN_FLIGHT": "100000",
    }


def fill(store: Store, operations: int, accounts: int, *, hurried: bool) -> list[str]:
    """Put them in; returns their ids. They are due one after the other within 5 s, a few seconds from now.

    Their ages are mixed, up to 5 min, and the pace looks at the older ones less often. `hurried`: they begin only in
    15 min, as it were, so that the pace holds every one for new and wants a look at it about as often as the limit
    allows.
    """
    ready_at = store.records.now() + timedelta(seconds=3 + operations / 4000)
    chance = random.Random(operations)  # noqa: S311 - a mix that is the same each time
    identities = []
    for number in range(operations):
        age_s = -AHEAD_S if hurried else chance.uniform(0, OLDEST_S)
        created_at = ready_at - timedelta(seconds=age_s)
        polls = 1 if hurried else 1 + int(min(age_s, 60) / EACH_S)
        operation_id = secrets.token_hex(12)
        tracking = Tracking(
            id=f"osc-fr1-{operation_id}",
            app=f"shop-{number % _APPS}",
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
    """Some of them, drawn by lot: when each look at them was due, read from Redis twice a second beside the worker."""

    def __init__(self, redis: Any, identities: Sequence[str]) -> None:
        self._redis = redis
        self._identities = random.sample(identities, min(COHORT, len(identities)))
        self._due: dict[tuple[str, float], float] = {}
        self.commands = 0

    @property
    def operations(self) -> list[str]:
        """The ids by which the API knows them."""
        return [identity.rpartition("-")[2] for identity in self._identities]

    def read(self) -> None:
        """Note for each when its next look is due, unless one is under way."""
        now = time.time()
        self.commands += 1
        for record in self._redis.mget([record_key(identity) for identity in self._identities]):
            try:
                tracking = decode(record)
            except NewerRecordError:
                continue
            if tracking.next_look_at is not None and tracking.claim is None:
                self._due.setdefault((tracking.operation_id, tracking.next_look_at.timestamp()), now)

    def lateness_s(self, looks: Mapping[str, Sequence[float]], until: float) -> list[float]:
        """Say how late each look was: from when it was due until the API had the request.

        `looks` are the times of the requests for each. One due before `until` and not made by then is as late as it is
        by then, at the least.
        """
        late = []
        for (operation_id, due), noted in self._due.items():
            if due < until:
                made = next((at for at in looks[operation_id] if at >= min(due, noted)), until)
                late.append(max(0.0, made - due))
        return late
