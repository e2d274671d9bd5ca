"""The log line of each attempt to deliver."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import structlog

from operations.errors import OpwatchError, Reason
from operations.model import Delivery, DeliveryState, Tracking
from operations.storage import tallies
from operations.telling import view
from operations.telling.retries import Again, Decision, Delivered, GiveUp

log = structlog.get_logger()

_EVENTS: Mapping[type[Decision], tuple[int, str]] = {
    Delivered: (logging.INFO, "delivered"),
    Again: (logging.WARNING, "delivery retrying"),
    GiveUp: (logging.WARNING, "delivery dead"),
}
_ALERT_EVENTS: Mapping[type[Decision], tuple[int, str]] = {
    Delivered: (logging.INFO, "alert delivered"),
    Again: (logging.WARNING, "alert retrying"),
    GiveUp: (logging.ERROR, "alert dead: the operator was not told"),
}
_OVERTAKEN = (logging.WARNING, "attempt overtaken")


def write(
    tracking: Tracking,
    delivery: Delivery,
    error: OpwatchError | None,
    decision: Decision | None,
    *,
    now: datetime,
    took_ms: float,
) -> None:
    """Say how an attempt ended and what follows; no `decision` where its result no longer counted."""
    events = _EVENTS if delivery.alert is None else _ALERT_EVENTS
    level, event = _OVERTAKEN if decision is None else events[type(decision)]
    told = replace(delivery, state=DeliveryState.DELIVERED, ended_at=now)
    log.log(
        level,
        event,
        tracking=tracking.id,
        delivery=tracking.delivery_id(delivery),
        target=delivery.target,
        attempt=delivery.attempts,
        took_ms=took_ms,
        dwell_s=tallies.dwell_s(tracking, told) if isinstance(decision, Delivered) else None,
        error=None if error is None else str(error),
        reason=(Reason.OK if error is None else error.reason).value,
        next_attempt_at=view.timestamp(decision.at) if isinstance(decision, Again) else None,
    )
