"""The state of the stand-in Scalingo API, and its answer to each request. It needs no server and no clock."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from standin.accounts import Accounts, SlidingWindow
from standin.apps import APPS, EVENTS, events, listed
from standin.faults import (
    DATABASE_UNAUTHORIZED,
    INVALID_CREDENTIALS,
    Waiting,
    json_reply,
    not_found,
    route_not_found,
    too_many_requests,
)
from standin.operations import Kind, Operation, begun
from standin.replies import Reply

EXCHANGE = "/v1/tokens/exchange"
ROUTE = re.compile(
    r"/v1/apps/(?P<app>[^/]+)"
    r"(?:/(?:operations|deployments)/(?P<operation_id>[^/]+)(?P<output>/output)?"
    r"|/addons/(?P<addon>[^/]+)/token"
    r"|/(?:scm_repo_link/)?(?P<action>restart|scale|deployments|manual_deploy)"
    r"|/.*)?"
)
DATABASE_ROUTE = re.compile(
    r"/api(?:/databases/(?P<addon>[^/]+))?"
    r"/(?:(?:operations|backups)/(?P<operation_id>[^/]+)|(?P<action>upgrade|backups))"
)
RESTART = {"pending_s": 1.0, "duration_s": 5.0}
"""What a POST begins waits for 1 s, and succeeds after 5 s."""


@dataclass(frozen=True)
class Settings:
    """How the API behaves for all callers."""

    limit: int | None = 60
    """Requests per API token in any 60 s, exchanges included; None: no limit."""
    database_route: Literal["both", "addon", "short"] = "both"
    """Which route of a database's operation or backup is known: with the addon, without, or both."""
    liar: str = ""
    """How the statuses of apps are wrong: one of `standin.apps.LIARS`."""
    apps_on_a_page: int | None = None
    """How many apps a page of their list has; None: all are on one, without `meta`."""


@dataclass(frozen=True)
class Call:
    """A parsed request."""

    method: str
    path: str
    authorization: str
    page: int
    app: str | None = None
    operation_id: str | None = None
    output: str | None = None
    addon: str | None = None
    action: str | None = None

    @classmethod
    def parse(cls, method: str, path: str, authorization: str, page: int) -> "Call":
        """Find app, operation, addon and action in the path; None if missing."""
        route = ROUTE.fullmatch(path) or DATABASE_ROUTE.fullmatch(path)
        named = route.groupdict() if route else {"app": path if path in (APPS, EVENTS) else None}
        return cls(method, path, authorization, page, **named)


class ApiState:
    """The whole state of the API. Not thread-safe: its owner holds a lock."""

    def __init__(self, accounts: Accounts, settings: Settings, base_url: str) -> None:
        self.accounts = accounts
        self.settings = settings
        self.faults: list[Waiting] = []
        """The oldest comes first."""
        self.operations: dict[str, Operation] = {}
        self.scripts: dict[str, dict[str, Any]] = {}
        """By app: fields of what the next POST begins there."""
        self._window = SlidingWindow()
        self._base_url = base_url

    def account(self, call: Call) -> str | None:
        """Return the name of the call's API token, if its credentials were ever valid."""
        bearer = self.accounts.by_bearer(call.authorization)
        return bearer.account if bearer else self.accounts.by_api_token(call.authorization)

    def answer(self, call: Call, now: float) -> Reply:
        """Count the call, carry it out, and return its answer, with limit and faults."""
        if self._window.admits(self.account(call), self.settings.limit, now):
            return self._with_fault(call, self._carry_out(call, now))
        return too_many_requests()

    def _with_fault(self, call: Call, reply: Reply) -> Reply:
        """Apply the oldest fault that waits for such a call."""
        for each in self.faults:
            if each.fits(exchange=call.path == EXCHANGE, app=call.app, operation_id=call.operation_id):
                if each.times is not None:
                    each.times -= 1
                if each.times == 0:
                    self.faults.remove(each)
                return each.fault(reply)
        return reply

    def _carry_out(self, call: Call, now: float) -> Reply:
        match call:
            case Call(method="POST", path="/v1/tokens/exchange"):
                return self._exchange(call, now)
            case Call(method="POST", app=str(app), addon=str(addon)):
                return self._refusal(call, now) or self._addon_token(call, app, addon, now)
            case Call(method="GET", operation_id=str()) | Call(method="GET", path="/v1/apps" | "/v1/events"):
                return self._refusal(call, now) or self._show(call, now)
            case Call(method="POST", app=str(app), action=str(action)):
                return self._refusal(call, now) or self._begin_in_app(app, action, now)
            case Call(method="POST", addon=str(addon), action=str(action)):
                return self._refusal(call, now) or self._begin_in_database(addon, action, now)
        return route_not_found(call.path)

    def _exchange(self, call: Call, now: float) -> Reply:
        account = self.accounts.by_api_token(call.authorization)
        if account is None:
            return INVALID_CREDENTIALS
        return json_reply(200, {"token": self.accounts.exchange(account, now)})

    def _refusal(self, call: Call, now: float) -> Reply | None:
        """Return None if the call's bearer is valid for it: in the database API, an addon's own token."""
        bearer = self.accounts.by_bearer(call.authorization)
        in_database = call.app is None
        valid = bearer is not None and now < bearer.expires_at and (bearer.addon is not None) == in_database
        if valid and bearer is not None and call.addon in (None, bearer.addon, *([call.addon] if call.app else [])):
            return None
        return DATABASE_UNAUTHORIZED if in_database else INVALID_CREDENTIALS

    def _addon_token(self, call: Call, app: str, addon: str, now: float) -> Reply:
        if not any(each.addon_id == addon and app in (each.app, each.app_id) for each in self.operations.values()):
            return not_found("addon")
        account = self.account(call) or ""
        token = self.accounts.exchange(account, now, addon=addon)
        return json_reply(200, {"addon": {"id": addon, "token": token}})

    def _show(self, call: Call, now: float) -> Reply:
        if call.path == APPS:
            return self._list_apps(call.page, now)
        if call.path == EVENTS:
            return json_reply(200, {"events": events(self.operations.values(), now, self.settings.liar)})
        found = self.operations.get(call.operation_id or "")
        bearer = self.accounts.by_bearer(call.authorization)
        words = next(word for word in ("operations", "deployments", "backups") if f"/{word}/" in call.path)
        if call.app is not None:
            kinds = ("deployment",) if words == "deployments" else ("operation",)
            mine = found is not None and call.app in (found.app, found.app_id)
        else:
            kinds = ("backup",) if words == "backups" else ("database",)
            by_addon = call.addon is not None
            mine = found is not None and bearer is not None and found.addon_id == bearer.addon
            mine = mine and self.settings.database_route in ("both", "addon" if by_addon else "short")
        if found is None or not mine or found.kind not in kinds:
            return not_found(words.removesuffix("s"))
        if call.output:
            return Reply(200, found.whole_output(), {"Content-Type": "text/plain; charset=utf-8"})
        name = "database_backup" if found.kind == "backup" else words.removesuffix("s")
        return json_reply(200, {name: found.body(now, self._base_url)})

    def _list_apps(self, page: int, now: float) -> Reply:
        apps, size = listed(self.operations.values(), now, self.settings.liar), self.settings.apps_on_a_page
        if size is None:
            return json_reply(200, {"apps": apps})
        more = page * size < len(apps)
        pagination = {"current_page": page, "next_page": page + 1 if more else None, "total_count": len(apps)}
        return json_reply(200, {"apps": apps[(page - 1) * size : page * size], "meta": {"pagination": pagination}})

    def _begin_in_app(self, app: str, action: str, now: float) -> Reply:
        deploys = action in ("deployments", "manual_deploy")
        script = {"kind": "deployment" if deploys else "operation", "type": action, **self.scripts.pop(app, {})}
        operation = begun(app, now, **(RESTART | script))
        self.operations[operation.id] = operation
        if not deploys:
            return json_reply(202, {}, Location=operation.url(self._base_url))
        body = operation.body(now, self._base_url)
        if action == "manual_deploy":
            del body["links"]
        return json_reply(200 if action == "manual_deploy" else 201, {"deployment": body})

    def _begin_in_database(self, addon: str, action: str, now: float) -> Reply:
        app = next((each.app for each in self.operations.values() if each.addon_id == addon), "shop")
        kind: Kind = "backup" if action == "backups" else "database"
        operation = begun(app, now, kind=kind, type="upgrade", addon_id=addon, **RESTART)
        self.operations[operation.id] = operation
        if action == "backups":
            return json_reply(201, {"database_backup": operation.body(now, self._base_url)})
        body = {"message": "Database upgrade is pending", "operation_id": operation.id}
        return json_reply(202, body, Location=operation.url(self._base_url))
