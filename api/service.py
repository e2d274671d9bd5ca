"""The parts that the routes use: made once per app, found through Flask's current app."""

from datetime import timedelta
from typing import cast

from flask import current_app

from api.ends import Ends
from api.fairness import FairQueue, WaitSlots
from config.redis import GuardedRedis, connect
from config.settings import Settings
from config.web import MOST_WAITING
from operations.storage.account_alerts import AccountAlerts
from operations.storage.budget import Budget
from operations.storage.health import Health
from operations.storage.heartbeat import Heartbeat
from operations.storage.index import Limit
from operations.storage.maintenance import Maintenance
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


class Service:
    """The parts of one web process. Building them connects to nothing; the first request does."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.connection = connect(settings, timeout_s=REDIS_TIMEOUT_S, client=GuardedRedis, most=MOST_REDIS_CONNECTIONS)
        self.store = Store(self.connection, retention=timedelta(days=settings.retention_days))
        self.records = self.store.records
        self.overview = self.store.overview
        self.listing = self.store.listing
        self.maintenance = Maintenance(self.connection, self.records)
        self.budget = Budget(self.connection, settings.requests_per_minute)
        self.hints = Budget.of_hints(self.connection, settings.requests_per_minute)
        self.heartbeat = Heartbeat(self.connection)
        self.health = Health(self.connection)
        self.account_alerts = AccountAlerts(self.connection)
        trackers = sum(token.may_change for token in settings.tokens.values())
        self.limit = Limit(settings.max_in_flight, share=max(1, settings.max_in_flight // max(1, trackers)))
        self.looks_due = Doorbell(self.connection, Round.LOOK, fold_s=RINGS_FOLD_S)
        self.deliveries_due = Doorbell(self.connection, Round.DELIVER, fold_s=RINGS_FOLD_S)
        self.queue = FairQueue(AT_ONCE, MOST_QUEUED)
        self.ends = Ends(self.connection)
        self.wait_slots = WaitSlots(MOST_WAITING, spare=MOST_WAITING // 4 if len(settings.tokens) > 1 else 0)


def service() -> Service:
    """Return the service of the app that handles this request."""
    return cast("Service", current_app.extensions[KEY])
