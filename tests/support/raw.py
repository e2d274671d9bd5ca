"""A client that sends bytes over a socket: slowly, partly, or without reading."""

import socket
from contextlib import ExitStack
from http.client import HTTPResponse
from typing import Self


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
