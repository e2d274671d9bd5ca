"""What is announced: the bytes fixed at the outcome, and the same read back for those who write messages."""

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
"""The type of the warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One outcome, to be told to one target. `body` is what webhooks receive, byte for byte at every attempt.

    `delivery_id` stays the same over all attempts. `type` is the operation's (`restart`, `scale`, …), where known, and
    `usual` how long such operations take.
    `alert` is there when the operator is to be told of trouble, in these words: the rest is then the outcome that could
    not be told. Where there is none yet, `ended` is false, and `verdict` means nothing. In a warning that the operation
    is `slow`, `duration_s` says for how long it has run.
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
        """Whether it warns that the operation, which has not ended yet, takes far longer than usual."""
        return not self.ended and self.alert is None


def of(tracking: Tracking) -> Announcement:
    """Give what is announced of a tracking that has ended with a verdict."""
    return read(tracking.id, body_of(tracking))


def body_of(tracking: Tracking) -> bytes:
    """Write the announcement's body for a tracking that has ended: `type`, `timestamp` and `data`, below 20 kB."""
    return _body(f"operation.{tracking.state}", tracking.ended_at, tracking)


def slow_body_of(tracking: Tracking, age_s: float, at: datetime) -> bytes:
    """Write the body of the warning that an operation has run for so long, likewise."""
    return _body(SLOW, at, tracking, age_s=round(age_s, 3))


def _body(name: str, at: datetime | None, tracking: Tracking, **more: float) -> bytes:
    operation = tracking.operation
    truncated = operation is not None and operation.error_truncated
    data = {**view.without_deliveries(tracking), "error_truncated": truncated, **more}
    document = {"type": name, "timestamp": view.timestamp(at), "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def read(delivery_id: str, body: bytes) -> Announcement:
    """Read a stored body back, an outcome's or a warning's; raises OpwatchError when it is not one."""
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
    """Read an alert, and the stored body of the outcome that it was to tell; raises OpwatchError when it is not one."""
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
            # A rejected token is no matter of whose operation met it.
            context=data["context"] if alert.kind is AlertKind.FAILING else {},
            alert=message,
            ended=False,
        )
    except (ValueError, KeyError, TypeError) as error:
        message = f"the stored alert {delivery_id} cannot be read"
        raise OpwatchError(message) from error


def _usual(told: dict[str, Any] | None) -> Usual | None:
    """Read what is usual; bodies that older versions stored do not say."""
    return None if told is None else Usual(p50=told["p50"], p90=told["p90"], samples=told["samples"])


def cut_error(error: str) -> str:
    """Cut an error text in the middle to what an announcement has room for (8 kB as JSON)."""
    return cut_middle(error, ERROR_LIMIT_BYTES, json_bytes)
