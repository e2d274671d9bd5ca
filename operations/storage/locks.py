"""Named locks, held by one process at a time. A lock expires by itself."""

import secrets
from collections.abc import Iterable
from typing import Any

import redis

_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Locks:
    """Acquires and releases locks."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._release = connection.register_script(_RELEASE)

    def acquire(self, name: str, worker: str, lasts_s: int) -> str | None:
        """Acquire a lock for at most `lasts_s`. Returns the token that releases it; None if it is held."""
        token = f"{worker}.{secrets.token_hex(4)}"
        return token if self._redis.set(_key(name), token, nx=True, ex=lasts_s) else None

    def release(self, name: str, token: str) -> None:
        """Release a lock, if it is still ours."""
        self._release(keys=[_key(name)], args=[token])

    def release_for(self, name: str, workers: Iterable[str]) -> None:
        """Release a lock that one of these dead workers held."""
        holder = (self._redis.get(_key(name)) or b"").decode()
        if holder.partition(".")[0] in workers:
            self.release(name, holder)


def _key(name: str) -> str:
    return f"opwatch:lock:{name}"
