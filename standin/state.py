"""The state of the stand-in Scalingo API, and its answer to each request. It needs no server and no clock."""

import re
from dataclasses import dataclass, replace

from standin.accounts import Accounts, SlidingWindow
from standin.faults import (
    INVALID_CREDENTIALS,
    OPERATION_NOT_FOUND,
    FaultQueue,
    json_reply,
    route_not_found,
    too_many_requests,
)
from standin.operations import Operation, restart
from standin.replies import Reply

EXCHANGE = "/v1/tokens/exchange"
ROUTE = re.compile(r"/v1/apps/(?P<app>[^/]+)(?:/operations/(?P<operation_id>[^/]+)|/(?P<action>restart|scale)|/.*)?")


@dataclass(frozen=True)
class Settings:
    """How the API behaves for all callers."""

    limit: int | None = 60
    """Requests per API token in any 60 s, exchanges included; None: no limit."""
    retry_after_s: int | None = None
    """Sent with the 429 above the limit; None: no such header."""
    bearer_lifetime_s: int = 3600
    latency_s: float = 0
    """The delay of every answer after its state was read."""


@dataclass(frozen=True)
class Call:
    """A parsed request."""

    method: str
    path: str
    authorization: str
    app: str | None
    operation_id: str | None
    action: str | None

    @classmethod
    def parse(cls, method: str, path: str, authorization: str) -> "Call":
        """Find app, operation and action in the path; None if missing."""
        route = ROUTE.fullmatch(path)
        named = route.group("app", "operation_id", "action") if route else (None, None, None)
        return cls(method, path, authorization, *named)


class ApiState:
    """The whole state of the API. Not thread-safe: its owner holds a lock."""

    def __init__(self, accounts: Accounts, settings: Settings, base_url: str) -> None:
        self.accounts = accounts
        self.settings = settings
        self.faults = FaultQueue()
        self.operations: dict[str, Operation] = {}
        self._window = SlidingWindow()
        self._base_url = base_url

    def url(self, operation: Operation) -> str:
        """Return the operation's URL."""
        return f"{self._base_url}/v1/apps/{operation.app}/operations/{operation.id}"

    def account(self, call: Call) -> str | None:
        """Return the name of the call's API token, if its credentials were ever valid."""
        bearer = self.accounts.by_bearer(call.authorization)
        return bearer.account if bearer else self.accounts.by_api_token(call.authorization)

    def answer(self, call: Call, now: float) -> Reply:
        """Count the call, carry it out, and return its answer, with limit, faults and latency."""
        if self._window.admits(self.account(call), self.settings.limit, now):
            reply = self.faults.apply(
                self._carry_out(call, now),
                exchange=call.path == EXCHANGE,
                app=call.app,
                operation_id=call.operation_id,
            )
        else:
            reply = too_many_requests(self.settings.retry_after_s)
        latency_s = self.settings.latency_s
        return replace(reply, delay_s=reply.delay_s + latency_s) if latency_s else reply

    def _carry_out(self, call: Call, now: float) -> Reply:
        match call:
            case Call(method="POST", path="/v1/tokens/exchange"):
                return self._exchange(call, now)
            case Call(method="GET", app=str(app), operation_id=str(operation_id)):
                return self._refusal(call, now) or self._show(app, operation_id, now)
            case Call(method="POST", app=str(app), action=str(action)):
                return self._refusal(call, now) or self._restart(app, action, now)
        return route_not_found(call.path)

    def _exchange(self, call: Call, now: float) -> Reply:
        account = self.accounts.by_api_token(call.authorization)
        if account is None:
            return INVALID_CREDENTIALS
        return json_reply(200, {"token": self.accounts.exchange(account, now, self.settings.bearer_lifetime_s)})

    def _refusal(self, call: Call, now: float) -> Reply | None:
        """Return None if the call's bearer is valid."""
        bearer = self.accounts.by_bearer(call.authorization)
        return None if bearer and now < bearer.expires_at else INVALID_CREDENTIALS

    def _show(self, app: str, operation_id: str, now: float) -> Reply:
        operation = self.operations.get(operation_id)
        if operation is None or app not in (operation.app, operation.app_id):
            return OPERATION_NOT_FOUND
        return json_reply(200, {"operation": operation.body(now)})

    def _restart(self, app: str, action: str, now: float) -> Reply:
        operation = restart(app, action, now)
        self.operations[operation.id] = operation
        return json_reply(202, {}, Location=self.url(operation))
