"""The parts that the routes use: made once per app, found through Flask's current app."""

from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from flask import current_app

from api.ends import Ends
from api.fairness import FairQueue, WaitSlots
from config.redis import GuardedRedis, connect
from config.settings import Settings
from config.web import MOST_WAITING
from operations.storage import Redis
from operations.storage.account_alerts import AccountAlerts
from operations.storage.budget import Budget
from operations.storage.health import Health
from operations.storage.heartbeat import Heartbeat
from operations.storage.index import Limit
from operations.storage.listing import Listing
from operations.storage.maintenance import Maintenance
from operations.storage.overview import Overview
from operations.storage.records import Records
from operations.storage.store import Store
from workers.doorbell import Doorbell, Round

REDIS_TIMEOUT_S = 0.9
"""A caller must get its 503 within 2 s while Redis is away, and a request may try twice."""

MOST_REDIS_CONNECTIONS = 32

AT_ONCE = 8
"""Requests of one caller that are handled at the same time. Few, because each delays others for milliseconds."""

MOST_QUEUED = 300
"""Further requests of one caller that may wait; more are answered with 503."""

RINGS_FOLD_S = 0.25
"""The first look is within a second, with at most four RQ jobs a second, however many operations come in."""

KEY = "opwatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of one web process."""

    settings: Settings
    connection: Redis
    records: Records
    overview: Overview
    listing: Listing
    store: Store
    maintenance: Maintenance
    budget: Budget
    hints: Budget
    heartbeat: Heartbeat
    health: Health
    account_alerts: AccountAlerts
    limit: Limit
    looks_due: Doorbell
    deliveries_due: Doorbell
    queue: FairQueue
    ends: Ends
    wait_slots: WaitSlots


def build(settings: Settings) -> Service:
    """Build the service; it connects to nothing before the first request."""
    trackers = sum(token.may_change for token in settings.tokens.values())
    connection = connect(settings, timeout_s=REDIS_TIMEOUT_S, client=GuardedRedis, most=MOST_REDIS_CONNECTIONS)
    store = Store(connection, retention=timedelta(days=settings.retention_days))
    return Service(
        settings=settings,
        connection=connection,
        records=store.records,
        overview=store.overview,
        listing=store.listing,
        store=store,
        maintenance=Maintenance(connection, store.records),
        budget=Budget(connection, settings.requests_per_minute),
        hints=Budget.of_hints(connection, settings.requests_per_minute),
        heartbeat=Heartbeat(connection),
        health=Health(connection),
        account_alerts=AccountAlerts(connection),
        limit=Limit(settings.max_in_flight, share=max(1, settings.max_in_flight // max(1, trackers))),
        looks_due=Doorbell(connection, Round.LOOK, fold_s=RINGS_FOLD_S),
        deliveries_due=Doorbell(connection, Round.DELIVER, fold_s=RINGS_FOLD_S),
        queue=FairQueue(AT_ONCE, MOST_QUEUED),
        ends=Ends(connection),
        wait_slots=WaitSlots(MOST_WAITING, spare=MOST_WAITING // 4 if len(settings.tokens) > 1 else 0),
    )


def service() -> Service:
    """Return the service of the app that handles this request."""
    return cast("Service", current_app.extensions[KEY])
