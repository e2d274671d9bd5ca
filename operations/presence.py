"""What all processes tell each other besides records: heartbeats, one-at-a-time locks, and alerts for the operator."""

import secrets
from collections.abc import Iterable
from typing import Any

import redis

HEARTBEAT_EVERY_S = 3
_BEAT = "opwatch:heartbeat"
_BEAT_LASTS_S = 10
_ALERT_LASTS_S = 900
_UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Presence:
    """Who is alive and what the operator has to know, kept in Redis."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._unlock = connection.register_script(_UNLOCK)
        self._known_clear: set[str] = set()

    def beat(self) -> None:
        """Tell everybody that a worker's clock runs."""
        self._redis.set(_BEAT, 1, ex=_BEAT_LASTS_S)

    def has_worker(self) -> bool:
        """Tell whether some worker's clock beat within the last 10 s."""
        return bool(self._redis.exists(_BEAT))

    def lock(self, name: str, lasts_s: int) -> str | None:
        """Take a lock for at most `lasts_s`; returns the token to give it back with, None while another holds it."""
        token = secrets.token_hex(8)
        return token if self._redis.set(f"opwatch:lock:{name}", token, nx=True, ex=lasts_s) else None

    def unlock(self, name: str, token: str) -> None:
        """Give a lock back, if it is still ours."""
        self._unlock(keys=[f"opwatch:lock:{name}"], args=[token])

    def raise_alert(self, account: str, text: str) -> bool:
        """Keep what the operator has to mend about an account until it is cleared; tells whether it is news.

        It lapses by itself when nothing has raised it for a quarter of an hour.
        """
        self._known_clear.discard(account)
        return self._redis.set(f"opwatch:alert:{account}", text, ex=_ALERT_LASTS_S, get=True) is None

    def clear_alert(self, account: str) -> None:
        """Forget the alert of an account; asks Redis only where this process does not know it to be clear."""
        if account not in self._known_clear:
            self._redis.delete(f"opwatch:alert:{account}")
            self._known_clear.add(account)

    def alerts(self, accounts: Iterable[str]) -> list[str]:
        """List what the operator has to mend."""
        found = self._redis.mget([f"opwatch:alert:{account}" for account in accounts])
        return [text.decode() for text in found if text]


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
