"""The parts of a worker process. RQ calls jobs by name, so they find the process's runtime in this module."""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar

import redis
import structlog
from aiohttp.abc import AbstractResolver

from config.redis import connect
from config.settings import Settings
from notifiers.targets import Target
from operations.errors import RateLimitedError
from operations.storage.account_alerts import AccountAlerts
from operations.storage.budget import Budget
from operations.storage.glances import Glances
from operations.storage.health import Health
from operations.storage.heartbeat import Heartbeat
from operations.storage.index import DUE, OUTBOX
from operations.storage.learned import Learned
from operations.storage.locks import Locks
from operations.storage.maintenance import Maintenance
from operations.storage.overview import Overview
from operations.storage.records import Records, Stored
from operations.storage.store import Change, Store
from operations.telling.attempts import Policy
from operations.telling.audience import Rules
from operations.telling.view import timestamp
from scalingo.client import Client, Hosts
from workers.doorbell import Doorbell, Round
from workers.loop import Batches, HttpLoop, TargetSlots

log = structlog.get_logger()

T = TypeVar("T")

REDIS_TIMEOUT_S = 5.0
LOOK_DEADLINE_S = 10.0
RECORD_WITHIN_S = 600.0
STALE_AFTER_S = 5.0
"""A claim that was not used for so long (in a suspended process, for example) is released.

The rest of its lease must be longer than a request.
"""

DELIVERIES_FOLD_S = 0.05
LOOKS_FOLD_S = 0.25
_RECORD_PAUSE_S = 0.5
_SIGN_IN_LOCK_S = 8


class SharedGate:
    """The budget and the sign-in lock, shared by all processes, for the client's event loop."""

    def __init__(self, budget: Budget, locks: Locks, worker: str) -> None:
        self._budget = budget
        self._locks = locks
        self._worker = worker

    async def spend(self, account: str) -> float:
        """Wait for one token of the account's budget and spend it. Returns when it was requested (monotonic clock)."""
        while True:
            asked_at_s = time.monotonic()
            granted, wait_s = await asyncio.to_thread(self._budget.spend, account, 1)
            if granted:
                return asked_at_s
            await asyncio.sleep(max(wait_s, 0.01))

    @asynccontextmanager
    async def signing_in(self, account: str) -> AsyncIterator[None]:
        """Wait for this account's turn to exchange its token."""
        name, tokens = sign_in_lock(account), list[str]()

        def take() -> bool:
            tokens.extend(filter(None, [self._locks.acquire(name, self._worker, _SIGN_IN_LOCK_S)]))
            return bool(tokens)

        try:
            while not await to_its_end(take):  # noqa: ASYNC110 - another process releases it
                await asyncio.sleep(0.1)
            yield
        finally:
            with suppress(redis.RedisError):  # it runs out by itself
                for token in tokens:
                    await asyncio.to_thread(self._locks.release, name, token)


def sign_in_lock(account: str) -> str:
    """Name the lock that lets one process at a time exchange this account's token."""
    return f"sign-in:{account}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The parts of one worker process. `name` is unique to each start; its claims for looks begin with it."""

    name: str
    connection: redis.Redis
    targets: Mapping[str, Target]
    rules: Rules
    settings: Settings
    records: Records
    overview: Overview
    store: Store
    changes: Batches[Change, Stored | None]
    learned: Learned
    glances: Glances
    budget: Budget
    events_budget: Budget
    heartbeat: Heartbeat
    health: Health
    locks: Locks
    maintenance: Maintenance
    account_alerts: AccountAlerts
    loop: HttpLoop
    client: Client
    looks_due: Doorbell
    deliveries_due: Doorbell
    slots: TargetSlots

    async def record(self, change: Change) -> Stored | None:
        """Apply a pure change to a record, in a batch. Retries for ten minutes while Redis is away.

        Returns the stored record, or None if the change no longer applies: another worker has claimed it since. Without
        such a claim, even a late change applies.
        """
        return await retry_while_redis_is_down(lambda: self.changes(change))

    async def slow_down(self, account: str, limited: RateLimitedError) -> None:
        """Apply a 429 of the API to the account's budget."""
        slowed = await in_thread(partial(self.budget.slow_down, account, limited.retry_after_s))
        if slowed is not None:
            resumes_at = timestamp(slowed.resumes_at)
            log.warning("slowed down by a 429", account=account, share=slowed.share, resumes_at=resumes_at)

    def round_done(self, done: Round) -> None:
        """Store that rounds are done, for `/readyz` and the dead man's switch."""
        with suppress(redis.RedisError):
            self.health.worked(DUE if done is Round.LOOK else OUTBOX, self.records.now())

    def policy(self, target: str) -> Policy:
        """Return what decides on the result of an attempt. Raises redis.RedisError if Redis is away."""
        known, alert_target = self.targets.get(target), self.settings.alert_target
        return Policy(
            delays_s=known.notifier.retry_delays_s if known else (),
            jitter=random.uniform(-1, 1),  # noqa: S311 - it only spreads retries
            alert_target=alert_target,
            alerted_at=None if alert_target is None else self.store.told.alerted_at(target),
        )

    def finish(self, within_s: float) -> None:
        """Finish current work within the given time, and release the rest."""
        self.loop.drain(within_s)
        self.looks_due.stop()
        self.deliveries_due.stop()

    def close(self) -> None:
        """Remove this worker's heartbeat."""
        with suppress(redis.RedisError):
            self.heartbeat.forget([self.name])
        self.connection.close()


_current: list[Runtime] = []


def current() -> Runtime:
    """Return the runtime of this process, for a job that RQ has called."""
    return _current[0]


def start(settings: Settings, *, resolver: AbstractResolver | None = None) -> Runtime:
    """Build the runtime of this process. `resolver` resolves the names of targets; the default is the system's."""
    name = secrets.token_hex(6)
    connection = connect(settings, timeout_s=REDIS_TIMEOUT_S)
    budget, locks = Budget(connection, settings.requests_per_minute), Locks(connection)
    loop = HttpLoop(allow_private_targets=settings.allow_private_targets, resolver=resolver)
    store = Store(connection, retention=timedelta(days=settings.retention_days))
    runtime = Runtime(
        name=name,
        connection=connection,
        targets=settings.targets,
        rules=settings.rules,
        settings=settings,
        records=store.records,
        overview=store.overview,
        store=store,
        changes=Batches(store.update_all),
        learned=Learned(connection),
        glances=Glances(connection),
        budget=budget,
        events_budget=Budget.of_events(connection, settings.requests_per_minute),
        heartbeat=Heartbeat(connection),
        health=Health(connection),
        locks=locks,
        maintenance=Maintenance(connection, store.records, store.retention),
        account_alerts=AccountAlerts(connection),
        loop=loop,
        client=Client(
            loop.api,
            accounts=settings.accounts,
            hosts=Hosts(settings.regions, settings.database_apis, settings.auth_url),
            output_shown=settings.deployment_output,
            gate=SharedGate(budget, locks, name),
        ),
        looks_due=Doorbell(connection, Round.LOOK, fold_s=LOOKS_FOLD_S),
        deliveries_due=Doorbell(connection, Round.DELIVER, fold_s=DELIVERIES_FOLD_S),
        slots=TargetSlots(),
    )
    _current[:] = [runtime]
    return runtime


async def to_its_end(take: Callable[[], T]) -> T:
    """Take something in a thread. If cancelled, wait for the thread first: what it has taken can then be released."""
    taking = asyncio.ensure_future(asyncio.to_thread(take))
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        await asyncio.wait([taking])
        raise


async def in_thread(ask: Callable[[], T]) -> T:
    """Ask Redis in a thread. Retries for ten minutes while Redis is away."""
    return await retry_while_redis_is_down(lambda: asyncio.to_thread(ask))


async def retry_while_redis_is_down(ask: Callable[[], Awaitable[T]]) -> T:
    """Retry every half second while Redis is away, for ten minutes. Then raises redis.RedisError."""
    give_up_at_s = time.monotonic() + RECORD_WITHIN_S
    while True:
        try:
            return await ask()
        except redis.RedisError:
            if time.monotonic() > give_up_at_s:
                raise
            await asyncio.sleep(_RECORD_PAUSE_S)
