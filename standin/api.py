"""A stand-in for Scalingo's API and its auth host, both on one loopback port.

Tests run it in a thread: `with ScalingoApi() as api: …`. As a process (`python -m standin`), it also takes:

| request                   | answer                                                                             |
|---------------------------|------------------------------------------------------------------------------------|
| POST /_standin/operations | the `operation_url` of what begins; the body has `app` and any fields of `Operation` |
| GET /_standin/requests    | all `requests` so far, and how many were `rate_limited`                              |
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from aiohttp import web

from standin.accounts import Accounts
from standin.faults import Fault, Waiting, json_reply, route_not_found
from standin.loopback import LoopbackServer, RequestLog
from standin.operations import DEFAULT_ERROR, begun
from standin.replies import Fate, Reply, send
from standin.state import ApiState, Call, Settings

CONTROL = "/_standin/"
DEFAULT_TOKENS: Mapping[str, str] = {"default": "tk-us-stand-in"}


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """One request to the API, and how it was answered."""

    at: float
    """Unix time at which its headers had arrived."""
    method: str
    path: str
    status: Fate
    account: str | None
    """The name of the API token it was made with; None when the credentials are unknown."""
    operation_id: str | None


@dataclass(frozen=True, slots=True)
class OperationHandle:
    """An operation's id and URL."""

    id: str
    app: str
    url: str


class ScalingoApi(LoopbackServer):
    """The part of Scalingo's API about operations, deployments and databases. Its state survives `stop` and `start`.

    Thread-safe. `clock` returns the unix time.
    """

    def __init__(
        self,
        tokens: Mapping[str, str] = DEFAULT_TOKENS,
        *,
        limit: int | None = 60,
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(port)
        self._clock = clock
        self._state = ApiState(Accounts(tokens), Settings(limit=limit), self.base_url)
        self._log: RequestLog[RequestSeen] = RequestLog()
        self._rate_limited = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The address to configure for the API and for the auth host."""
        return self.base_url

    @property
    def requests(self) -> tuple[RequestSeen, ...]:
        """Every request since the start or the last `clear_requests`, in order of arrival."""
        return self._log.snapshot()

    @property
    def rate_limited(self) -> int:
        """How many 429 were answered since then, including those of faults."""
        return self._rate_limited

    def wait_for(
        self, count: int, *, operation_id: str | None = None, timeout_s: float = 60.0
    ) -> tuple[RequestSeen, ...]:
        """Return the requests (for one operation, if given) as soon as there are `count`, including earlier ones.

        Raises AssertionError, with all requests, if there are fewer after `timeout_s`.
        """
        return self._log.wait_for(count, lambda seen: operation_id in (None, seen.operation_id), timeout_s)

    def clear_requests(self) -> None:
        """Forget the requests and the count of 429s. The limit still counts them."""
        with self._lock:
            self._log.clear()
            self._rate_limited = 0

    def operation(self, app: str = "shop", **fields: Any) -> OperationHandle:
        """Begin an operation now, with fields of `Operation`; `duration_s=None` waits for `finish`."""
        created = begun(app, self._clock(), **fields)
        with self._lock:
            self._state.operations[created.id] = created
        return OperationHandle(created.id, app, created.url(self.base_url))

    def script(self, app: str, **fields: Any) -> None:
        """Give fields of `Operation` to what the next POST about the app begins."""
        with self._lock:
            self._state.scripts[app] = fields

    def finish(
        self,
        id: str,  # noqa: A002 - the API's own word
        outcome: str = "",
        error: str | None = DEFAULT_ERROR,
    ) -> None:
        """End an operation now, regardless of its script. Raises KeyError if the id is unknown."""
        with self._lock:
            begun = self._state.operations[id]
            age_s = self._clock() - begun.created_at
            self._state.operations[id] = replace(begun, duration_s=age_s, outcome=outcome, error=error)

    def fault(
        self,
        fault: Fault,
        *,
        times: int | None = 1,
        exchange: bool = False,
        app: str | None = None,
        operation_id: str | None = None,
    ) -> None:
        """Give a fault of `standin.faults` to the next `times` requests; None: until `clear_faults`.

        The further arguments limit it to matching requests. If several faults match, the oldest comes first. A request
        above the rate limit gets its 429 and uses no fault.
        """
        with self._lock:
            self._state.faults.append(Waiting(fault, times, exchange, app, operation_id))

    def clear_faults(self) -> None:
        """Forget all waiting faults."""
        with self._lock:
            self._state.faults.clear()

    @property
    def bearers(self) -> tuple[str, ...]:
        """Every bearer issued so far; tests look for leaks of them."""
        with self._lock:
            return self._state.accounts.bearers

    def expire_bearers(self) -> None:
        """Expire every bearer issued so far."""
        with self._lock:
            self._state.accounts.expire_bearers()

    def configure(self, **changes: Any) -> None:
        """Change some of the `Settings`, from the next request on."""
        with self._lock:
            self._state.settings = replace(self._state.settings, **changes)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Decide on the answer, log it, and send it."""
        if request.path.startswith(CONTROL):
            return await send(request, await self._control(request))
        page = request.query.get("page", "")
        page_number = int(page) if page.isdecimal() else 1
        call = Call.parse(request.method, request.path, request.headers.get("Authorization", ""), page_number)
        with self._lock:
            now = self._clock()
            account = self._state.account(call)
            reply = self._state.answer(call, now)
            self._rate_limited += reply.fate == 429
            self._log.append(RequestSeen(now, call.method, call.path, reply.fate, account, call.operation_id))
        if request.can_read_body and reply.reset != "before":
            await request.read()
        return await send(request, reply)

    async def _control(self, request: web.BaseRequest) -> Reply:
        """Answer a request of whoever started the process. It does not count towards the limit, and is not logged."""
        match request.method, request.path.removeprefix(CONTROL):
            case "POST", "operations":
                try:
                    begun = self.operation(**await request.json())
                except (TypeError, ValueError) as error:  # a ValidationError is one, too
                    return json_reply(422, {"error": str(error)})
                return json_reply(201, {"id": begun.id, "operation_url": begun.url})
            case "GET", "requests":
                seen = [asdict(each) for each in self.requests]
                return json_reply(200, {"requests": seen, "rate_limited": self.rate_limited})
        return route_not_found(request.path)
