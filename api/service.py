"""What the routes work with: made once per app, found through Flask's current app."""

from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import redis
from flask import current_app

from api.breaker import GuardedRedis
from api.fairness import Places
from config.redis import connect
from config.settings import Settings
from config.web import THREADS
from operations.storage.account_alerts import AccountAlerts
from operations.storage.budget import Budget
from operations.storage.heartbeat import Heartbeat
from operations.storage.index import Limit
from operations.storage.records import Records
from operations.storage.store import Store
from workers.doorbell import Doorbell, Round

REDIS_TIMEOUT_S = 0.9
"""Twice this is still below the 2 s in which a caller hears that Redis is away."""

RINGS_FOLD_S = 0.25
"""A first look within a second, and no more than four RQ jobs a second however many operations come in."""

KEY = "opwatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of one web process."""

    settings: Settings
    connection: redis.Redis
    records: Records
    store: Store
    budget: Budget
    heartbeat: Heartbeat
    account_alerts: AccountAlerts
    limit: Limit
    looks_due: Doorbell
    deliveries_due: Doorbell
    waiting_room: Places


def build(settings: Settings) -> Service:
    """Build the service; nothing is dialled before the first request."""
    connection = connect(settings, timeout_s=REDIS_TIMEOUT_S, client=GuardedRedis)
    store = Store(connection, retention=timedelta(days=settings.retention_days))
    return Service(
        settings=settings,
        connection=connection,
        records=store.records,
        store=store,
        budget=Budget(connection, settings.requests_per_minute),
        heartbeat=Heartbeat(connection),
        account_alerts=AccountAlerts(connection),
        limit=Limit(settings.max_in_flight, callers=len(settings.tokens)),
        looks_due=Doorbell(connection, Round.LOOK, fold_s=RINGS_FOLD_S),
        deliveries_due=Doorbell(connection, Round.DELIVER, fold_s=RINGS_FOLD_S),
        waiting_room=Places(max(1, THREADS // 2), spare=int(len(settings.tokens) > 1)),
    )


def service() -> Service:
    """Give the service of the app that handles this request."""
    return cast("Service", current_app.extensions[KEY])
