"""Connections to Redis, for each type of process."""

import time
from typing import Any

import redis
import structlog
from redis.backoff import ConstantBackoff
from redis.connection import parse_url
from redis.retry import Retry

from config.settings import Settings
from operations.storage.health import Health, error_code, explain

log = structlog.get_logger()

CLIENT_SIDE_IDLE_CHECK_S = 30
"""Redis providers close idle connections (after 150 s on Scalingo), so idle ones are checked before use."""

PAUSE_S = 1.0
"""The pause after a timeout, while Redis hangs. Then one command may try, and requests do not queue up."""

_WRONG_SERVER = frozenset({"READONLY", "MASTERDOWN", "LOADING", "UNBLOCKED"})
"""The codes of a server that is not, or no longer, the primary: another one may answer at the same address."""

_FROM_URL = frozenset({"connection_class", "host", "port", "path", "db", "username", "password"})
"""What a URL decides, besides `ssl_…`. Other options (`decode_responses`, `max_connections`, …) could break Opwatch."""


class WrongServerError(redis.ConnectionError):
    """The server is a replica, or is loading its data. The connection was closed."""


class _Redialling:
    """Closes a connection that answers like a replica, so that the next command dials anew.

    redis-py keeps it: after a failover that leaves old connections open (by DNS or by a proxy), each of them would stay
    with the former primary for ever. The pool's other connections are replaced before they are used again.
    https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/
    """

    failovers = 0  # of this pool's own subclass, so its connections share it
    dialled_after = 0

    def connect(self: Any) -> None:
        """Dial, also if this connection is older than the last failover."""
        if self.dialled_after != self.failovers:
            self.disconnect()
        self.dialled_after = self.failovers
        super().connect()  # type: ignore[misc]

    def read_response(self: Any, *arguments: Any, **options: Any) -> Any:
        """Read one answer. Raises WrongServerError, which is retried once on a new connection."""
        try:
            answer = super().read_response(*arguments, **options)  # type: ignore[misc]
        except redis.ResponseError as error:
            self._check(error)
            raise
        self._check(answer)
        return answer

    def _check(self: Any, answer: Any) -> None:
        """Look also into the lists that a script, a pipeline or EXEC answers."""
        if isinstance(answer, list):
            for each in answer:
                if isinstance(each, (list, redis.RedisError)):
                    self._check(each)
        elif isinstance(answer, redis.RedisError) and (code := error_code(answer)) in _WRONG_SERVER:
            if self.dialled_after == self.failovers:
                type(self).failovers += 1
            self.dialled_after = self.failovers
            self.disconnect()
            raise WrongServerError(str(answer), status_code=code)


def connect(
    settings: Settings, *, timeout_s: float, client: type[redis.Redis] = redis.Redis, most: int | None = None
) -> redis.Redis:
    """Connect lazily. A command fails after `timeout_s`; a broken connection is replaced once.

    redis-py's default, ten tries of 5 s, is too slow for a caller who waits. `most` limits the connections; a command
    waits for a free one, at most half of `timeout_s`.
    """
    given = parse_url(settings.redis_url.get_secret_value())  # type: ignore[no-untyped-call]
    options = {name: value for name, value in given.items() if name in _FROM_URL or name.startswith("ssl_")}
    bound: dict[str, Any] = {} if most is None else {"max_connections": most, "timeout": timeout_s / 2}
    base = options.pop("connection_class", redis.Connection)
    pool = (redis.ConnectionPool if most is None else redis.BlockingConnectionPool)(
        **options,
        **bound,
        connection_class=type(base.__name__, (_Redialling, base), {}),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        health_check_interval=CLIENT_SIDE_IDLE_CHECK_S,
        retry=Retry(ConstantBackoff(0.05), 1, supported_errors=(redis.ConnectionError,)),
        client_name="opwatch",
        protocol=2,  # redis-py's default, 3, begins with HELLO, which needs Redis 6
    )
    return client.from_pool(pool)


def say_storage_faults(connection: redis.Redis) -> None:
    """Log what may make Redis lose acknowledged writes, at the start of a process. It starts even if Redis is away."""
    try:
        for fault in Health(connection).storage_faults():
            log.warning("Redis may lose acknowledged writes", fault=fault)
    except redis.RedisError as error:
        log.warning("Redis is away", error=explain(error))


class NotAskedError(redis.ConnectionError):
    """Redis timed out a moment ago, and was not asked again."""


class Breaker:
    """Decides which commands may be sent: all, or after a timeout one a second."""

    def __init__(self) -> None:
        self._closed_until_s: float | None = None  # None while Redis answers

    def admits(self, now_s: float) -> bool:
        """Tell whether to ask now. After a pause, only the first caller may."""
        if self._closed_until_s is None:
            return True
        if now_s < self._closed_until_s:
            return False
        self._closed_until_s = now_s + PAUSE_S
        return True

    def timed_out(self, now_s: float) -> None:
        """Begin a pause."""
        self._closed_until_s = now_s + PAUSE_S

    def answered(self) -> None:
        """End the pause."""
        self._closed_until_s = None


class GuardedRedis(redis.Redis):
    """A client whose single commands go through a breaker. During a pause they raise NotAskedError at once.

    Pipelines do not: only the doorbell uses them, in its own thread.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._breaker = Breaker()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command, unless Redis is known to hang."""
        if not self._breaker.admits(time.monotonic()):
            raise NotAskedError("Redis did not answer a moment ago")
        try:
            answer = super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except redis.TimeoutError:
            self._breaker.timed_out(time.monotonic())
            raise
        except redis.ResponseError:
            self._breaker.answered()
            raise
        self._breaker.answered()
        return answer
