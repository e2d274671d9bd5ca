"""What should have been done long ago: looks and deliveries that nobody has claimed although they are due."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis

from operations.storage.index import DUE, OUTBOX, milliseconds


@dataclass(frozen=True, slots=True)
class Overdue:
    """How many have been due for long, and for how many seconds the first of all has been due."""

    count: int
    oldest_s: float


def overdue(connection: redis.Redis, by: timedelta, now: datetime) -> tuple[Overdue, Overdue]:
    """Tell what looks have been due for longer than that, and what deliveries."""
    now_ms = milliseconds(now)
    pipe: Any = connection.pipeline(transaction=False)
    for key in (DUE, OUTBOX):
        pipe.zcount(key, "-inf", f"({milliseconds(now - by)}")
        pipe.zrange(key, 0, 0, withscores=True)
    looks, first_look, deliveries, first_delivery = pipe.execute()
    return Overdue(looks, _age_s(first_look, now_ms)), Overdue(deliveries, _age_s(first_delivery, now_ms))


def _age_s(first: list[tuple[bytes, float]], now_ms: int) -> float:
    return max(0.0, (now_ms - first[0][1]) / 1000) if first else 0.0
