"""A server on loopback that can be stopped and started again, and a log of its requests."""

import asyncio
import signal
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from itertools import islice
from typing import Generic, Self, TypeVar

from aiohttp import web

HOST = "127.0.0.1"
PATIENCE_S = 60.0  # For the thread to start or end; longer means that it hangs.

TURNS_TO_CLOSE = 5
"""A connection that was just accepted gets its transport in one of the loop's next turns."""

Seen = TypeVar("Seen")


class Loopback(ABC):
    """Serves one loopback port, and keeps it while stopped.

    A stopped server refuses connections. `close` releases the port.
    """

    def __init__(self, port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._socket = _bound(port)
        self._port: int = self._socket.getsockname()[1]
        self._thread: threading.Thread | None = None
        self._end: Callable[[], object] = lambda: None

    @abstractmethod
    def speak(self) -> asyncio.BaseProtocol:
        """Return the protocol for the next client."""

    @abstractmethod
    def hang_up(self) -> None:
        """Break all open connections: the server stops."""

    @property
    def port(self) -> int:
        """The port, known before the server is started."""
        return self._port

    @property
    def base_url(self) -> str:
        """The address without a trailing slash."""
        return f"http://{HOST}:{self._port}"

    def start(self) -> None:
        """Serve from a daemon thread. Returns once connections are accepted."""
        if self._thread is not None:
            message = f"{self.base_url} is already being served"
            raise RuntimeError(message)
        started: Future[Callable[[], object]] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve_until_ended(started)), name=type(self).__name__, daemon=True
        )
        self._thread.start()
        self._end = started.result(PATIENCE_S)

    def stop(self) -> None:
        """Refuse new connections and break open ones. Does nothing if already stopped."""
        if self._thread is None:
            return
        self._end()
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            message = f"{self.base_url} did not stop within {PATIENCE_S} s"
            raise RuntimeError(message)
        self._thread = None

    def close(self) -> None:
        """Stop for good, and release the port."""
        self.stop()
        self._socket.close()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()

    def serve_until_signalled(self) -> None:
        """Serve until SIGTERM or SIGINT. Prints the address."""
        ends = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # in the server's thread, too: sigwait takes them
        with self:
            print(f"listening on {self.base_url}", flush=True)
            signal.sigwait(ends)

    async def _serve_until_ended(self, started: "Future[Callable[[], object]]") -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        listener = await loop.create_server(self.speak, sock=self._socket, backlog=1024, ssl=self._tls)
        started.set_result(lambda: loop.call_soon_threadsafe(ended.set))
        await ended.wait()
        await close(listener)
        self.hang_up()  # asyncio.run then cancels the running tasks
        self._socket = _bound(self._port)


async def close(listener: asyncio.Server) -> None:
    """Stop listening, and abort every connection of the running loop, also one that was just accepted."""
    loop = asyncio.get_running_loop()
    for each in listener.sockets:
        loop.remove_reader(each.fileno())
    await asyncio.sleep(0)  # asyncio drops what it has just accepted, unclosed, if the listener is closed by then
    listener.close()
    for _ in range(TURNS_TO_CLOSE):
        for transport in [*loop._transports.values()]:  # type: ignore[attr-defined]  # noqa: SLF001 - a Server knows none before Python 3.13
            transport.abort()
        await asyncio.sleep(0)


class LoopbackServer(Loopback):
    """Answers HTTP."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self._server: web.Server | None = None

    @abstractmethod
    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; called as soon as its headers have arrived."""

    def speak(self) -> asyncio.BaseProtocol:
        """Speak HTTP."""
        if self._server is None:
            self._server = web.Server(self.handle, access_log=None)
        return self._server()

    def hang_up(self) -> None:
        """Break all open connections."""
        for connection in self._server.connections if self._server else ():
            connection.force_close()
        self._server = None


def _bound(port: int) -> socket.socket:
    """Bind a port without listening: connections are refused, and no other program gets the port.

    An unbound port could become the source port of a client that retries, which would then connect to itself.
    """
    taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((HOST, port))
    except OSError:
        taken.close()
        raise
    return taken


class RequestLog(Generic[Seen]):
    """Keeps a server's requests, in order. Thread-safe; waits for more without polling."""

    def __init__(self) -> None:
        self._seen: list[Seen] = []
        self._grown = threading.Condition()

    def append(self, seen: Seen) -> None:
        """Add one request, and wake waiting threads."""
        with self._grown:
            self._seen.append(seen)
            self._grown.notify_all()

    def clear(self) -> None:
        """Forget all requests; not while a thread waits."""
        with self._grown:
            self._seen.clear()

    def snapshot(self) -> tuple[Seen, ...]:
        """All requests so far."""
        with self._grown:
            return tuple(self._seen)

    def wait_for(self, count: int, matches: Callable[[Seen], bool], timeout_s: float) -> tuple[Seen, ...]:
        """Return the matching requests as soon as there are `count`, including earlier ones.

        Raises AssertionError, with all requests, if there are fewer after `timeout_s`.
        """
        examined = 0
        found: list[Seen] = []

        def enough() -> bool:
            nonlocal examined
            found.extend(seen for seen in islice(self._seen, examined, None) if matches(seen))
            examined = len(self._seen)
            return len(found) >= count

        with self._grown:
            if not self._grown.wait_for(enough, timeout_s):
                listed = "".join(f"\n  {seen}" for seen in self._seen) or " nothing"
                message = f"after {timeout_s} s {len(found)} of {count} requests had come; seen in all:{listed}"
                raise AssertionError(message)
            return tuple(found)
