"""Connections to Redis, as each kind of process needs them."""

from typing import Any

import redis
import structlog
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from config.settings import Settings

log = structlog.get_logger()

CLIENT_SIDE_IDLE_CHECK_S = 30
"""Redis providers close idle connections (150 s on Scalingo): one idle for longer is checked before it is used."""


def connect(
    settings: Settings, *, timeout_s: float, client: type[redis.Redis] = redis.Redis, most: int | None = None
) -> redis.Redis:
    """Connect lazily; a command fails after `timeout_s`, a connection found broken is replaced once.

    redis-py by itself would try ten times with 5 s each: too slow for a caller who waits for an answer. With `most`, no
    more connections than that are opened; a command waits for a free one, half of `timeout_s` at most.
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
    """Log, at a process' start, what may make Redis lose what it acknowledged. Redis away is no reason not to start."""
    try:
        for fault in storage_faults(connection):
            log.warning("Redis may lose what it acknowledged", fault=fault)
    except redis.RedisError as error:
        log.warning("Redis is away", error=type(error).__name__)


def storage_faults(connection: redis.Redis) -> list[str]:
    """List what may make this Redis lose what it acknowledged: no append-only file, or keys that may be evicted.

    What the server does not tell (some providers hide it) is not counted as a fault.
    """
    persistence: Any = connection.info("persistence")
    memory: Any = connection.info("memory")
    faults = []
    if persistence.get("aof_enabled") == 0:
        faults.append("Redis keeps no append-only file (AOF): a crash of Redis loses trackings; switch AOF on")
    if persistence.get("aof_last_write_status", "ok") != "ok":
        faults.append("Redis could not write its append-only file; see to its disk")
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        faults.append(f"Redis may evict keys (maxmemory-policy {policy}); set it to noeviction")
    return faults
