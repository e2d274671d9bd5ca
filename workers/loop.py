"""One event loop in a thread of its own, for all outgoing HTTP of a worker; it outlives the RQ jobs.

Connections stay open between rounds, and what hangs, hangs by itself.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver

from notifiers.guard import guarded_socket
from operations.errors import TransientError

log = structlog.get_logger()

KEEP_ALIVE_S = 30.0
LARGEST_FAN_OUT = 500
_SHUT_DOWN_S = 2.0


def api_session() -> aiohttp.ClientSession:
    """Open a session for what the operator configured: Scalingo's API, and the dead man's switch."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # whoever asks has a deadline of its own
    )
    # aiohttp sends a GET again by itself when a kept connection breaks: a request that no budget knows of.
    session._retry_connection = False  # noqa: SLF001 - there is no public switch; a test holds this one
    return session


def targets_session(*, allow_private: bool, resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """Open a session for targets: guarded, unless they may be private, and without redirects."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=LARGEST_FAN_OUT,
            keepalive_timeout=KEEP_ALIVE_S,
            socket_factory=None if allow_private else guarded_socket,
            resolver=resolver,
        ),
        trace_configs=[_refuse_redirects()],
        cookie_jar=aiohttp.DummyCookieJar(),
        # A body that cannot be unpacked would make a failure of a message that was taken, and send it again.
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
    )


class HttpLoop:
    """Runs coroutines that speak HTTP, over two sessions: `api` for what the operator configured, `targets` guarded.

    `resolver` finds the addresses of targets; the system does where none is given.
    """

    api: aiohttp.ClientSession
    targets: aiohttp.ClientSession

    def __init__(self, *, allow_private_targets: bool, resolver: AbstractResolver | None = None) -> None:
        self._allow_private_targets = allow_private_targets
        self._resolver = resolver
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="http", daemon=True)
        self._thread.start()
        self._call(self._open())

    def submit(self, *makes: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start coroutines from any thread and wait for nothing. Each must record its own result."""
        self._loop.call_soon_threadsafe(self._start, makes)

    def catch_up(self, within_s: float) -> None:
        """Wait until what was submitted so far has begun, but no longer than this."""
        begun = threading.Event()
        # One turn of the loop makes the tasks, the next begins them.
        self._loop.call_soon_threadsafe(self._loop.call_soon, self._loop.call_soon, begun.set)
        begun.wait(within_s)

    def drain(self, within_s: float) -> None:
        """Let what runs finish; cancel the rest after `within_s`, so that it hands its lease back; then close."""
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


def _refuse_redirects() -> aiohttp.TraceConfig:
    """Stop at the first redirect: slack_sdk would follow it, and take its body for Slack's."""

    async def refuse(*_: object) -> None:
        message = "the receiver redirects, which is refused: give its final URL"
        raise TransientError(message)

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    return trace
