"""What the API lists of an account: its apps with their status, and its newest events; and liars."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from standin.operations import DONE, Operation, app_id

APPS, EVENTS = "/v1/apps", "/v1/events"
"""The paths; faults name them as their app."""

EVENTS_ON_A_PAGE = 30

NEVER_SHOWN = frozenset({"start-one-off"})
"""Types of operations that leave their app `running`."""

EARLY_S, LATE_S = 5.0, 8.0

Liar = Callable[[Operation, float], bool]
"""Tells whether an operation makes its app busy at a time."""


def _lasts(operation: Operation, now: float, *, longer_s: float = 0.0) -> bool:
    age_s = now - operation.created_at
    duration_s = float("inf") if operation.duration_s is None else operation.duration_s + longer_s
    return operation.pending_s <= age_s < duration_s


def _never_turns(operation: Operation, now: float) -> bool:
    return now - operation.created_at >= operation.pending_s


def _at_random(operation: Operation, now: float) -> bool:
    return hashlib.sha256(f"{operation.id} {int(now)}".encode()).digest()[0] % 2 == 0


LIARS: Mapping[str, Liar] = MappingProxyType(
    {
        "": _lasts,
        "early": lambda operation, now: _lasts(operation, now, longer_s=-EARLY_S),
        "late": lambda operation, now: _lasts(operation, now, longer_s=LATE_S),
        "never turns": _never_turns,
        "never shows": lambda _operation, _now: False,
        "random": _at_random,
    }
)
"""How the statuses relate to the operations. Without a name: truly."""


def listed(operations: Iterable[Operation], now: float, liar: str) -> list[dict[str, str]]:
    """List the apps of these operations and deployments, in order of their names."""
    busy: dict[str, bool] = {}
    for each in operations:
        shows = each.kind == "operation" and each.type not in NEVER_SHOWN
        busy[each.app] = busy.get(each.app, False) or (shows and LIARS[liar](each, now))
    return [
        {"id": app_id(app), "name": app, "status": "restarting" if is_busy else "running"}
        for app, is_busy in sorted(busy.items())
    ]


def events(operations: Iterable[Operation], now: float, liar: str) -> list[dict[str, Any]]:
    """List the newest events, the newest first: one for each operation and deployment. A deployment's is completed."""
    newest = sorted(operations, key=lambda each: each.created_at, reverse=True)[:EVENTS_ON_A_PAGE]
    return [_event(each, now, liar) for each in newest]


def _event(operation: Operation, now: float, liar: str) -> dict[str, Any]:
    if operation.kind != "deployment":
        return {"type": operation.type, "app_name": operation.app, "type_data": {}}
    is_over = not LIARS[liar](operation, now)
    status = {"status": operation.outcome or DONE["deployment"]} if is_over else {}
    about = {"deployment_uuid": operation.id, "pusher": "jane", **status}
    return {"type": "deployment", "app_name": operation.app, "type_data": about}
