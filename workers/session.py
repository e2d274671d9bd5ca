"""The HTTP session of all kinds: guarded, without redirects, and with bounded reading of every answer.

A message that was accepted must not be sent again. So the status counts as soon as it has arrived, whatever follows: a
body that drips, breaks off or never ends, or headers that are not HTTP.
"""

import asyncio
import re
from functools import partial
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from notifiers.guard import guarded_socket
from operations.errors import TransientError

KEEP_ALIVE_S = 30.0
LARGEST_FAN_OUT = 500
BODY_LIMIT_BYTES = 65_536
BODY_WITHIN_S = 3.0
_LINE_LIMIT_BYTES = 65_536
_STATUS = re.compile(rb"HTTP/1\.\d ([2-9]\d\d)(?=[ \r\n])")
"""The beginning of a final answer."""


def targets_session(*, allow_private: bool, resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """Open a session for targets: guarded, unless they may be private."""
    connector = aiohttp.TCPConnector(
        limit=LARGEST_FAN_OUT,
        keepalive_timeout=KEEP_ALIVE_S,
        socket_factory=None if allow_private else guarded_socket,
        resolver=resolver,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        response_class=Answer,
        trace_configs=[_refuse_redirects()],
        cookie_jar=aiohttp.DummyCookieJar(),
        # A body that cannot be decompressed would turn an accepted message into a failure, and repeat it.
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
    )
    # No public switches; the contract of the kinds guards both.
    connector._factory = partial(_StatusFirst, loop=asyncio.get_running_loop())  # type: ignore[assignment]  # noqa: SLF001
    session._build_url = exact_url  # type: ignore[method-assign, assignment]  # noqa: SLF001
    return session


def exact_url(url: str | URL) -> URL:
    """Return the URL as it was given. aiohttp would decode and encode it again, which breaks signed queries."""
    return URL(url, encoded=True) if isinstance(url, str) and url.isascii() else URL(url)


class Answer(aiohttp.ClientResponse):
    """An answer whose status counts, even if the rest is broken. At most 64 kB of its body are read, within 3 s."""

    async def start(self, connection: Connection) -> Self:
        """Wait for the headers. If they never come, or are not HTTP, take the status alone."""
        protocol = connection.protocol
        try:
            await super().start(connection)
        except (aiohttp.ClientError, OSError, asyncio.CancelledError) as error:
            status = protocol.status if isinstance(protocol, _StatusFirst) else None
            if status is None or _is_cancelled(error, status):
                raise
            self.status, self.reason = status, ""
            self._headers, self._raw_headers = CIMultiDictProxy(CIMultiDict()), ()
            self.content, self._body = aiohttp.EMPTY_PAYLOAD, b""
            self.close()
        return self

    async def read(self) -> bytes:
        """Return the body, or as much of it as has come. Nothing that is wrong with a body is an error."""
        if self._body is None:
            self._body = b""
            try:
                async with asyncio.timeout(BODY_WITHIN_S):
                    while room := BODY_LIMIT_BYTES - len(self._body):
                        part = await self.content.read(room)
                        if not part:
                            break
                        self._body += part
            except (Exception, asyncio.CancelledError) as error:
                if _is_cancelled(error, self.status):
                    raise
        return self._body


def _is_cancelled(error: BaseException, status: int) -> bool:
    """Tell whether to give up: at the deadline, unless the message was accepted."""
    return isinstance(error, asyncio.CancelledError) and status // 100 != 2  # noqa: PLR2004


class _StatusFirst(ResponseHandler):
    """Feeds aiohttp's parser the head of an answer line by line, and notes the status before the parser may fail.

    aiohttp drops an answer if anything behind its head, in the same packet, is not HTTP.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.status: int | None = None
        self._line = b""
        self._requests = 0
        self._in_head = False

    def set_response_params(self, **params: Any) -> None:
        """Expect the answer to another request."""
        self.status, self._line, self._in_head = None, b"", True
        self._requests += 1
        super().set_response_params(**params)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take a parsed head."""
        self._in_head = data[0].code < 200  # noqa: PLR2004 - an interim answer
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Parse what has come. What nobody asked for closes the connection, so that it cannot pass for an answer."""
        while data and self._in_head and self._exception is None:
            line, newline, data = data.partition(b"\n")
            self._line += line + newline
            self._note_status()
            if newline or len(self._line) > _LINE_LIMIT_BYTES:
                line, self._line = self._line, b""
                # On a kept connection, the rest of an earlier answer may come before the status.
                if self._requests == 1 or self.status is not None:
                    super().data_received(line)
        if self._in_head:
            return
        if data and self._requests and (self._payload is None or self._payload.is_eof()):
            self.force_close()
            self.close()
        else:
            super().data_received(data)

    def _note_status(self) -> None:
        """Look for a status at the beginning of the line; on a kept connection, anywhere in it."""
        if self.status is None:
            found = _STATUS.match(self._line) if self._requests == 1 else _STATUS.search(self._line)
            if found is not None:
                self._line = self._line[found.start() :]
                self.status = int(found[1])


def _refuse_redirects() -> aiohttp.TraceConfig:
    """Fail at the first redirect, also if a kind does not refuse it."""

    async def refuse(*_: object) -> None:
        message = "the receiver redirects, which is refused: set its final URL"
        raise TransientError(message)

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    return trace
