"""What is due in the sorted sets, by Redis's clock."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import redis

from operations.storage.clock import milliseconds
from operations.storage.index import DUE, GROUPS, LIVE, OUTBOX
from operations.telling.group_record import CHECK_EVERY_S
from operations.telling.retries import LONGEST_PAUSE_S
from operations.watching.pace import LONGEST_WAIT_S

AHEAD = {
    DUE: timedelta(seconds=LONGEST_WAIT_S + 5),
    OUTBOX: timedelta(seconds=LONGEST_PAUSE_S),
    LIVE: timedelta(seconds=LONGEST_PAUSE_S),
    GROUPS: timedelta(seconds=CHECK_EVERY_S + 5),
}
"""No pause is longer. A score further ahead was stored before Redis's clock was set back: it is due now."""


class DueSets:
    """Lists due members."""

    def __init__(self, connection: redis.Redis) -> None:
        # redis-py types every answer as bytes or str; without decoding they are bytes
        self._list: Any = connection.register_script((Path(__file__).parent / "due.lua").read_text())

    def list(self, key: str, skip: int, most: int) -> tuple[int, list[tuple[bytes, float]]]:
        """Return the time in ms, and at most `most` due members with their scores, the most overdue first."""
        ahead = AHEAD.get(key)
        ahead_ms = "" if ahead is None else round(ahead.total_seconds() * 1000)
        now_ms, found = self._list(keys=[key], args=[skip, most, ahead_ms])
        return now_ms, list(zip(found[::2], map(float, found[1::2]), strict=True))


def is_due(key: str, at: datetime | None, now: datetime) -> bool:
    """Tell whether an entry of this sorted set is due."""
    return at is not None and not now < at <= now + AHEAD[key]


def due_in_s(key: str, first: list[tuple[bytes, float]], last: list[tuple[bytes, float]], now: datetime) -> float:
    """Return in how many seconds anything of a sorted set is due, from its ends; infinity if it is empty."""
    if last and last[0][1] > milliseconds(now + AHEAD[key]):
        return 0.0
    return (first[0][1] - milliseconds(now)) / 1000 if first else float("inf")
