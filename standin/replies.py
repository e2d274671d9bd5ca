"""Scripted answers of a stand-in server, and the faults with which it sends them."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web
from multidict import CIMultiDict

Fate = int | Literal["reset", "hung"]
RST_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s: closing sends RST instead of FIN.


@dataclass(frozen=True)
class Reply:
    """One answer. Set at most one of `hang_s`, `reset` and `drip_s`."""

    status: int = 200
    body: str | bytes = "ok"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent as they are; without a Content-Type it is `text/plain; charset=utf-8`."""
    delay_s: float = 0
    """The wait before anything else."""
    drip_s: float = 0
    """The wait after each byte of the body. The headers come with the first byte."""
    reset: Literal["before", "after_read"] | None = None
    """Break the connection (RST) instead of answering, before or after reading the request's body."""
    hang_s: float = 0
    """Wait so long, then close the connection without an answer."""

    @property
    def fate(self) -> Fate:
        """The status of the answer, or why there is none."""
        if self.reset is not None:
            return "reset"
        return "hung" if self.hang_s else self.status


async def send(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Send the reply. A client that has gone is not an error."""
    if reply.delay_s:
        await asyncio.sleep(reply.delay_s)
    if reply.reset is not None:
        return _broken(request)
    if reply.hang_s:
        await asyncio.sleep(reply.hang_s)
        return _closed(request)
    headers = CIMultiDict(reply.headers)
    headers.setdefault("Content-Type", "text/plain; charset=utf-8")
    body = reply.body.encode() if isinstance(reply.body, str) else reply.body
    if reply.drip_s:
        return await _dripped(request, web.StreamResponse(status=reply.status, headers=headers), body, reply.drip_s)
    return web.Response(status=reply.status, headers=headers, body=body)


def _broken(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        connection: socket.socket = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        request.transport.abort()
    return web.Response()  # never sent: aiohttp needs one, and drops it


def _closed(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return web.Response()


async def _dripped(
    request: web.BaseRequest, response: web.StreamResponse, body: bytes, drip_s: float
) -> web.StreamResponse:
    response.content_length = len(body)
    try:
        await response.prepare(request)
        for index in range(len(body)):
            await response.write(body[index : index + 1])
            await asyncio.sleep(drip_s)
    except ConnectionError:
        pass
    return response
