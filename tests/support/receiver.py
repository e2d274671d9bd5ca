"""A scripted HTTP receiver, which plays Slack or a webhook's receiver, with or without faults.

As a process it answers 200 `ok` to everything and prints each request: `python -m tests.support.receiver --port 8002`.
"""

import argparse
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from standin.loopback import LoopbackServer, RequestLog
from standin.replies import Reply, send

__all__ = ["Receiver", "Reply", "RequestReceived"]

PRINTED_BODY = 500


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """One received request."""

    path: str
    query: str
    """Without the question mark; empty when there is none."""
    method: str
    headers: Mapping[str, str]
    """Names in any case."""
    body: bytes
    """Empty when the reply was a reset before reading."""
    received_at: float
    """Unix time at which the headers had arrived."""

    def __str__(self) -> str:
        """Write it in one line, without headers."""
        return f"{self.method} {self.path} {self.body.decode(errors='replace')[:PRINTED_BODY]!r}"


class Receiver(LoopbackServer):
    """Answers each path by its script, and keeps all requests.

    Paths without a script get `default`. `on_request` is called in the server's thread.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        default: Reply | None = None,
        on_request: Callable[[RequestReceived], None] | None = None,
    ) -> None:
        super().__init__(port)
        self._default = default or Reply()
        self._on_request = on_request
        self._scripts: dict[str, deque[Reply]] = {}
        self._lock = threading.Lock()
        self._log: RequestLog[RequestReceived] = RequestLog()

    def url(self, path: str = "/") -> str:
        """The URL of `path`."""
        return self.base_url + path

    def script(self, path: str, *replies: Reply) -> None:
        """Answer the next requests to `path` with these, in order; the last one repeats for ever.

        Replaces what was left of an earlier script; without replies the path goes back to the default.
        """
        with self._lock:
            self._scripts[path] = deque(replies)

    @property
    def requests(self) -> tuple[RequestReceived, ...]:
        """Every request so far, in the order in which they were read."""
        return self._log.snapshot()

    def wait_for(self, count: int, path: str | None = None, *, timeout_s: float = 60.0) -> tuple[RequestReceived, ...]:
        """Return the requests (to `path`, if given) as soon as there are `count`, those already seen included.

        Raises AssertionError, with everything seen, when there are fewer after `timeout_s`.
        """
        return self._log.wait_for(count, lambda seen: path in (None, seen.path), timeout_s)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Record the request and answer by the script."""
        received_at = time.time()
        reply = self._next_reply(request.path)
        received = RequestReceived(
            path=request.path,
            query=request.query_string,
            method=request.method,
            headers=request.headers,
            body=b"" if reply.reset == "before" else await request.read(),
            received_at=received_at,
        )
        self._log.append(received)
        if self._on_request is not None:
            self._on_request(received)
        return await send(request, reply)

    def _next_reply(self, path: str) -> Reply:
        with self._lock:
            script = self._scripts.get(path)
            if not script:
                return self._default
            return script.popleft() if len(script) > 1 else script[0]


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.receiver", description=__doc__)
    parser.add_argument("--port", type=int, default=8002, help="0 picks a free one (default: %(default)s)")
    arguments = parser.parse_args()
    Receiver(port=arguments.port, on_request=lambda seen: print(seen, flush=True)).serve_until_signalled()


if __name__ == "__main__":
    main()
