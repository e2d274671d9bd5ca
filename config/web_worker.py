"""gunicorn's gevent worker, with deadlines and limits. It answers a request once, after it has arrived whole."""

import socket
import time
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from typing import Any

import gevent
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import LimitRequestHeaders, NoMoreData
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.ggevent import GeventWorker

from config.refusals import BrokenOffError, CrowdedError, LateError, refuse
from config.web import LARGEST_BODY_BYTES, MOST_ARRIVING, STOPPING, request_id_of

ARRIVES_WITHIN_S = 10.0
READS_ANSWER_WITHIN_S = 10.0
LEAVES_WITHIN_S = 2.0
MOST_READING = 32
"""Clients that are slow in reading their answer. Each answer may have a megabyte."""

LARGEST_HEAD_BYTES = 16 * 1024
LARGEST_FRAMING_BYTES = 16 * 1024
MOST_PIECES = 1_000
"""The maximum number of chunks of a body: tiny ones cost the parser more time than their sender."""

_AT_ONCE_BYTES = 8 * 1024
_NOTHING_YET = (b"", b"\r", b"\r\n")
"""An empty line between requests is ignored. https://www.rfc-editor.org/rfc/rfc9112#section-2.2."""

Crowd = dict[Any, None]
"""Clients, in the order in which they came."""


class WebWorker(GeventWorker):  # type: ignore[misc]  # gunicorn is not typed
    """Overrides how a connection is served. gunicorn's parser and worker still interpret requests."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._silent: Crowd = {}
        self._arriving: Crowd = {}
        self._reading: Crowd = {}

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to stop. Requests that wait for an operation's end are answered at once."""
        STOPPING.set()
        super().handle_exit(sig, frame)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection. Writes nothing before a request has arrived whole, and nothing after its answer."""
        parser = RequestParser(self.cfg, client, addr)
        parser.unreader = _Unreader(client, _AT_ONCE_BYTES)
        try:
            while self._begins(client, parser.unreader):
                request = self._receive(client, parser)
                self._answer(listener, client, request, addr)
        except (StopIteration, NoMoreData, OSError):
            pass  # either side ended the connection
        except Exception as error:  # noqa: BLE001 - every error gets one answer
            self.handle_error(None, client, addr, error)
        finally:
            self._leave(client)

    def handle_error(self, _req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that never reached the app with a problem. The log has the error's type, but no input."""
        request_id = request_id_of(None)
        status = refuse(client, exc, request_id)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.error("Error handling request %s", request_id, exc_info=exc)
        else:
            source = addr[0] if addr else ""
            self.log.warning("Invalid request %s from %s: %s", request_id, source, type(exc).__name__)

    def _begins(self, client: Any, unreader: "_Unreader") -> bool:
        """Wait for the first bytes of a request, within the keep-alive time. Tells whether they came."""
        data = unreader.take_buffered()
        if data:
            gevent.sleep(0)  # let others run: a client that pipelines requests would never wait here
        self._enter(self._silent, client)
        client.settimeout(self.cfg.keepalive)
        while data in _NOTHING_YET:
            received = client.recv(_AT_ONCE_BYTES)
            if not received:
                break
            data += received
        unreader.unread(data)
        return self._left(self._silent, client) and data not in _NOTHING_YET

    def _receive(self, client: Any, parser: Any) -> Any:
        """Read a whole request, so that the app has its body and its length."""
        self._enter(self._arriving, client)
        try:
            parser.unreader.expect(LARGEST_HEAD_BYTES - _AT_ONCE_BYTES, time.monotonic() + ARRIVES_WITHIN_S)
            request = next(parser)
            body = _body(client, request, parser.unreader)
        finally:
            there = self._left(self._arriving, client)
        if not there:
            raise StopIteration
        connection = ",".join(value.lower() for name, value in request.headers if name == "CONNECTION")
        if body is None or "close" in map(str.strip, connection.split(",")):
            request.force_close()
        if not isinstance(request.body.reader, LengthReader):
            length = LARGEST_BODY_BYTES + 1 if body is None else len(body)
            request.headers = [each for each in request.headers if each[0] != "TRANSFER-ENCODING"]
            request.headers.append(("CONTENT-LENGTH", str(length)))
        request.body = BytesIO(body or b"")
        return request

    def _answer(self, listener: Any, client: Any, request: Any, addr: Any) -> None:
        """Let the app answer, and send the answer whole. Raises StopIteration if the connection ends with it."""
        answer, ends = _Answer(), False
        try:
            self.handle_request(listener.getsockname(), request, answer, addr)
        except StopIteration:
            ends = True
        client.settimeout(READS_ANSWER_WITHIN_S)
        self._enter(self._reading, client)
        try:
            client.sendall(answer)
        finally:
            self._left(self._reading, client)
        if ends:
            raise StopIteration

    def _leave(self, client: Any) -> None:
        """Close after the client has, or after a while: closing at once could discard an answer in transit."""
        self._enter(self._silent, client)
        until_s = time.monotonic() + LEAVES_WITHIN_S
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)
            client.settimeout(LEAVES_WITHIN_S)
            while client.recv(_AT_ONCE_BYTES) and time.monotonic() < until_s:
                gevent.sleep(0)
        self._left(self._silent, client)
        client.close()

    def _enter(self, crowd: Crowd, client: Any) -> None:
        """Add a client. If there are too many, the oldest client of the larger crowd is dropped."""
        if crowd is self._reading:
            full, larger = len(crowd) >= MOST_READING, crowd
        else:
            full = len(self._silent) + len(self._arriving) >= MOST_ARRIVING
            larger = max(self._silent, self._arriving, key=len)
        if full:
            oldest = next(iter(larger))
            del larger[oldest]
            if larger is self._arriving:
                refuse(oldest, CrowdedError(), request_id_of(None))
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)  # its own greenlet then sees the end
        crowd[client] = None

    @staticmethod
    def _left(crowd: Crowd, client: Any) -> bool:
        """Remove a client. Tells whether it was still there."""
        return crowd.pop(client, ...) is None


class _Answer(bytearray):
    """Replaces the socket and keeps what gunicorn writes, which is sent whole or, after an error, not at all."""

    sendall = bytearray.extend


class _Unreader(SocketUnreader):  # type: ignore[misc]
    """Reads a request within a limit of bytes, and a deadline."""

    def expect(self, most: int, until_s: float) -> None:
        """Set the limit of bytes, and the deadline (monotonic clock)."""
        self.left, self.until_s = most, until_s

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Read the next bytes. Raises LateError, or LimitRequestHeaders if there are too many."""
        self.sock.settimeout(max(0.001, self.until_s - time.monotonic()))
        try:
            data: bytes = super().chunk(size_hint)
        except TimeoutError:
            raise LateError from None
        self.left -= len(data)
        if self.left < 0:
            raise LimitRequestHeaders("larger than allowed")
        return data


def _body(client: Any, request: Any, unreader: _Unreader) -> bytes | None:
    """Read a body to its end; None if it is too large. Raises BrokenOffError."""
    reader = request.body.reader
    length = reader.length if isinstance(reader, LengthReader) else 0
    if length > LARGEST_BODY_BYTES:
        return None
    if request._expected_100_continue:  # noqa: SLF001 - gunicorn would say it only once the app is called
        request._expected_100_continue = False  # noqa: SLF001
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    unreader.expect(LARGEST_BODY_BYTES + LARGEST_FRAMING_BYTES, unreader.until_s)
    if isinstance(reader, LengthReader):
        body: bytes = reader.read(length)
        if len(body) < length:
            raise BrokenOffError
        return body
    return _chunks(reader)


def _chunks(reader: Any) -> bytes | None:
    body = bytearray()
    try:
        for number, piece in enumerate(reader.parser):
            body += piece
            if len(body) > LARGEST_BODY_BYTES or number > MOST_PIECES:
                return None
    except NoMoreData:
        raise BrokenOffError from None
    except LimitRequestHeaders:
        return None
    return bytes(body)
