"""A proxy between a process and Redis: delays, cuts or resets connections, and watches the requests."""

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Self

from standin.loopback import close
from standin.replies import RST_ON_CLOSE

CHUNK = 65_536
PATIENCE_S = 60.0


class RedisProxy:
    """Forwards TCP connections on `url` to a server's unix socket; each chunk takes `delay_s`, either way.

    `refused` counts the connections closed because of `cut`.
    """

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._url = f"redis://127.0.0.1:{self.port}/0"
        self._open: set[asyncio.StreamWriter] = set()
        self._watched: tuple[Callable[[bytes], bool], Callable[[], None]] | None = None
        self._cut = False
        self._cut_at_answer = False
        self.delay_s = 0.0
        self.refused = 0

    @property
    def url(self) -> str:
        """The value for REDIS_URL."""
        return self._url

    def watch(self, wanted: Callable[[bytes], bool], then: Callable[[], None]) -> None:
        """Call `then` once, before a `wanted` request is forwarded to the server."""
        self._watched = (wanted, then)

    def reset(self) -> None:
        """Break every open connection with RST."""
        self._in_loop(lambda: self._break(reset=True))

    def cut(self) -> None:
        """Close every open connection, and each new one, until `mend`."""
        self._cut = True
        self._in_loop(lambda: self._break(reset=False))

    def cut_at_answer(self) -> None:
        """Let the server carry out the last request, and `cut` instead of its next answer."""
        self._cut_at_answer = True

    def send_new_to(self, socket_path: str) -> None:
        """Forward new connections to another server, as a failover by DNS does. Open ones stay with the former."""
        self._socket_path = socket_path

    @property
    def port(self) -> int:
        """The port, for a replica."""
        return int(self._listener.getsockname()[1])

    def mend(self) -> None:
        """Forward again."""
        self._cut = False

    def __enter__(self) -> Self:
        """Start."""
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(started)), name="redis-proxy", daemon=True
        )
        self._thread.start()
        self._loop, self._ended = started.result(PATIENCE_S)
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop, closing everything."""
        self.cut()
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(PATIENCE_S)
        self._listener.close()

    async def _serve(self, started: "Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]") -> None:
        ended = asyncio.Event()
        server = await asyncio.start_server(self._connected, sock=self._listener)
        started.set_result((asyncio.get_running_loop(), ended))
        await ended.wait()
        await close(server)

    def _in_loop(self, act: Callable[[], None]) -> None:
        if threading.current_thread() is self._thread:  # called by the function of `watch`
            act()
            return
        done: Future[None] = Future()

        def run() -> None:
            try:
                act()
            except Exception as error:  # noqa: BLE001 - raised again where it is awaited
                done.set_exception(error)
            else:
                done.set_result(None)

        self._loop.call_soon_threadsafe(run)
        done.result(PATIENCE_S)

    def _break(self, *, reset: bool) -> None:
        for writer in list(self._open):
            connection: socket.socket = writer.get_extra_info("socket")
            if reset and connection.family == socket.AF_INET:
                with suppress(OSError):  # the client has just closed it
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
            writer.transport.abort()

    async def _connected(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        if self._cut:
            self.refused += 1
            client_out.close()
            return
        try:
            server_in, server_out = await asyncio.open_unix_connection(self._socket_path)
        except OSError:  # the server is gone
            client_out.close()
            return
        self._open |= {client_out, server_out}
        try:
            await asyncio.gather(
                self._pump(client_in, server_out, self._see), self._pump(server_in, client_out, self._answered)
            )
        finally:
            self._open -= {client_out, server_out}

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, see: Callable[[bytes], None]
    ) -> None:
        try:
            while chunk := await source.read(CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                see(chunk)
                if not self._cut:
                    sink.write(chunk)
                await sink.drain()
        except OSError:  # one of the two has gone
            pass
        finally:
            sink.close()

    def _answered(self, _chunk: bytes) -> None:
        if self._cut_at_answer:
            self._cut_at_answer = False
            self.cut()

    def _see(self, chunk: bytes) -> None:
        if self._watched is not None and self._watched[0](chunk):
            then, self._watched = self._watched[1], None
            then()
