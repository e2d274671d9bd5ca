"""A client and a server that send bytes over a socket: slowly, partly, or without reading."""

import asyncio
import re
import socket
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from http.client import HTTPResponse
from typing import Self

from standin.loopback import Loopback, RequestLog
from standin.replies import RST_ON_CLOSE


class RawClients:
    """Any number of connections to one port; the end of the block closes all."""

    def __init__(self, port: int, *, timeout_s: float = 60.0) -> None:
        self._port = port
        self._timeout_s = timeout_s
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        """Begin without any connection."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close all."""
        self._opened.close()

    def connect(self, sent: bytes = b"", *, receive_buffer: int | None = None) -> socket.socket:
        """Open a connection and send something."""
        opened = self._opened.enter_context(socket.socket())
        if receive_buffer is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        opened.settimeout(self._timeout_s)
        opened.connect(("127.0.0.1", self._port))
        opened.sendall(sent)
        return opened


def answered(sock: socket.socket) -> tuple[HTTPResponse, bytes]:
    """Read one answer to its end, ignoring interim ones."""
    response = HTTPResponse(sock)
    response.begin()
    return response, response.read()


def until_closed(sock: socket.socket) -> bytes:
    """Read until the other side closes or resets the connection."""
    received = b""
    try:
        while part := sock.recv(65536):
            received += part
    except ConnectionError:
        pass
    return received


RESET, CLOSE = "reset", "close"
Step = bytes | float | str
"""Bytes to send, seconds to wait, RESET or CLOSE."""


class RawServer(Loopback):
    """Answers each request with the next script of bytes, the last one for ever; the connection stays open after it."""

    def __init__(self, *scripts: Sequence[Step]) -> None:
        super().__init__()
        self.scripts = deque(scripts)
        self.requests: RequestLog[bytes] = RequestLog()
        self.connections = 0
        self._open: set[asyncio.StreamWriter] = set()

    def speak(self) -> asyncio.BaseProtocol:
        """Speak bytes."""
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._serve)

    def hang_up(self) -> None:
        """Break all open connections."""
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                self.requests.append(head + await reader.readexactly(int(length[1]) if length else 0))
                await self._play(writer, self.scripts.popleft() if len(self.scripts) > 1 else self.scripts[0])

    async def _play(self, writer: asyncio.StreamWriter, script: Sequence[Step]) -> None:
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, str):
                if step == RESET:
                    peer: socket.socket = writer.get_extra_info("socket")
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
                writer.transport.abort() if step == RESET else writer.close()
            else:
                await asyncio.sleep(step)
