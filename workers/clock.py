"""Starts rounds once a second while anything is due: a lost doorbell, job or worker costs at most a second.

A look that becomes due within the second is started when it does.
"""

import threading
import time

import aiohttp
import redis
import structlog

from workers.doorbell import Round, enqueue, tidy
from workers.look import release_looks_of
from workers.runtime import Runtime, sign_in_lock

log = structlog.get_logger()

TICK_S = 1.0
SHORTEST_TICK_S = 0.25
MAINTAIN_EVERY_S = 30.0
REPORT_EVERY_S = 60.0
_REPORT_WITHIN_S = 10.0


class Clock(threading.Thread):
    """Asks Redis each second whether anything is due. Any number of clocks can run: the job's id is the time."""

    def __init__(self, runtime: Runtime, *, report_every_s: float = REPORT_EVERY_S) -> None:
        super().__init__(name="clock", daemon=True)
        self._runtime = runtime
        self._stopped = threading.Event()
        self._silenced = threading.Event()
        self._redis_away = False
        self._report_every_s = report_every_s
        self._report_at_s = 0.0
        self._maintain_at_s = 0.0

    def run(self) -> None:
        """Tick until stopped. An outage of Redis is logged once."""
        pause_s = 0.0
        while not self._stopped.wait(pause_s):
            pause_s = TICK_S
            try:
                pause_s = self._tick()
            except redis.RedisError as error:
                if not self._redis_away:
                    log.warning("Redis is away; waiting for it", error=type(error).__name__)
                self._redis_away = True
                continue
            except Exception:
                log.exception("the clock missed a tick")  # a clock that ended would stop all work, unnoticed
                continue
            if self._redis_away:
                log.info("Redis is back")
                self._redis_away = False

    def silence(self) -> None:
        """Start no more rounds, but keep sending heartbeats: the worker still finishes its work."""
        self._silenced.set()

    def stop(self) -> None:
        """End the thread after at most a tick."""
        self._stopped.set()
        self.join(TICK_S)

    def _tick(self) -> float:
        """Do the work of one tick. Returns the seconds until the next."""
        runtime = self._runtime
        silent = runtime.heartbeat.beat(runtime.name, runtime.records.now())
        if self._silenced.is_set():
            return TICK_S
        if silent and runtime.heartbeat.is_settled:
            released = release_looks_of(runtime, silent)
            for account in runtime.settings.accounts:
                runtime.locks.release_for(sign_in_lock(account), silent)
            runtime.heartbeat.forget(silent)
            log.warning("workers without heartbeats", workers=sorted(silent), looks_released=released)
        look_in_s, delivery_in_s = runtime.overview.due_in_s()
        moment = int(time.time() / SHORTEST_TICK_S)
        if delivery_in_s <= 0:
            enqueue(runtime.connection, Round.DELIVER, f"{Round.DELIVER}-{moment}")
        if look_in_s <= 0:
            enqueue(runtime.connection, Round.LOOK, f"{Round.LOOK}-{moment}")
            look_in_s = runtime.overview.next_look_in_s()
        if time.monotonic() >= self._maintain_at_s:
            more = runtime.maintenance.run()
            self._maintain_at_s = time.monotonic() + (0.0 if more else MAINTAIN_EVERY_S)
            tidy(runtime.connection)
        # After Redis has answered: a ping means that Redis answers and that the clock ticks.
        if runtime.settings.heartbeat_url is not None and time.monotonic() >= self._report_at_s:
            self._report_at_s = time.monotonic() + self._report_every_s
            runtime.loop.submit(self._report)
        return min(TICK_S, max(SHORTEST_TICK_S, look_in_s))

    async def _report(self) -> None:
        """Ping the dead man's switch. When the pings stop, it alerts the operator."""
        url = self._runtime.settings.heartbeat_url
        if url is None:
            return
        try:
            timeout = aiohttp.ClientTimeout(total=_REPORT_WITHIN_S)
            async with self._runtime.loop.api.get(url.get_secret_value(), timeout=timeout, allow_redirects=False):
                pass
        except (aiohttp.ClientError, OSError, ValueError) as error:
            log.warning("OPWATCH_HEARTBEAT_URL could not be reached", error=type(error).__name__)
