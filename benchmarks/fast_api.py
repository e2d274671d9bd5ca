"""A cheap stand-in of Scalingo's API, for benchmarks with thousands of requests a second.

`python -m benchmarks.fast_api PORT` answers a sign-in with any API token, every operation as running, and a glance with
50 busy apps, over kept-alive connections.

`/_report` says when each account asked, and when each operation was asked about.
"""

import asyncio
import base64
import json
import re
import sys
import time
from collections import defaultdict, deque
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

WINDOW_S = 60.0
_REQUEST = re.compile(rb"(GET|POST) (/v1/apps/([^/ ]+)/operations/([0-9a-f]{24})|\S+) HTTP/1\.1\r\n")
_AUTHORIZATION = re.compile(rb"\r\nauthorization: (?:Bearer|Basic) ([^\r]+)", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_END = b"\r\n\r\n"


class Seen:
    """All requests: their times, accounts and operations."""

    def __init__(self) -> None:
        self._exchanged: dict[bytes, str] = {}
        self._accounts: defaultdict[str, list[float]] = defaultdict(list)
        self._operations: defaultdict[bytes, list[float]] = defaultdict(list)
        self._glances: list[float] = []

    def exchange(self, basic: bytes, now: float) -> bytes:
        """Return a bearer, shaped like a JWT, for an API token."""
        account = base64.b64decode(basic).decode().removeprefix(":")
        claims = json.dumps({"iat": int(now), "exp": int(now) + 3600, "account": account}).encode()
        bearer = b"e30." + base64.urlsafe_b64encode(claims).rstrip(b"=") + b".c2ln"
        self._exchanged[bearer] = account
        self._accounts[account].append(now)
        return bearer

    def look(self, bearer: bytes, operation: bytes | None, now: float) -> bool:
        """Note a look, or without an operation a glance. Tells whether the bearer is valid."""
        account = self._exchanged.get(bearer)
        if account is None:
            return False
        self._accounts[account].append(now)
        (self._glances if operation is None else self._operations[operation]).append(now)
        return True

    def report(self, since: float, apart_s: float, times_of: list[str]) -> dict[str, object]:
        """Summarize the requests since then. `times_of` are the operations whose looks are listed.

        Looks at one operation less than `apart_s` apart count as too close.
        """
        looks = {operation: [at for at in times if at >= since] for operation, times in self._operations.items()}
        gaps = [later - at for times in looks.values() for at, later in pairwise(times)]
        return {
            "looks": sum(map(len, looks.values())),
            "glances": sum(at >= since for at in self._glances),
            "accounts": len(self._exchanged),
            "most_in_60_s": max(map(_most_in_a_window, self._accounts.values()), default=0),
            "shortest_gap_s": min(gaps, default=0.0),
            "too_close": sum(1 for gap in gaps if gap < apart_s),
            "times": {each: looks.get(each.encode(), []) for each in times_of},
        }


class Connection(asyncio.Protocol):
    """Answers one connection's requests, one after the other."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._received = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        self._received += data
        while (end := self._received.find(_END)) >= 0:
            head = self._received[: end + 2]
            length = _LENGTH.search(head)
            until = end + len(_END) + (int(length[1]) if length else 0)
            if len(self._received) < until:
                return
            body, self._received = self._received[end + len(_END) : until], self._received[until:]
            status, answer = self._answer(head, body)
            head = (
                f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
            )
            self._transport.write(head + answer)

    def _answer(self, head: bytes, body: bytes) -> tuple[str, bytes]:
        now = time.time()
        request, credentials = _REQUEST.match(head), _AUTHORIZATION.search(head)
        if request is None:
            return "400 Bad Request", b"{}"
        if (request[4] is not None or request[2] == b"/v1/apps") and credentials is not None:
            if not self._seen.look(credentials[1], request[4], now):
                return "401 Unauthorized", b'{"error":"Invalid credentials"}'
            return "200 OK", _APPS if request[4] is None else _OPERATION % request[4]
        if request[2] == b"/v1/tokens/exchange" and credentials is not None:
            return "200 OK", b'{"token":"%b"}' % self._seen.exchange(credentials[1], now)
        parts = urlsplit(request[2].decode())
        if parts.path == "/_report":
            asked = {name: float(value) for name, (value,) in parse_qs(parts.query).items()}
            report = self._seen.report(asked["since"], asked.get("apart", 0.0), json.loads(body or b"[]"))
            return "200 OK", json.dumps(report).encode()
        return "404 Not Found", b'{"message":"no such route"}'


APPS = 50
"""How many apps each account has, named `shop-0` and so on."""

_APPS = json.dumps(
    {"apps": [{"id": f"{n:024x}", "name": f"shop-{n}", "status": "restarting"} for n in range(APPS)]}
).encode()
_OPERATION = (
    b'{"operation":{"id":"%b","app_id":"5ed0fe5d884fef000f5e4fd1","created_at":"2026-03-02T08:17:52.690Z",'
    b'"status":"running","type":"restart","message":null}}'
)


def _most_in_a_window(times: list[float]) -> int:
    """Count the requests in the fullest 60 s."""
    most, window = 0, deque[float]()
    for at in times:
        window.append(at)
        while window[0] <= at - WINDOW_S:
            window.popleft()
        most = max(most, len(window))
    return most


async def _serve() -> None:
    seen = Seen()
    port = int(sys.argv[1])
    server = await asyncio.get_running_loop().create_server(lambda: Connection(seen), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
