"""gunicorn's gevent worker, with deadlines and limits. It answers a request once, after it has arrived whole."""

import socket
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from io import BytesIO
from typing import Any

import gevent
from gunicorn import util
from gunicorn.http import errors
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.workers.ggevent import GeventWorker

from config import web

IN_TIME_S = 10
"""For a request to arrive, and for its answer to be read."""

MOST_READING = 32
"""Clients that are slow in reading their answer. Each answer may have a megabyte."""

PIPELINE_PAUSE_S = 0.01
"""gevent reads no socket while greenlets only yield: a pause of 0 would hold up the answers that others wait for."""

LARGEST_HEAD_BYTES = 16 * 1024
LARGEST_READ_BYTES = 8 * 1024

_arriving: OrderedDict[Any, None] = OrderedDict()
_reading: OrderedDict[Any, None] = OrderedDict()
_leaving: OrderedDict[Any, None] = OrderedDict()


class LateError(Exception):
    """A request did not arrive completely in time."""


_FAILED = HTTPStatus.INTERNAL_SERVER_ERROR
_FAULT = (_FAILED, "Opwatch failed; see its log")
_PROBLEMS = {
    errors.InvalidResponseHeader: _FAULT,  # the app's fault, although gunicorn counts it as a parse error
    errors.LimitRequestLine: (HTTPStatus.REQUEST_URI_TOO_LONG, "the request line is too long"),
    errors.LimitRequestHeaders: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too long, or too many"),
    errors.ExpectationFailed: (HTTPStatus.EXPECTATION_FAILED, "the only supported expectation is 100-continue"),
    errors.UnsupportedTransferCoding: (HTTPStatus.NOT_IMPLEMENTED, "the only supported transfer coding is chunked"),
    errors.ParseException: (HTTPStatus.BAD_REQUEST, "this is not a well-formed HTTP request"),
    errors.NoMoreData: (HTTPStatus.BAD_REQUEST, "the request ended too early"),
    LateError: (HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive completely in time; send it again"),
    Exception: _FAULT,
}


@contextmanager
def _among(clients: OrderedDict[Any, None], most: int, client: Any) -> Iterator[None]:
    """Count a client while it is served. If there are too many, the oldest is closed."""
    if len(clients) >= most:
        with suppress(OSError):
            clients.popitem(last=False)[0].shutdown(socket.SHUT_RDWR)  # its own greenlet then sees the end
    clients[client] = None
    try:
        yield
    finally:
        clients.pop(client, None)


class _Request(Request):  # type: ignore[misc]  # gunicorn is not typed
    def parse(self, unreader: Any) -> Any:
        self.max_buffer_headers = LARGEST_HEAD_BYTES  # gunicorn's own limit is 100 fields of 8 kB
        return super().parse(unreader)


class _Answer(bytearray):
    """Replaces the socket and keeps what gunicorn writes, which is sent whole or, after an error, not at all."""

    sendall = bytearray.extend


class WebWorker(GeventWorker):  # type: ignore[misc]
    """Overrides how a connection is served. gunicorn's parser and worker still interpret requests."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to stop. Requests that wait for an operation's end are answered at once."""
        web.STOPPING.set()
        super().handle_exit(sig, frame)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection. Writes nothing before a request has arrived whole, and nothing after its answer."""
        requests, ends = RequestParser(self.cfg, client, addr), False
        requests.mesg_class = _Request
        requests.unreader.max_body_chunk = LARGEST_READ_BYTES  # gunicorn's own limit is a megabyte
        try:
            while not ends:
                if requests.unreader.buf.getbuffer().nbytes:  # the client pipelines requests: others have their turn
                    gevent.sleep(PIPELINE_PAUSE_S)
                ends = self._answer(self._receive(client, requests), listener, client, addr)
        except (StopIteration, ConnectionError, TimeoutError):
            pass  # either side ended the connection
        except Exception as error:  # noqa: BLE001 - every error gets one answer
            self.handle_error(None, client, addr, error)
        finally:
            with _among(_leaving, web.MOST_ARRIVING, client):
                util.close_graceful(client, max_drain=1024 * 1024)  # closing at once could discard the answer

    def handle_error(self, _req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer a request that never reached the app with a problem. The log has the error's type, but no input."""
        request_id = web.request_id_of(None)
        status, answer = _refusal(exc, request_id)
        log = self.log.exception if status is _FAILED else self.log.warning
        log("Request %s from %s: %s", request_id, addr[0], type(exc).__name__)
        with suppress(OSError):
            client.settimeout(0)  # it fits into the system's buffer, unless the client does not read
            client.send(answer)

    def _answer(self, request: Any, listener: Any, client: Any, addr: Any) -> bool:
        """Let the app answer a request. Returns whether it was the connection's last; nothing keeps the answer then."""
        answer, ends = _Answer(), False
        try:
            self.handle_request(listener.getsockname(), request, answer, addr)
        except StopIteration:
            ends = True
        with _among(_reading, MOST_READING, client), gevent.Timeout(IN_TIME_S, TimeoutError):
            client.sendall(answer)
        return ends

    def _receive(self, client: Any, requests: Any) -> Any:
        """Wait for a request, and read it whole, so that the app has its body and its length."""
        with _among(_arriving, web.MOST_ARRIVING, client):
            return self._received(client, requests)

    def _received(self, client: Any, requests: Any) -> Any:
        data, body = b"", bytearray()
        with gevent.Timeout(self.cfg.keepalive, TimeoutError):
            while data in (b"", b"\r") and (received := requests.unreader.read()):
                data = (data + received).removeprefix(b"\r\n")  # an empty line between requests (RFC 9112, 2.2)
        requests.unreader.unread(data)
        with gevent.Timeout(IN_TIME_S, LateError):
            request = next(requests)
            codings = [value.strip().lower() for name, value in request.headers if name == "TRANSFER-ENCODING"]
            if codings not in ([], ["chunked"]):
                raise errors.UnsupportedTransferCoding(", ".join(codings))
            length = int(dict(request.headers).get("CONTENT-LENGTH", 0))
            fits = length <= web.LARGEST_BODY_BYTES
            if request._expected_100_continue:  # noqa: SLF001 - gunicorn itself says it only when the app is called
                request._expected_100_continue = False  # noqa: SLF001
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" if fits else b"")
            most = length or 128  # let others run often: tiny chunks cost the parser more time than their sender
            while fits and len(body) <= web.LARGEST_BODY_BYTES and (piece := request.body.reader.read(most)):
                body += piece
                gevent.sleep(0)
        if fits and len(body) < length:
            raise errors.NoMoreData
        closes = any(name == "CONNECTION" and "close" in value.lower() for name, value in request.headers)
        if closes or not fits or len(body) > web.LARGEST_BODY_BYTES:
            request.force_close()
        length = max(length, len(body))
        whole = ("CONTENT-LENGTH", str(length))
        request.headers = [whole if each[0] == "TRANSFER-ENCODING" else each for each in request.headers]
        request.body = BytesIO(body)
        return request


def _refusal(error: Exception, request_id: str) -> tuple[HTTPStatus, bytes]:
    """Return a problem's status, and all bytes of the answer."""
    status, detail = next(problem for kind, problem in _PROBLEMS.items() if isinstance(error, kind))
    body = web.problem_json(status, detail, request_id).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n"
        f"Content-Type: {web.PROBLEM_TYPE}\r\nContent-Length: {len(body)}\r\n{web.REQUEST_ID_HEADER}: {request_id}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    return status, head.encode() + body
