"""gunicorn's threaded worker, with a main loop that receives: only a request that has arrived whole takes a thread.

gunicorn itself gives a connection to a thread with its first byte, and waits there for the rest: as many slow clients
as there are threads stop the service. Here the parser in the thread gets bytes that are there and never reads from the
socket. Its main loop also waits for up to 2 s while it closes a connection; here it never waits for anybody.
"""

import os
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from itertools import takewhile
from typing import Any

from gunicorn import http
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from config import settings
from config.request_ids import request_id_of
from config.web import STOPPING
from server.arrival import Arrival, Progress
from server.crowd import makes_room
from server.outgoing import Outgoing, send_what_goes
from server.refusal import refusal, status_of
from server.turns import Turns, turn_of

ARRIVES_WITHIN_S = 10.0
"""From the first byte of a request to its last."""

READS_ANSWER_WITHIN_S = 10.0
LEAVES_WITHIN_S = 2.0
MOST_WAITING = 300  # for a thread
MOST_ARRIVING = 200
MOST_READING = 16  # each may hold an answer of a megabyte
MOST_LEAVING = 100
MOST_IDLE = 100
"""Together below MOST_CONNECTIONS, past which a process accepts no more; beyond each, one has to make room."""

_RECEIVED_AT_ONCE_BYTES = 32 * 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class WebWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn is not typed
    """Receives in its main loop, answers in its threads; the public methods take the place of gunicorn's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.max_keepalived = MOST_IDLE
        # In the order of their deadlines, since each kind has one duration for all.
        self._arriving: dict[Any, float] = {}
        self._reading: dict[Any, float] = {}
        self._leaving: dict[Any, float] = {}
        self._tokens = settings.load(os.environ).tokens
        self._turns: Turns[Any] = Turns()
        self._served = 0

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to stop; whoever waits for an operation's end is answered at once."""
        STOPPING.set()
        super().handle_exit(sig, frame)

    def enqueue_req(self, conn: Any, begun: bytes = b"") -> None:
        """Begin to receive a request on a connection that is new, or was idle and has something to read."""
        conn.arrival, conn.rest, conn.outgoing = Arrival(), b"", None
        conn.sock.settimeout(0)
        self._wait(conn, self._arriving, MOST_ARRIVING, selectors.EVENT_READ, partial(self._receive, conn))
        if begun and conn in self._arriving:
            self._take_in(conn, begun)
        else:
            self._receive(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer, in a thread; what the client does not take at once is left to the main loop."""
        req._expected_100_continue = False  # noqa: SLF001 - said already where it was needed; gunicorn would repeat it
        if not conn.whole:
            req.force_close()  # where the next request would begin is not known
        sock = conn.sock
        conn.sock = conn.outgoing = Outgoing(sock)
        try:
            return super().handle_request(req, conn)
        finally:
            conn.sock = sock

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Let the next one have the thread, and see to what is left of the answer."""
        self._served -= 1
        self._serve()
        self._finish(conn, fs)

    def _finish(self, conn: Any, fs: Any) -> None:
        """Send what is left of the answer, then wait for the connection's next request, or close it."""
        if conn.outgoing is not None and not fs.cancelled() and conn.outgoing.unsent:
            self._wait(conn, self._reading, MOST_READING, selectors.EVENT_WRITE, partial(self._send_on, conn, fs))
            return
        keep = not fs.cancelled() and fs.exception() is None and fs.result()
        if not keep or conn.parser.unreader.take_buffered():  # left over: the parser saw another end than we did
            self._leave(conn)
        elif conn.rest:
            self.enqueue_req(conn, conn.rest)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Let go of connections whose time is over; called at least once a second."""
        now_s = time.monotonic()
        within_s = ARRIVES_WITHIN_S if self.alive else STOP_KEEPALIVE_LINGER
        for conn in _overdue(self._arriving, now_s - within_s):
            if conn.arrival.empty:
                self._drop(conn)  # nothing was asked, so there is nothing to answer
            else:
                self._refuse(conn, HTTPStatus.REQUEST_TIMEOUT)
        for conn in _overdue(self._reading, now_s - READS_ANSWER_WITHIN_S):
            self._drop(conn)
        for conn in _overdue(self._leaving, now_s - LEAVES_WITHIN_S):
            self._drop(conn)

    def handle_error(self, _req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer with a problem what never reached the app; the log says what kind it was, and repeats no input."""
        status, request_id = status_of(exc), request_id_of(None)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.error("Error handling request %s", request_id, exc_info=exc)
        else:
            source = addr[0] if addr else ""
            self.log.warning("Invalid request %s from %s: %s", request_id, source, type(exc).__name__)
        send_what_goes(client, refusal(status, request_id))

    def _receive(self, conn: Any, _sock: Any = None) -> None:
        if conn not in self._arriving:  # dropped for a newer one, by an event of the same turn of the loop
            return
        try:
            data = conn.sock.recv(_RECEIVED_AT_ONCE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._drop(conn)
            return
        if data:
            self._take_in(conn, data)
        elif conn.arrival.progress is Progress.BODY:
            self._hand_over(conn)  # the app says that it broke off
        else:
            self._drop(conn)

    def _take_in(self, conn: Any, data: bytes) -> None:
        arrival = conn.arrival
        progress = arrival.feed(data)
        if progress in (Progress.WHOLE, Progress.UNFIT):
            self._hand_over(conn)
        elif progress is Progress.LONG_HEAD:
            self._refuse(conn, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif progress is Progress.UNKNOWN_CODING:
            self._refuse(conn, HTTPStatus.NOT_IMPLEMENTED)
        elif progress is Progress.BODY and arrival.awaits_continue:
            arrival.awaits_continue = False
            send_what_goes(conn.sock, _CONTINUE)

    def _hand_over(self, conn: Any) -> None:
        self._forget(conn)
        conn.whole, conn.rest = conn.arrival.progress is Progress.WHOLE, conn.arrival.rest
        conn.initialized = True  # gunicorn would make a parser that reads from the socket
        conn.parser = http.get_parser(self.cfg, [conn.arrival.request], conn.client)
        self._turns.add(turn_of(conn.arrival, self._tokens), conn)
        del conn.arrival  # many may wait for a thread
        self._serve()
        while len(self._turns) > MOST_WAITING:
            self._refuse(self._turns.turn_away(), HTTPStatus.SERVICE_UNAVAILABLE)

    def _serve(self) -> None:
        """Hand requests to the threads, callers in turn, with as many ahead as keep every thread busy."""
        while self._served < 2 * self.cfg.threads and (conn := self._turns.next()) is not None:
            self._served += 1
            super().enqueue_req(conn)

    def _send_on(self, conn: Any, fs: Any, _sock: Any) -> None:
        if conn not in self._reading:
            return
        try:
            conn.outgoing.send_on()
        except OSError:
            self._drop(conn)
            return
        if not conn.outgoing.unsent:
            self._forget(conn)
            self._finish(conn, fs)

    def _refuse(self, conn: Any, status: HTTPStatus) -> None:
        self._forget(conn)
        send_what_goes(conn.sock, refusal(status, request_id_of(None)))
        self._leave(conn)

    def _leave(self, conn: Any) -> None:
        """Close once the client has, or after a while: at once, an answer that is under way might be thrown away."""
        with suppress(OSError):  # the client has closed already: the next read says so
            conn.sock.settimeout(0)
            conn.sock.shutdown(socket.SHUT_WR)
        self._wait(conn, self._leaving, MOST_LEAVING, selectors.EVENT_READ, partial(self._pass_over, conn))

    def _pass_over(self, conn: Any, _sock: Any) -> None:
        if conn not in self._leaving:
            return
        try:
            gone = not conn.sock.recv(_RECEIVED_AT_ONCE_BYTES)
        except BlockingIOError:
            gone = False
        except OSError:
            gone = True
        if gone:
            self._drop(conn)

    def _wait(
        self, conn: Any, waiting: dict[Any, float], most: int, event: int, then: Callable[[socket.socket], None]
    ) -> None:
        """Call `then` whenever the connection is ready; where too many wait already, one of them makes room."""
        while len(waiting) >= most:
            self._make_room(waiting)
        try:
            self.poller.register(conn.sock, event, then)
        except (OSError, ValueError):  # closed here already, after an error
            self._drop(conn)
        else:
            waiting[conn] = time.monotonic()

    def _make_room(self, waiting: dict[Any, float]) -> None:
        """Let go of one; if it has asked for something, say so."""
        if waiting is not self._arriving:
            self._drop(next(iter(waiting)))
            return
        chosen = makes_room(waiting, lambda conn: conn.arrival.empty, time.monotonic())
        if chosen.arrival.empty:
            self._drop(chosen)
        else:
            self._refuse(chosen, HTTPStatus.SERVICE_UNAVAILABLE)

    def _drop(self, conn: Any) -> None:
        self._forget(conn)
        self.nr_conns -= 1
        conn.close()

    def _forget(self, conn: Any) -> None:
        for waiting in (self._arriving, self._reading, self._leaving):
            if waiting.pop(conn, None) is not None:
                self.poller.unregister(conn.sock)


def _overdue(waiting: dict[Any, float], began_before_s: float) -> list[Any]:
    return [conn for conn, _ in takewhile(lambda item: item[1] < began_before_s, waiting.items())]
