"""A worker's outgoing HTTP: one event loop in its own thread, which outlives the RQ jobs.

Connections stay open between rounds, and a request that hangs delays no other.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver

from workers.session import KEEP_ALIVE_S, targets_session

log = structlog.get_logger()

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AT_ONCE = 100
"""How many records one script changes. It takes some milliseconds, during which Redis does nothing else."""

REDIS_AT_ONCE = 16
"""How many coroutines may ask Redis at the same time, each in a thread. While Redis hangs, further ones wait."""

LONGEST_HOLD_S = 600.0
_SHUT_DOWN_S = 2.0


def api_session() -> aiohttp.ClientSession:
    """Open a session for addresses from the operator: Scalingo's API, and the dead man's switch."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # each request has its own deadline
    )
    # aiohttp would repeat a GET when a kept connection breaks, without a token of the budget.
    session._retry_connection = False  # noqa: SLF001 - no public switch; a test guards it
    return session


class HttpLoop:
    """Runs coroutines with two HTTP sessions: `api` for the operator's addresses, and the guarded `targets`.

    `resolver` resolves the names of targets; the default is the system's.
    """

    api: aiohttp.ClientSession
    targets: aiohttp.ClientSession

    def __init__(self, *, allow_private_targets: bool, resolver: AbstractResolver | None = None) -> None:
        self._allow_private_targets = allow_private_targets
        self._resolver = resolver
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(REDIS_AT_ONCE, thread_name_prefix="redis"))
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="http", daemon=True)
        self._thread.start()
        self._call(self._open())

    def submit(self, *makes: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start coroutines from any thread, without waiting. Each must record its own result."""
        self._loop.call_soon_threadsafe(self._start, makes)

    def catch_up(self, within_s: float) -> None:
        """Wait until all submitted coroutines have begun, at most `within_s`."""
        begun = threading.Event()
        # One turn of the loop creates the tasks, the next starts them.
        self._loop.call_soon_threadsafe(self._loop.call_soon, self._loop.call_soon, begun.set)
        begun.wait(within_s)

    def drain(self, within_s: float) -> None:
        """Let tasks finish. After `within_s`, cancel the rest, which release their leases; then close."""
        self._call(self._drain(within_s))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SHUT_DOWN_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _start(self, makes: Iterable[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        for make in makes:
            task = self._loop.create_task(make())
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task failed; its lease will run out", error=type(error).__name__, exc_info=error)

    async def _open(self) -> None:
        self.api = api_session()
        self.targets = targets_session(allow_private=self._allow_private_targets, resolver=self._resolver)

    async def _drain(self, within_s: float) -> None:
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=within_s)
        if late := set(self._tasks):
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=_SHUT_DOWN_S)
        await self.api.close()
        await self.targets.close()


class Batches(Generic[Item, Answer]):
    """Batches the requests of coroutines: those that come during one call of `ask` go into the next.

    `ask` runs in a thread. An error among its answers is raised only to the caller of that item.
    """

    def __init__(self, ask: Callable[[Sequence[Item]], Sequence[Answer | Exception]]) -> None:
        self._ask = ask
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Answer:
        """Ask for one item, even if cancelled. Raises what `ask` raised, or returned in place of the answer."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((item, answer))
        if self._asking is None or self._asking.done():
            self._asking = loop.create_task(self._ask_all())
        return await answer

    async def _ask_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            answers: Sequence[Answer | Exception]
            try:
                answers = await asyncio.to_thread(self._ask, [item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - it is raised to each caller
                answers = [error] * len(batch)
            for (_, waiting), answer in zip(batch, answers, strict=True):
                if waiting.done():  # it was cancelled
                    continue
                if isinstance(answer, Exception):
                    waiting.set_exception(answer)
                else:
                    waiting.set_result(answer)


class TargetSlots:
    """Limits concurrent messages per target: a target that hangs or asks for a pause delays no other.

    Safe to use from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: Counter[str] = Counter()
        self._held_until_s: dict[str, float] = {}
        self._turned_away: set[str] = set()

    def take(self, target: str, at_once: int) -> bool:
        """Take a slot for one message, if one is free and the target is not paused."""
        with self._lock:
            if self._held_until_s.get(target, 0.0) > time.monotonic() or self._under_way[target] >= at_once:
                self._turned_away.add(target)
                return False
            self._under_way[target] += 1
            return True

    def free(self, target: str) -> bool:
        """Free a slot. Tells whether a slot was refused in the meantime, so that a new round is useful."""
        with self._lock:
            self._under_way[target] -= 1
            waiting = target in self._turned_away
            self._turned_away.discard(target)
            return waiting

    def hold(self, target: str, pause_s: float) -> None:
        """Pause the target for as long as it asked, at most ten minutes."""
        with self._lock:
            self._held_until_s[target] = time.monotonic() + min(pause_s, LONGEST_HOLD_S)

    def is_held(self, target: str) -> bool:
        """Tell whether the target is paused."""
        with self._lock:
            return self._held_until_s.get(target, 0.0) > time.monotonic()
