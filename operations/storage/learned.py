"""The learned durations, read from Redis and cached for a few seconds."""

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import redis

from operations.kind import Kind
from operations.model import Tracking
from operations.watching.durations import KEPT, LONGEST_S, Durations

DURATIONS = "opwatch:durations"
KEPT_FOR_S = 10.0
MOST_KEPT = 5_000


class _Known(NamedTuple):
    until_s: float
    durations: Durations


class Learned:
    """Durations by app and type. Thread-safe. Raises redis.RedisError if Redis is away."""

    def __init__(self, connection: redis.Redis, *, most_kept: int = MOST_KEPT) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._most_kept = most_kept
        self._known: dict[tuple[str, ...], _Known] = {}

    def durations(self, trackings: Iterable[Tracking]) -> list[Durations]:
        """Return the distribution of durations for each of these operations, with at most one request to Redis."""
        wanted = [(tracking.kind, *durations_keys(tracking)) for tracking in trackings]
        known, now_s = self._known, time.monotonic()
        missing = [keys for keys in dict.fromkeys(wanted) if keys not in known or known[keys].until_s < now_s]
        if missing:
            if len(known) + len(missing) > self._most_kept:
                known = self._known = {keys: known[keys] for keys in wanted if keys in known}
            pipe = self._redis.pipeline(transaction=False)
            for key in (key for _, *keys in missing for key in keys):
                pipe.lrange(key, 0, KEPT - 1)
            answers = iter(pipe.execute(raise_on_error=False))
            for kind, *keys in missing:
                read = [_seconds(next(answers)) for _ in keys]
                known[kind, *keys] = _Known(now_s + KEPT_FOR_S, Durations.learn(*read, kind=Kind(kind)))
        return [known[keys].durations for keys in wanted]


def durations_keys(tracking: Tracking) -> tuple[str, ...]:
    """Return the keys of the learned durations: of the app and type, and of the type, if known."""
    word = tracking.operation.type if tracking.operation is not None else None
    if tracking.kind in (Kind.DEPLOYMENT, Kind.BACKUP):
        word = tracking.kind.value
    elif word is not None and tracking.kind is Kind.DATABASE:
        word = f"database-{word}"
    if word is None:
        return ()
    return f"{DURATIONS}:{tracking.region}:{tracking.app}:{word}", f"{DURATIONS}-of-type:{word}"


def _seconds(stored: list[bytes] | redis.RedisError) -> list[float]:
    """Read durations, ignoring invalid ones: the prior alone is better than a failed round."""
    read = []
    for each in stored if isinstance(stored, list) else ():
        try:
            read.append(float(each))
        except ValueError:
            continue
    return [duration_s for duration_s in read if 0 <= duration_s <= LONGEST_S]
