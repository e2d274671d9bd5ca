"""Connections to Redis, as each kind of process needs them."""

import redis
import structlog
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from config.settings import Settings
from operations.presence import storage_faults

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
