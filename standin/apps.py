"""The list of an account's apps with their status, as `GET /v1/apps` shows it; and liars."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from standin.operations import Operation, app_id

APPS = "/v1/apps"
"""The path; faults name it as their app."""

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
        shows = each.kind in ("operation", "deployment") and each.type not in NEVER_SHOWN
        busy[each.app] = busy.get(each.app, False) or (shows and LIARS[liar](each, now))
    return [
        {"id": app_id(app), "name": app, "status": "restarting" if is_busy else "running"}
        for app, is_busy in sorted(busy.items())
    ]
