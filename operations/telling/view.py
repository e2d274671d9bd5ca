"""Trackings and groups as JSON, for the API and for announcements. The field names are a contract."""

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from operations.model import Delivery, DeliveryState, Operation, State, Tracking
from operations.telling.groups import Group

MEMBERS_SHOWN = 100
_TRACKING = TypeAdapter(Tracking)
_TOLD = (
    *("id", "kind", "app", "operation_id", "region", "account", "context", "links", "state"),
    *("created_at", "created_by", "ended_at", "group", "failures_in_a_row"),
)
"""The fields that are read back, under the record's names: others may be of a newer version."""


def timestamp(at: datetime | None) -> str | None:
    """Write a time as RFC 3339 in UTC with milliseconds and `Z`."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(name: str, at: datetime | None, data: dict[str, Any]) -> bytes:
    """Write the body for webhooks: `type`, `timestamp` and `data`."""
    return compact({"type": name, "timestamp": timestamp(at), "data": data})


def compact(document: dict[str, Any]) -> bytes:
    """Write JSON without blanks, in UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def matches(tracking: Tracking, *, app: str | None, state: str | None, delivery: str | None, group: str | None) -> bool:
    """Tell whether a tracking matches all filters. `delivery` is the state of a delivery of its current run."""
    deliveries = {d.state for d in tracking.deliveries if d.run == tracking.run}
    return (
        app in (None, tracking.app)
        and state in (None, tracking.state)
        and group in (None, tracking.group)
        and (delivery is None or delivery in deliveries)
    )


def is_named(app: str, pattern: str) -> bool:
    """Tell whether an app has this name; `*` stands for any text."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), app, re.DOTALL) is not None


def as_json(tracking: Tracking) -> dict[str, Any]:
    """Return the tracking with the deliveries of its current run."""
    own = [_delivery(d) for d in tracking.deliveries if d.run == tracking.run]
    return {**without_deliveries(tracking), "deliveries": own}


def without_deliveries(tracking: Tracking) -> dict[str, Any]:
    """Return the tracking for an announcement, without the deliveries to others."""
    return {
        "id": tracking.id,
        "kind": tracking.kind.value,
        "app": tracking.app,
        "operation_id": tracking.operation_id,
        "addon_id": tracking.addon_id,
        "region": tracking.region,
        "account": tracking.account,
        "context": tracking.context,
        "links": asdict(tracking.links),
        "state": tracking.state.value,
        "operation": None if tracking.operation is None else _operation(tracking.operation),
        "created_at": timestamp(tracking.created_at),
        "ended_at": timestamp(tracking.ended_at),
        "duration_s": tracking.duration_s,
        "usual_duration_s": None if tracking.usual is None else asdict(tracking.usual),
        "polls": tracking.polls,
        "last_polled_at": timestamp(tracking.last_polled_at),
        "next_poll_at": timestamp(tracking.next_look_at if tracking.state is State.TRACKING else None),
        "last_error": tracking.last_error,
        "reason": tracking.reason,
        "run": tracking.run,
        "group": tracking.group,
        "created_by": tracking.created_by,
    }


def read_back(data: dict[str, Any]) -> Tracking:
    """Read what `without_deliveries` wrote, perhaps in another version. Raises KeyError or ValueError."""
    told = {name: data[name] for name in _TOLD if name in data}
    known = {"operation": data["operation"] or None, "usual": data.get("usual_duration_s"), "timeout_s": 0}
    return _TRACKING.validate_python(told | known)


def group_as_json(group: Group) -> dict[str, Any]:
    """Return the group. If it has too many members, the worst are shown."""
    return {
        "group": group.name,
        "state": group.state.value,
        "final": group.final,
        "settles_at": timestamp(group.settles_at),
        "size": group.size,
        "counts": {state.value: count for state, count in group.counts.items()},
        "created_at": timestamp(group.created_at),
        "ended_at": timestamp(group.ended_at),
        "duration_s": group.duration_s,
        "reopened_at": timestamp(group.reopened_at),
        "members": [as_json(member) for member in group.most_telling(MEMBERS_SHOWN)],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    return {
        "status": operation.status,
        "type": operation.type,
        "created_at": timestamp(operation.created_at),
        "finished_at": timestamp(operation.finished_at),
        "error": operation.error,
    }


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "target": delivery.target,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "last_error": delivery.last_error,
        "next_attempt_at": timestamp(delivery.next_attempt_at),
        "delivered_at": timestamp(delivery.ended_at if delivery.state is DeliveryState.DELIVERED else None),
    }
