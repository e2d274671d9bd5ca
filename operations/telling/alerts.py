"""What the operator is told beside the outcomes: deliveries to a target fail, or an API token is rejected. Pure.

An alert is a delivery of the alert target with a text of its own, kept in the record that met the trouble. So it has
what every delivery has: outbox, lease, retries, one id for all attempts. It stands beside the deliveries, not among
them: they are what callers see, and an older version passes over what it does not know, rather than announce the
outcome again. About one subject there is one alert at a time: each marks its subject, which holds further ones back.
"""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from operations.errors import OpwatchError, SignInRejectedError
from operations.model import Alert, AlertKind, Delivery, DeliveryState, Operation, Tracking
from operations.telling import view
from operations.text import cut_middle, first_line, json_bytes, plain

FAILING_FROM = 3
QUIET_S = {AlertKind.FAILING: 3600, AlertKind.REJECTED: 900}
"""How long a mark holds further alerts back; that of a rejected token is renewed for as long as it is rejected."""

ERROR_LIMIT_BYTES = 2_000
_ERROR_LINE_LIMIT = 200


def mark(kind: AlertKind, subject: str) -> str:
    """Name the key that is there while the operator has been told of this subject lately."""
    return f"opwatch:{kind}:{subject}"


def with_failing(tracking: Tracking, delivery_id: str, alert_target: str | None, now: datetime) -> Tracking:
    """Plan an alert if this delivery, just attempted, is dead or has failed three times or more.

    Never about the alert target itself, nor about another alert.
    """
    delivery = next((d for d in tracking.deliveries if d.id == delivery_id), None)
    if alert_target is None or delivery is None or delivery.target == alert_target or not _is_failing(delivery):
        return tracking
    error = plain(delivery.last_error or "").strip() or "no reason given"
    facts = {
        "target": delivery.target,
        "delivery": delivery_id,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "verdict": delivery.verdict,
    }
    message = f"deliveries to `{delivery.target}` are failing: {first_line(error, _ERROR_LINE_LIMIT)}"
    body = _body("delivery.failing", tracking, facts, message=message, error=error, run=delivery.run, now=now)
    alert = Alert(kind=AlertKind.FAILING, subject=delivery.target, at=now, body=body)
    return _planned(tracking, alert, alert_target, run=delivery.run)


def with_rejected(
    tracking: Tracking, seen: Operation | OpwatchError, alert_target: str | None, now: datetime
) -> Tracking:
    """Plan an alert if a look met an API token that is rejected; the watch goes on."""
    if alert_target is None or not isinstance(seen, SignInRejectedError):
        return tracking
    error = plain(str(seen))
    message = first_line(error, _ERROR_LINE_LIMIT)
    body = _body("account.rejected", tracking, {}, message=message, error=error, run=tracking.run, now=now)
    alert = Alert(kind=AlertKind.REJECTED, subject=tracking.account, at=now, body=body)
    return _planned(tracking, alert, alert_target, run=tracking.run)


def news(before: Tracking | None, after: Tracking) -> tuple[Delivery, ...]:
    """List the alerts that `after` has and `before` had not."""
    known = set() if before is None else {d.id for d in before.alerts}
    return tuple(d for d in after.alerts if d.id not in known)


def without_news(before: Tracking, after: Tracking) -> Tracking:
    """Leave out what is news: the operator was told of it lately."""
    new = news(before, after)
    return replace(after, alerts=tuple(d for d in after.alerts if d not in new))


def alert_id(tracking: Tracking, run: int, alert: Alert) -> str:
    """Name an alert after its subject and its time: there may be another about the same subject later."""
    return f"{tracking.id}_{run}_{alert.kind}_{alert.subject}_{alert.at.timestamp() * 1000:.0f}"


def _is_failing(delivery: Delivery) -> bool:
    again = delivery.state is DeliveryState.RETRYING and delivery.failures >= FAILING_FROM
    return again or delivery.state is DeliveryState.DEAD


def _planned(tracking: Tracking, alert: Alert, alert_target: str, *, run: int) -> Tracking:
    """Add the alert, due at once, and forget those that have been told."""
    delivery = Delivery(
        id=alert_id(tracking, run, alert),
        target=alert_target,
        run=run,
        state=DeliveryState.PENDING,
        next_attempt_at=alert.at,
        alert=alert,
    )
    return replace(tracking, alerts=(*(d for d in tracking.alerts if d.unfinished), delivery))


def _body(
    name: str, tracking: Tracking, facts: dict[str, Any], *, message: str, error: str, run: int, now: datetime
) -> str:
    data = {
        "message": message,
        "error": cut_middle(error, ERROR_LIMIT_BYTES, json_bytes),
        **facts,
        "id": tracking.id,
        "app": tracking.app,
        "operation_id": tracking.operation_id,
        "region": tracking.region,
        "account": tracking.account,
        "context": tracking.context,
        "run": run,
    }
    document = {"type": name, "timestamp": view.timestamp(now), "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
