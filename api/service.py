"""What the routes work with: made once per app, found through Flask's current app."""

from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import redis
from flask import current_app

from api.breaker import GuardedRedis
from api.ends import Ends
from api.fairness import FairQueue, WaitSlots
from config.redis import connect
from config.settings import Settings
from config.web import MOST_WAITING
from operations.budget import Budget
from operations.index import Limit
from operations.presence import Presence
from operations.store import Store
from workers.doorbell import Doorbell, Round

REDIS_TIMEOUT_S = 0.9
"""Twice this is still below the 2 s in which a caller hears that Redis is away."""

MOST_REDIS_CONNECTIONS = 32

AT_ONCE = 8
"""Requests of one caller in the works at once: each keeps others waiting for milliseconds, so few of them do."""

MOST_QUEUED = 300
"""Further requests of one caller; beyond them it is told to come again."""

RINGS_FOLD_S = 0.25
"""A first look within a second, and no more than four RQ jobs a second however many operations come in."""

KEY = "opwatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of one web process."""

    settings: Settings
    connection: redis.Redis
    store: Store
    budget: Budget
    presence: Presence
    limit: Limit
    looks_due: Doorbell
    deliveries_due: Doorbell
    queue: FairQueue
    ends: Ends
    wait_slots: WaitSlots


def build(settings: Settings) -> Service:
    """Build the service; nothing is dialled before the first request."""
    connection = connect(settings, timeout_s=REDIS_TIMEOUT_S, client=GuardedRedis, most=MOST_REDIS_CONNECTIONS)
    store = Store(connection, retention=timedelta(days=settings.retention_days))
    return Service(
        settings=settings,
        connection=connection,
        store=store,
        budget=Budget(connection, settings.requests_per_minute),
        presence=Presence(connection),
        limit=Limit(settings.max_in_flight, callers=len(settings.tokens)),
        looks_due=Doorbell(connection, Round.POLL, fold_s=RINGS_FOLD_S),
        deliveries_due=Doorbell(connection, Round.DELIVER, fold_s=RINGS_FOLD_S),
        queue=FairQueue(AT_ONCE, MOST_QUEUED),
        ends=Ends(connection, store),
        wait_slots=WaitSlots(MOST_WAITING, spare=MOST_WAITING // 4 if len(settings.tokens) > 1 else 0),
    )


def service() -> Service:
    """Give the service of the app that handles this request."""
    return cast("Service", current_app.extensions[KEY])
