"""Rings for rounds once a second while anything is due: a lost doorbell, job or worker costs a second at most."""

import threading
import time

import aiohttp
import redis
import structlog

from operations.presence import HEARTBEAT_EVERY_S
from workers.doorbell import Round, enqueue
from workers.runtime import Runtime

log = structlog.get_logger()

TICK_S = 1.0
PURGE_EVERY_S = 60
REPORT_EVERY_S = 60
_REPORT_WITHIN_S = 10.0


class Clock(threading.Thread):
    """Asks Redis each second whether anything is due. Any number of clocks may run: the job's id is the second."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(name="clock", daemon=True)
        self._runtime = runtime
        self._stopped = threading.Event()
        self._redis_away = False

    def run(self) -> None:
        """Tick until stopped; an outage of Redis is said once, and waited out."""
        ticks = 0
        while not self._stopped.wait(TICK_S if ticks else 0):
            try:
                self._tick(ticks)
            except redis.RedisError as error:
                if not self._redis_away:
                    log.warning("Redis is away; waiting for it", error=type(error).__name__)
                self._redis_away = True
                continue
            finally:
                ticks += 1
            if self._redis_away:
                log.info("Redis is back")
                self._redis_away = False

    def stop(self) -> None:
        """End the thread after at most a tick."""
        self._stopped.set()
        self.join(TICK_S)

    def _tick(self, ticks: int) -> None:
        runtime = self._runtime
        if ticks % HEARTBEAT_EVERY_S == 0 or self._redis_away:
            runtime.presence.beat()
        looks, deliveries = runtime.store.anything_due()
        second = int(time.time())
        if deliveries:
            enqueue(runtime.connection, Round.DELIVER, f"{Round.DELIVER}-{second}")
        if looks:
            enqueue(runtime.connection, Round.POLL, f"{Round.POLL}-{second}")
        if ticks % PURGE_EVERY_S == 0:
            runtime.store.purge()
        if ticks % REPORT_EVERY_S == 0 and runtime.settings.heartbeat_url is not None:
            runtime.loop.submit(self._report)

    async def _report(self) -> None:
        """Ping the dead man's switch: when this stops, somebody is told that Opwatch has died."""
        url = self._runtime.settings.heartbeat_url
        if url is None:
            return
        try:
            timeout = aiohttp.ClientTimeout(total=_REPORT_WITHIN_S)
            async with self._runtime.loop.api.get(url.get_secret_value(), timeout=timeout, allow_redirects=False):
                pass
        except (aiohttp.ClientError, OSError, ValueError) as error:
            log.warning("OPWATCH_HEARTBEAT_URL could not be reached", error=type(error).__name__)
