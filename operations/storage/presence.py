"""What all processes tell each other besides records: heartbeats, one-at-a-time locks, and alerts for the operator."""

import secrets
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import redis

from operations.model import AlertKind
from operations.storage.index import milliseconds
from operations.telling.alerts import QUIET_S, mark

SILENT_AFTER = timedelta(seconds=3)
"""A worker whose clock has not beaten for so long is presumed dead: what it was looking at, others may look at."""

FIRST_BEATS_S = 1.5
"""A worker that has just come up lets the others beat first: Redis may have come back only now."""

LONGEST_PAUSE_S = 2.0
"""Between two beats (they come each second); after a longer one Redis was away, and perhaps for everybody."""

GONE_AFTER = timedelta(seconds=10)
"""With no beat for so long, the service as a whole has no worker."""

CLEAR_FOR_S = 30.0
"""How long a process takes an account to be clear of alerts: another may have raised one meanwhile, and died."""

_WORKERS = "opwatch:workers"
_ALERT_LASTS_S = QUIET_S[AlertKind.REJECTED]
_UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Presence:
    """Who is alive and what the operator has to know, kept in Redis."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._unlock = connection.register_script(_UNLOCK)
        self._known_clear: dict[str, float] = {}
        self._beat_at_s: float | None = None
        self._steady_from_s = float("inf")

    @property
    def steady(self) -> bool:
        """Whether Redis has answered this worker long enough to take what others have not done for what they cannot do.

        Right after an outage others, too, have yet to beat, and to record what they found out meanwhile.
        """
        now_s = time.monotonic()
        beats = self._beat_at_s is not None and now_s - self._beat_at_s <= LONGEST_PAUSE_S
        return beats and now_s >= self._steady_from_s

    def beat(self, worker: str, now: datetime) -> frozenset[str]:
        """Tell everybody that this worker's clock runs; returns the workers that have fallen silent."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zadd(_WORKERS, {worker: milliseconds(now)})
        pipe.zrangebyscore(_WORKERS, "-inf", milliseconds(now - SILENT_AFTER))
        _, silent = pipe.execute()
        before_s, self._beat_at_s = self._beat_at_s, time.monotonic()
        if before_s is None:
            self._steady_from_s = self._beat_at_s + FIRST_BEATS_S
        elif self._beat_at_s - before_s > LONGEST_PAUSE_S:
            self._steady_from_s = self._beat_at_s + SILENT_AFTER.total_seconds()
        return frozenset(name.decode() for name in silent)

    def forget(self, workers: Iterable[str]) -> None:
        """Take workers off the list: one that stops, or silent ones whose work was handed back."""
        self._redis.zrem(_WORKERS, *workers)

    def has_worker(self) -> bool:
        """Tell whether some worker's clock beat within the last 10 s."""
        beating, _ = self.workers()
        return beating > 0

    def workers(self) -> tuple[int, float]:
        """Count the workers whose clock beat within the last 10 s; and tell when the last beat was, in seconds of 1970.

        Zero where none is known; one that stopped takes leave.
        """
        seconds, _ = self._redis.time()
        pipe = self._redis.pipeline(transaction=False)
        pipe.zcount(_WORKERS, (seconds - GONE_AFTER.total_seconds()) * 1000, "+inf")
        pipe.zrange(_WORKERS, -1, -1, withscores=True)
        beating, last = pipe.execute()
        return int(beating), last[0][1] / 1000 if last else 0.0

    def lock(self, name: str, worker: str, lasts_s: int) -> str | None:
        """Take a lock for at most `lasts_s`; returns the token to give it back with, None while another holds it."""
        token = f"{worker}.{secrets.token_hex(4)}"
        return token if self._redis.set(f"opwatch:lock:{name}", token, nx=True, ex=lasts_s) else None

    def unlock(self, name: str, token: str) -> None:
        """Give a lock back, if it is still ours."""
        self._unlock(keys=[f"opwatch:lock:{name}"], args=[token])

    def unlock_for(self, name: str, workers: Iterable[str]) -> None:
        """Give back a lock that one of these workers held and will not give back itself."""
        holder = (self._redis.get(f"opwatch:lock:{name}") or b"").decode()
        if holder.partition(".")[0] in workers:
            self.unlock(name, holder)

    def raise_alert(self, account: str, text: str) -> bool:
        """Keep what the operator has to mend about an account until it is cleared; tells whether it is news.

        It lapses by itself when nothing has raised it for a quarter of an hour, and so does the mark that keeps the
        alert target from being told again.
        """
        self._known_clear.pop(account, None)
        self._redis.expire(mark(AlertKind.REJECTED, account), _ALERT_LASTS_S)
        return self._redis.set(f"opwatch:alert:{account}", text, ex=_ALERT_LASTS_S, get=True) is None

    def is_known_clear(self, account: str) -> bool:
        """Tell whether this process has made sure within half a minute that an account has no alert."""
        return time.monotonic() - self._known_clear.get(account, float("-inf")) <= CLEAR_FOR_S

    def clear_alert(self, account: str) -> None:
        """Forget the alert of an account; asks Redis only where it is not known to be clear."""
        if not self.is_known_clear(account):
            self._redis.delete(f"opwatch:alert:{account}", mark(AlertKind.REJECTED, account))
            self._known_clear[account] = time.monotonic()

    def alerts(self, accounts: Iterable[str]) -> list[str]:
        """List what the operator has to mend."""
        return list(self.rejected(accounts).values())

    def rejected(self, accounts: Iterable[str]) -> dict[str, str]:
        """Tell which of the accounts have an API token that is rejected, and what to do about each."""
        named = list(accounts)
        found = self._redis.mget([f"opwatch:alert:{account}" for account in named])
        return {account: text.decode() for account, text in zip(named, found, strict=True) if text}


def storage_faults(connection: redis.Redis) -> list[str]:
    """List what may make this Redis lose what it acknowledged: no append-only file, or keys that may be evicted.

    What the server does not tell (some providers hide it) is not counted as a fault.
    """
    persistence, memory = connection.info("persistence"), connection.info("memory")
    faults = []
    if persistence.get("aof_enabled") == 0:
        faults.append("Redis keeps no append-only file (AOF): a crash of Redis loses trackings; switch AOF on")
    if persistence.get("aof_last_write_status", "ok") != "ok":
        faults.append("Redis could not write its append-only file; see to its disk")
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        faults.append(f"Redis may evict keys (maxmemory-policy {policy}); set it to noeviction")
    return faults
