"""Connections to Redis, as each kind of process needs them."""

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from config.settings import Settings

CLIENT_SIDE_IDLE_CHECK_S = 30
"""Redis providers close idle connections (150 s on Scalingo): one idle for longer is checked before it is used."""


def connect(settings: Settings, *, timeout_s: float) -> redis.Redis:
    """Connect lazily; a command fails after `timeout_s`, a connection found broken is replaced once.

    redis-py by itself would try ten times with 5 s each: too slow for whoever waits for an answer.
    """
    return redis.Redis.from_url(
        settings.redis_url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        health_check_interval=CLIENT_SIDE_IDLE_CHECK_S,
        retry=Retry(ConstantBackoff(0.05), 1, supported_errors=(redis.ConnectionError,)),
        client_name="opwatch",
    )
