"""Alerts to the operator: deliveries to a target fail, or work again, or an API token is rejected. Pure.

An alert is a delivery to the alert target with its own text, in the record where the trouble occurred. So it has the
outbox, the lease, the retries and the stable id of every delivery. It is not among `deliveries`: callers see those, and
an older version would announce the outcome again. Each alert sets a mark for its subject, which suppresses further
ones. The alert that deliveries work again removes the mark that they fail.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from operations.errors import OpwatchError, SignInRejectedError
from operations.model import Alert, AlertKind, Delivery, DeliveryState, Operation, State, Tracking
from operations.telling import announcement, view
from operations.telling.announcement import Announcement
from operations.text import cut_middle, first_line, json_bytes, plain

FAILING_FROM = 3
QUIET_S = {AlertKind.FAILING: 3600, AlertKind.RECOVERED: 30, AlertKind.REJECTED: 900}
"""How long a mark suppresses further alerts. That of a rejected token is renewed while the token is rejected."""

ERROR_LIMIT_BYTES = 2_000
_ERROR_LINE_LIMIT = 200


def mark(kind: AlertKind, subject: str) -> str:
    """Return the key of the mark: it exists while the operator has recently been told about this subject."""
    return f"opwatch:{kind}:{subject}"


def with_alert(
    tracking: Tracking, delivery_id: str, alert_target: str | None, alerted_at: datetime | None, now: datetime
) -> Tracking:
    """Plan an alert if this delivery, just attempted, is dead or has failed at least three times.

    Or if it was delivered, after the operator was told at `alerted_at` that deliveries to the target fail. There is no
    alert about the alert target itself, nor about another alert.
    """
    delivery = next((d for d in tracking.deliveries if d.id == delivery_id), None)
    if alert_target is None or delivery is None or delivery.target == alert_target:
        return tracking
    if delivery.state is DeliveryState.DELIVERED and alerted_at is not None:
        message = f"deliveries to `{delivery.target}` work again"
        facts = {"message": message, "failing_since": view.timestamp(alerted_at)}
        return _planned(tracking, AlertKind.RECOVERED, facts, alert_target, now, delivery)
    if not _is_failing(delivery):
        return tracking
    error = plain(delivery.last_error or "").strip() or "no reason given"
    dead = delivery.state is DeliveryState.DEAD
    next_step = f"Fix it, then: python -m admin retry-dead {delivery.target}" if dead else "Opwatch keeps trying"
    message = f"deliveries to `{delivery.target}` are failing: {first_line(error, _ERROR_LINE_LIMIT)}. {next_step}"
    facts = {"message": message, "error": cut_middle(error, ERROR_LIMIT_BYTES, json_bytes)}
    return _planned(tracking, AlertKind.FAILING, facts, alert_target, now, delivery)


def read(tracking: Tracking, delivery: Delivery, outcome: bytes | None) -> Announcement:
    """Read an alert, with the body of the outcome that was not delivered. Raises OpwatchError if it cannot be read.

    If the same target is told the outcome itself, the alert does not repeat it; if that is a failure, which usually
    mentions somebody, the alert mentions nobody.
    """
    if delivery.alert is None:
        raise OpwatchError(f"{delivery.id} is no alert")
    told = (d for d in tracking.deliveries if (d.target, d.run) == (delivery.target, delivery.run))
    repeats = delivery.alert.kind is not AlertKind.REJECTED and any(map(_reaches, told))
    read = announcement.read_alert(delivery.id, delivery.alert, None if repeats else outcome)
    return replace(read, quiet=read.quiet or (repeats and tracking.state is State.FAILED))


def with_rejected(
    tracking: Tracking, seen: Operation | OpwatchError, alert_target: str | None, now: datetime
) -> Tracking:
    """Plan an alert after a look with a rejected API token; the run continues."""
    if alert_target is None or not isinstance(seen, SignInRejectedError):
        return tracking
    error = plain(str(seen))
    message = first_line(error, _ERROR_LINE_LIMIT)
    facts = {"message": message, "error": cut_middle(error, ERROR_LIMIT_BYTES, json_bytes)}
    return _planned(tracking, AlertKind.REJECTED, facts, alert_target, now)


def news(before: Tracking | None, after: Tracking) -> tuple[Delivery, ...]:
    """List the alerts that `after` has and `before` does not."""
    known = set() if before is None else {d.id for d in before.alerts}
    return tuple(d for d in after.alerts if d.id not in known)


def without_news(before: Tracking, after: Tracking) -> Tracking:
    """Remove the new alerts, because the operator has recently been told."""
    new = news(before, after)
    return replace(after, alerts=tuple(d for d in after.alerts if d not in new))


def alert_id(tracking: Tracking, run: int, alert: Alert) -> str:
    """Make the id of an alert. It includes the time, since the same subject may need another alert later."""
    return f"{tracking.id}_{run}_{alert.kind}_{alert.subject}_{alert.at.timestamp() * 1000:.0f}"


def _is_failing(delivery: Delivery) -> bool:
    again = delivery.state is DeliveryState.RETRYING and delivery.failures >= FAILING_FROM
    return (again and delivery.limited_since is None) or delivery.state is DeliveryState.DEAD


def _reaches(delivery: Delivery) -> bool:
    return delivery.unfinished or delivery.state is DeliveryState.DELIVERED


def _planned(
    tracking: Tracking,
    kind: AlertKind,
    facts: dict[str, Any],
    alert_target: str,
    now: datetime,
    failing: Delivery | None = None,
) -> Tracking:
    """Add an alert about the target of a delivery, or else about the account. It is due now. Drop finished ones."""
    name, subject, run = f"account.{kind}", tracking.account, tracking.run
    if failing is not None:
        name, subject, run = f"delivery.{kind}", failing.target, failing.run
        facts |= {
            "target": failing.target,
            "delivery": failing.id,
            "state": failing.state.value,
            "attempts": failing.attempts,
            "verdict": failing.verdict,
        }
    about = {each: getattr(tracking, each) for each in ("id", "app", "operation_id", "region", "account", "context")}
    body = view.event(name, now, {**facts, **about, "run": run})
    alert = Alert(kind=kind, subject=subject, at=now, body=body.decode())
    delivery = Delivery(
        id=alert_id(tracking, run, alert),
        target=alert_target,
        run=run,
        state=DeliveryState.PENDING,
        next_attempt_at=now,
        alert=alert,
    )
    return replace(tracking, alerts=(*(d for d in tracking.alerts if d.unfinished), delivery))
