"""Announcements: written as bytes when the outcome is stored, and read back for the notifiers."""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from operations.errors import OpwatchError
from operations.history import OLDEST_START
from operations.kind import NO_LINKS, Kind, Links
from operations.model import Alert, AlertKind, State, Tracking, Usual, Verdict
from operations.telling import view
from operations.telling.progress import GroupMessage
from operations.text import cut_middle, json_bytes

BODY_LIMIT_BYTES = 20_000
"""Standard Webhooks recommends bodies below 20 kB. https://github.com/standard-webhooks/standard-webhooks"""

ERROR_LIMIT_BYTES = 8_000

SLOW = "operation.slow"
"""The `type` of a warning."""

LATE_AFTER = timedelta(minutes=1)
"""A message that is sent later than this after the operation's end says when that was."""

_ROUNDED = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One outcome for one target. Webhooks receive `body`, byte for byte the same at every attempt.

    `delivery_id` is the same for all attempts. `type` is the operation's (`restart`, `scale`, …), if known, and `usual`
    how long such operations take. `links` lead to its logs and its story, `group` is the name of its group.
    `place` names account and region, unless they are the default ones. `failures_in_a_row` are those of this app and
    type: up to this failure, if it is not the first, or before this success.
    An `alert` is a text to the operator; the other fields are then the outcome that could not be delivered. Without an
    outcome, `ended` is false and `verdict` has no meaning. In a warning (`slow`), `duration_s` is the age so far.
    `at` is the date of the message: the end of the operation, or when the warning or alert was planned. `late_s` is set
    if it is told late; `overtaken` says that a newer operation of this app and type has ended. With `quiet`, nobody is
    mentioned. `recovered` says that the alert is good news.
    A closing message tells how all operations of a group ended: `app` is the group's name, and `closing` has the rest.
    """

    delivery_id: str
    body: bytes
    verdict: Verdict
    app: str
    region: str
    operation_id: str
    type: str | None = None
    error: str | None = None
    reason: str | None = None
    duration_s: float | None = None
    context: dict[str, str]
    usual: Usual | None = None
    alert: str | None = None
    ended: bool = True
    at: datetime | None = None
    ended_at: datetime | None = None
    late_s: float | None = None
    overtaken: bool = False
    quiet: bool = False
    recovered: bool = False
    kind: Kind = Kind.OPERATION
    links: Links = NO_LINKS
    group: str | None = None
    place: str = ""
    failures_in_a_row: int = 0
    closing: GroupMessage | None = None

    @property
    def slow(self) -> bool:
        """Whether it is a warning: the operation still runs, and takes much longer than usual."""
        return not self.ended and self.alert is None


def announce(tracking: Tracking) -> Announcement:
    """Make the announcement of a tracking that has ended with a verdict."""
    return replace(read(tracking.id, body_of(tracking)), place=tracking.place)


def body_of(tracking: Tracking) -> bytes:
    """Write the body for a tracking that has ended: `type`, `timestamp` and `data`, below 20 kB."""
    failures = tracking.failures_in_a_row or 0
    in_a_row = failures > (0 if tracking.state is State.SUCCEEDED else 1)
    more = {"failures_in_a_row": failures} if in_a_row else {}
    return _body(f"operation.{tracking.state}", tracking.ended_at, tracking, **more)


def slow_body_of(tracking: Tracking, age_s: float, at: datetime) -> bytes:
    """Write the body of a warning at the age `age_s`, below 20 kB."""
    return _body(SLOW, at, tracking, age_s=round(age_s, 3))


def _body(name: str, at: datetime | None, tracking: Tracking, **more: float) -> bytes:
    operation = tracking.operation
    truncated = operation is not None and operation.error_truncated
    data = {**view.without_deliveries(tracking), "error_truncated": truncated, **more}
    return view.event(name, at, data)


def read(delivery_id: str, body: bytes) -> Announcement:
    """Read a stored body of an outcome or a warning. Raises OpwatchError if it cannot be read."""
    try:
        document = json.loads(body)
        data, slow = document["data"], document["type"] == SLOW
        told = view.read_back(data)
        operation, ended_at = told.operation, None if slow else end_of(told)
        return Announcement(
            delivery_id=delivery_id,
            body=body,
            verdict=Verdict.LOST if slow else Verdict(told.state),
            app=told.app,
            region=told.region,
            operation_id=told.operation_id,
            type=None if operation is None else operation.type,
            error=None if operation is None else operation.error,
            reason=data["reason"],
            duration_s=data["age_s" if slow else "duration_s"],
            context=data["context"],
            usual=told.usual,
            ended=not slow,
            at=datetime.fromisoformat(document["timestamp"]) if slow else ended_at,
            ended_at=ended_at,
            kind=told.kind,
            links=told.links,
            group=told.group,
            failures_in_a_row=told.failures_in_a_row or 0,
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
            return replace(read(delivery_id, outcome), body=body, alert=message, at=alert.at)
        return Announcement(
            delivery_id=delivery_id,
            body=body,
            verdict=Verdict.SUCCEEDED if alert.kind is AlertKind.RECOVERED else Verdict.LOST,
            app=data["app"],
            region=data["region"],
            operation_id=data["operation_id"],
            # The others concern the account or the target, not the operation that found it.
            context=data["context"] if alert.kind is AlertKind.FAILING else {},
            alert=message,
            ended=False,
            at=alert.at,
            quiet=alert.kind is AlertKind.RECOVERED,
            recovered=alert.kind is AlertKind.RECOVERED,
        )
    except (ValueError, KeyError, TypeError) as error:
        message = f"the stored alert {delivery_id} cannot be read"
        raise OpwatchError(message) from error


def as_told(announced: Announcement, now: datetime, newest: datetime | None) -> Announcement:
    """Return the announcement as it is told at `now`: whether it is late, and whether it was overtaken.

    `newest` is the last end of an operation of the same account, region, app and type, if known.
    """
    if announced.at is not None and announced.slow:
        age_s = announced.duration_s or 0.0
        waited = now - announced.at
        return replace(announced, duration_s=age_s + waited.total_seconds()) if waited > LATE_AFTER else announced
    if announced.ended_at is None:
        return announced
    late, overtaken = now - announced.ended_at, _is_overtaken(announced.ended_at, newest)
    return replace(announced, late_s=late.total_seconds() if late > LATE_AFTER else None, overtaken=overtaken)


def end_of(tracking: Tracking) -> datetime | None:
    """Return when the operation of a tracking that has ended did so; None if it was cancelled, or still runs.

    That is the API's time of the end if it is credible, else the time at which Opwatch saw it.
    """
    seen_at = None if tracking.state is State.CANCELLED else tracking.ended_at
    finished_at = None if tracking.operation is None else tracking.operation.finished_at
    if seen_at is None or finished_at is None or tracking.state not in (State.SUCCEEDED, State.FAILED):
        return seen_at
    return finished_at if tracking.created_at - OLDEST_START <= finished_at <= seen_at else seen_at


@dataclass(frozen=True, slots=True)
class Earlier:
    """The earlier operations of the same account, region, app and type: failures in a row, and the newest end."""

    failures: int = 0
    newest_end: datetime | None = None


def failures_in_a_row(ended: Tracking, earlier: Earlier | None) -> int | None:
    """Count the failures since the last success: up to this one, or before this success. None if it is no part of it.

    `timed_out` and `lost` neither count nor end the row: nobody knows how those operations ended. Nor does an outcome
    that is recorded late, after a newer one that it would contradict: a success before the latest failure, or a failure
    before the latest success.
    """
    if earlier is None:
        return None
    late = _is_overtaken(end_of(ended), earlier.newest_end)
    if ended.state is State.FAILED:
        return None if late and not earlier.failures else earlier.failures + 1
    if ended.state is State.SUCCEEDED:
        return None if late and earlier.failures else earlier.failures
    return None


def _is_overtaken(at: datetime | None, newest: datetime | None) -> bool:
    return at is not None and newest is not None and newest - at > _ROUNDED


def cut_error(error: str) -> str:
    """Cut an error text in the middle, to 8 kB as JSON."""
    return cut_middle(error, ERROR_LIMIT_BYTES, json_bytes)
