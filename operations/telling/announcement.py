"""Announcements: written as bytes when the outcome is stored, and read back for the notifiers."""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from operations.errors import OpwatchError
from operations.model import Alert, AlertKind, Tracking, Usual, Verdict
from operations.telling import view
from operations.text import cut_middle, json_bytes

BODY_LIMIT_BYTES = 20_000
"""Standard Webhooks recommends bodies below 20 kB. https://github.com/standard-webhooks/standard-webhooks"""

ERROR_LIMIT_BYTES = 8_000

SLOW = "operation.slow"
"""The `type` of a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One outcome for one target. Webhooks receive `body`, byte for byte the same at every attempt.

    `delivery_id` is the same for all attempts. `type` is the operation's (`restart`, `scale`, …), if known, and `usual`
    how long such operations take.
    An `alert` is a text to the operator; the other fields are then the outcome that could not be delivered. Without an
    outcome, `ended` is false and `verdict` has no meaning. In a warning (`slow`), `duration_s` is the age so far.
    """

    delivery_id: str
    body: bytes
    verdict: Verdict
    app: str
    region: str
    operation_id: str
    type: str | None
    error: str | None
    reason: str | None
    duration_s: float | None
    context: dict[str, str]
    usual: Usual | None = None
    alert: str | None = None
    ended: bool = True

    @property
    def slow(self) -> bool:
        """Whether it is a warning: the operation still runs, and takes much longer than usual."""
        return not self.ended and self.alert is None


def announce(tracking: Tracking) -> Announcement:
    """Make the announcement of a tracking that has ended with a verdict."""
    return read(tracking.id, body_of(tracking))


def body_of(tracking: Tracking) -> bytes:
    """Write the body for a tracking that has ended: `type`, `timestamp` and `data`, below 20 kB."""
    return _body(f"operation.{tracking.state}", tracking.ended_at, tracking)


def slow_body_of(tracking: Tracking, age_s: float, at: datetime) -> bytes:
    """Write the body of a warning at the age `age_s`, below 20 kB."""
    return _body(SLOW, at, tracking, age_s=round(age_s, 3))


def _body(name: str, at: datetime | None, tracking: Tracking, **more: float) -> bytes:
    operation = tracking.operation
    truncated = operation is not None and operation.error_truncated
    data = {**view.without_deliveries(tracking), "error_truncated": truncated, **more}
    document = {"type": name, "timestamp": view.timestamp(at), "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def read(delivery_id: str, body: bytes) -> Announcement:
    """Read a stored body of an outcome or a warning. Raises OpwatchError if it cannot be read."""
    try:
        document = json.loads(body)
        data, slow = document["data"], document["type"] == SLOW
        operation = data["operation"] or {}
        return Announcement(
            delivery_id=delivery_id,
            body=body,
            verdict=Verdict.LOST if slow else Verdict(data["state"]),
            app=data["app"],
            region=data["region"],
            operation_id=data["operation_id"],
            type=operation.get("type"),
            error=operation.get("error"),
            reason=data["reason"],
            duration_s=data["age_s" if slow else "duration_s"],
            context=data["context"],
            usual=_usual(data.get("usual_duration_s")),
            ended=not slow,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"the stored announcement of {delivery_id} cannot be read"
        raise OpwatchError(message) from error


def read_alert(delivery_id: str, alert: Alert, outcome: bytes | None) -> Announcement:
    """Read an alert, with the body of the outcome that was not delivered. Raises OpwatchError if it cannot be read."""
    try:
        data = json.loads(alert.body)["data"]
        body, message = alert.body.encode(), data["message"]
        if alert.kind is AlertKind.FAILING and outcome is not None:
            return replace(read(delivery_id, outcome), body=body, alert=message)
        return Announcement(
            delivery_id=delivery_id,
            body=body,
            verdict=Verdict.LOST,
            app=data["app"],
            region=data["region"],
            operation_id=data["operation_id"],
            type=None,
            error=None,
            reason=None,
            duration_s=None,
            # A rejected token concerns the account, not the operation that found it.
            context=data["context"] if alert.kind is AlertKind.FAILING else {},
            alert=message,
            ended=False,
        )
    except (ValueError, KeyError, TypeError) as error:
        message = f"the stored alert {delivery_id} cannot be read"
        raise OpwatchError(message) from error


def _usual(told: dict[str, Any] | None) -> Usual | None:
    """Read the usual duration, which bodies of older versions lack."""
    return None if told is None else Usual(p50=told["p50"], p90=told["p90"], samples=told["samples"])


def cut_error(error: str) -> str:
    """Cut an error text in the middle, to 8 kB as JSON."""
    return cut_middle(error, ERROR_LIMIT_BYTES, json_bytes)
