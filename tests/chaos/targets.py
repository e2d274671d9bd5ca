"""Targets that refuse about a third of all messages once, in one of several ways."""

import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from standin.loopback import LoopbackServer
from standin.replies import Reply, send

_APP = re.compile(rb"chaos-[0-9]+-[0-9]+")
_FAILURES = (
    Reply(500, "try later"),
    Reply(503, "service_unavailable"),
    Reply(429, "later", {"Retry-After": "2"}),
    Reply(reset="before"),
    Reply(reset="after_read"),
    Reply(hang_s=3),
)
_FAILING_SHARE = 0.35


@dataclass(frozen=True)
class Receipt:
    """An accepted message: its app, time and content."""

    path: str
    app: str
    webhook_id: str
    body: bytes
    at: float


class FailingTargets(LoopbackServer):
    """Accepts messages on any path; while `failing`, refuses some the first time."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._lock = threading.Lock()
        self._seen: set[tuple[str, str]] = set()
        self._receipts: list[Receipt] = []
        self._on_next: Callable[[], None] | None = None
        self.failing = True
        self.refused = 0

    def on_next(self, act: Callable[[], None]) -> None:
        """Call a function once, after the next message is accepted and before the answer."""
        self._on_next = act

    @property
    def receipts(self) -> list[Receipt]:
        """Every message answered with success so far."""
        with self._lock:
            return list(self._receipts)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Refuse or accept one message."""
        body = await request.read()
        found = _APP.search(body)
        app = found[0].decode() if found else ""
        reply = self._reply(request.path, app)
        with self._lock:
            if reply is None:
                received = Receipt(request.path, app, request.headers.get("webhook-id", ""), body, time.time())
                self._receipts.append(received)
            else:
                self.refused += 1
        if reply is None and self._on_next is not None:
            act, self._on_next = self._on_next, None
            act()
        return await send(request, reply or Reply())

    def _reply(self, path: str, app: str) -> Reply | None:
        first = (path, app) not in self._seen
        self._seen.add((path, app))
        rng = random.Random(f"{self._seed} {path} {app}")  # noqa: S311 - the same for the same seed
        return rng.choice(_FAILURES) if first and self.failing and rng.random() < _FAILING_SHARE else None
