"""What a delivery has to know besides its record: newer outcomes, older messages, and what the operator was told."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import redis

from operations.model import AlertKind, Delivery, DeliveryState, State, Tracking
from operations.storage.clock import from_milliseconds, milliseconds
from operations.storage.index import RETRYING, ChangeKind, IndexChange, retrying_range, tracking_of
from operations.storage.records import Records, Stored
from operations.telling import alerts, announcement, retries
from operations.telling.announcement import Earlier

NEWEST, FAILURES = "opwatch:newest", "opwatch:failures"
ALERTED = "opwatch:alerted"
"""The targets of which the operator was told that deliveries fail, by the time of the first alert."""

MOST_READ = 100
"""Of how many waiting deliveries to a target the oldest is found."""


class Told:
    """Reads what all processes share. Every method raises redis.RedisError if Redis is away."""

    def __init__(self, connection: redis.Redis, records: Records) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._records = records

    def earlier(self, tracking: Tracking) -> Earlier | None:
        """Return how the earlier operations of the same account, region, app and type ended. None without a type."""
        keys = _row_keys(tracking)
        if keys is None:
            return None
        at_ms, failures = (int(each) if each and each.isdigit() else None for each in self._redis.mget(keys))
        return Earlier(failures or 0, None if at_ms is None else from_milliseconds(at_ms))

    def alerted_at(self, target: str) -> datetime | None:
        """Return when the operator was told that deliveries to the target fail, if not since that they work again."""
        at_ms = self._redis.zscore(ALERTED, target)
        return None if at_ms is None else from_milliseconds(int(at_ms))

    def oldest_waiting(self, targets: Sequence[str]) -> dict[str, tuple[Stored, Delivery]]:
        """Return, by target, the oldest delivery that waits for its next attempt, if any; of the first hundred."""
        pipe = self._redis.pipeline(transaction=False)
        for target in targets:
            pipe.zrangebylex(RETRYING, *retrying_range(target), start=0, num=MOST_READ)
        members = [member.decode() for found in (pipe.execute() if targets else ()) for member in found]
        known = self._records.read(dict.fromkeys(map(tracking_of, members)))
        waiting = [(each, d) for each in known for d in each.tracking.outgoing if d.target in targets and _waits(d)]
        waiting.sort(key=lambda one: retries.since(one[0].tracking, one[1]))
        return {delivery.target: (stored, delivery) for stored, delivery in reversed(waiting)}  # the oldest is the last


def told_changes(old: Tracking | None, new: Tracking, retention: timedelta) -> Iterator[IndexChange]:
    """List what to remember when `new` replaces `old`: an operation's end, the failures in a row, and each alert."""
    keys, ended_at, failures = _row_keys(new), announcement.end_of(new), new.failures_in_a_row
    if old is not None and old.ended_at is None and keys is not None:
        newest, row = keys
        if ended_at is not None:
            # A delivery is kept for the retention after its last attempt, so it can be retried even later.
            kept_s = max(1, round(2 * retention.total_seconds()))
            yield IndexChange(ChangeKind.LATEST, newest, str(milliseconds(ended_at)), kept_s)
        if failures is not None:
            before, after = (failures - 1, failures) if new.state is State.FAILED else (failures, 0)
            yield IndexChange(ChangeKind.COUNT, row, str(before), after)
    for delivery in alerts.news(old, new):
        if (about := delivery.alert) is None:
            continue
        mark = alerts.mark(about.kind, about.subject)
        yield IndexChange(ChangeKind.MARK, mark, delivery.id, alerts.QUIET_S[about.kind])
        if about.kind is AlertKind.FAILING:
            yield IndexChange(ChangeKind.FIRST, ALERTED, about.subject, milliseconds(about.at))
        elif about.kind is AlertKind.RECOVERED:
            failing = alerts.mark(AlertKind.FAILING, about.subject)  # a failure from now on is news again
            yield IndexChange(ChangeKind.SCORE, ALERTED, about.subject, None)
            yield IndexChange(ChangeKind.DROP, failing, "", None)


def _row_keys(tracking: Tracking) -> tuple[str, str] | None:
    """Return the keys of the newest end, and of the failures in a row; None without a type."""
    if tracking.operation is None or not tracking.operation.type:
        return None
    row = f"{tracking.account}:{tracking.region}:{tracking.app}:{tracking.operation.type}"
    return f"{NEWEST}:{row}", f"{FAILURES}:{row}"


def _waits(delivery: Delivery) -> bool:
    return delivery.state is DeliveryState.RETRYING and delivery.claim is None and not delivery.warns
