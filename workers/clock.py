"""Starts rounds once a second while anything is due: a lost doorbell, job or worker costs at most a second.

A look that becomes due within the second is started when it does.
"""

import threading
import time
from itertools import product

import aiohttp
import redis
import structlog

from operations.storage.glances import Place
from operations.storage.health import explain
from operations.watching.glances import Source
from workers.doorbell import Round, enqueue, tidy
from workers.glance import lock_of
from workers.look import release_looks_of
from workers.runtime import Runtime, sign_in_lock

log = structlog.get_logger()

TICK_S = 1.0
SHORTEST_TICK_S = 0.25
MAINTAIN_EVERY_S = 30.0
REPORT_EVERY_S = 60.0
CHECK_EVERY_S = 10.0
CLOCK_STEP_S = 5.0
"""From how far Redis's clock was set back, this is logged."""

PULL_FOR_S = 3.0
"""For so long after that, and after the start, deliveries are pulled back: a process reads the clock once a second."""

_REPORT_WITHIN_S = 10.0


class Clock(threading.Thread):
    """Asks Redis each second whether anything is due. Any number of clocks can run: the job's id is the time."""

    def __init__(self, runtime: Runtime, *, report_every_s: float = REPORT_EVERY_S) -> None:
        super().__init__(name="clock", daemon=True)
        self._runtime = runtime
        self._stopped = threading.Event()
        self._silenced = threading.Event()
        self._redis_fault = ""
        self._obstacles: list[str] | None = None  # None until they were looked for
        self._check_at_s = 0.0
        self._redis_ahead_s = float("-inf")
        self._pull_until_s = time.monotonic() + PULL_FOR_S
        self._report_every_s = report_every_s
        self._report_at_s = 0.0
        self._maintain_at_s = 0.0

    def run(self) -> None:
        """Tick until stopped. An outage of Redis is logged once for each cause."""
        pause_s = 0.0
        while not self._stopped.wait(pause_s):
            pause_s = TICK_S
            try:
                pause_s = self._tick()
            except redis.RedisError as error:
                self._say_fault(error)
                continue
            except Exception:
                log.exception("the clock missed a tick")  # a clock that ended would stop all work, unnoticed
                continue
            if self._redis_fault:
                log.info("Redis is back")
                self._redis_fault = ""

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
        now = runtime.records.now()
        self._compare_clocks(now.timestamp() - time.monotonic())
        silent = runtime.heartbeat.beat(runtime.name, now)
        if self._silenced.is_set():
            return TICK_S
        if silent and runtime.heartbeat.is_settled:
            released = release_looks_of(runtime, silent)
            for account in runtime.settings.accounts:
                glancing = (lock_of(Place(account, *view)) for view in product(runtime.settings.regions, Source))
                for lock in (sign_in_lock(account), *glancing):
                    runtime.locks.release_for(lock, silent)
            runtime.heartbeat.forget(silent)
            log.warning("workers without heartbeats", workers=sorted(silent), looks_released=released)
        if time.monotonic() < self._pull_until_s:
            runtime.store.pull_deliveries()
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
        self._check()
        if (
            runtime.settings.heartbeat_url is not None
            and time.monotonic() >= self._report_at_s
            and self._obstacles == []
        ):
            self._report_at_s = time.monotonic() + self._report_every_s
            runtime.loop.submit(self._report)
        return min(TICK_S, max(SHORTEST_TICK_S, look_in_s))

    def _check(self) -> None:
        """Look for what keeps rounds from being done: then the dead man's switch is not pinged."""
        if time.monotonic() < self._check_at_s or not self._runtime.heartbeat.is_settled:
            return
        self._check_at_s = time.monotonic() + CHECK_EVERY_S
        before, self._obstacles = self._obstacles, self._runtime.health.obstacles()
        if self._obstacles and self._obstacles != before:
            log.warning("rounds are not done", faults=self._obstacles)

    def _say_fault(self, error: redis.RedisError) -> None:
        before, self._redis_fault = self._redis_fault, explain(error)
        if self._redis_fault != before:
            answers = isinstance(error, redis.ResponseError)
            event = "Redis refuses commands; waiting for it" if answers else "Redis is away; waiting for it"
            log.warning(event, error=self._redis_fault)

    def _compare_clocks(self, redis_ahead_s: float) -> None:
        back_s, self._redis_ahead_s = self._redis_ahead_s - redis_ahead_s, redis_ahead_s
        if back_s > CLOCK_STEP_S:
            log.warning("Redis's clock was set back", seconds=round(back_s))
            self._pull_until_s = time.monotonic() + PULL_FOR_S

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
