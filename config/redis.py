"""Connections to Redis, for each type of process."""

from typing import Any

import redis
import structlog
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from config.settings import Settings

log = structlog.get_logger()

CLIENT_SIDE_IDLE_CHECK_S = 30
"""Redis providers close idle connections (after 150 s on Scalingo), so idle ones are checked before use."""


def connect(
    settings: Settings, *, timeout_s: float, client: type[redis.Redis] = redis.Redis, most: int | None = None
) -> redis.Redis:
    """Connect lazily. A command fails after `timeout_s`; a broken connection is replaced once.

    redis-py's default, ten tries of 5 s, is too slow for a caller who waits. `most` limits the connections; a command
    waits for a free one, at most half of `timeout_s`.
    """
    bound = {} if most is None else {"max_connections": most, "timeout": timeout_s / 2}
    pool = (redis.ConnectionPool if most is None else redis.BlockingConnectionPool).from_url(
        settings.redis_url.get_secret_value(),
        **bound,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        health_check_interval=CLIENT_SIDE_IDLE_CHECK_S,
        retry=Retry(ConstantBackoff(0.05), 1, supported_errors=(redis.ConnectionError,)),
        client_name="opwatch",
    )
    return client.from_pool(pool)


def say_storage_faults(connection: redis.Redis) -> None:
    """Log what may make Redis lose acknowledged writes, at the start of a process. It starts even if Redis is away."""
    try:
        for fault in storage_faults(connection):
            log.warning("Redis may lose acknowledged writes", fault=fault)
    except redis.RedisError as error:
        log.warning("Redis is away", error=type(error).__name__)


def storage_faults(connection: redis.Redis) -> list[str]:
    """List what may make this Redis lose acknowledged writes: no append-only file, or eviction of keys.

    Facts that a provider hides do not count as faults.
    """
    persistence: Any = connection.info("persistence")
    memory: Any = connection.info("memory")
    faults = []
    if persistence.get("aof_enabled") == 0:
        faults.append("Redis has no append-only file (AOF): a crash of Redis loses trackings; enable AOF")
    if persistence.get("aof_last_write_status", "ok") != "ok":
        faults.append("Redis could not write its append-only file; check its disk")
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        faults.append(f"Redis may evict keys (maxmemory-policy {policy}); set it to noeviction")
    return faults
