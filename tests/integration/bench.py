"""The app and the worker's parts in this process, with a real server: for tests without real processes."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import redis
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from operations.errors import OpwatchError
from operations.model import Delivery, Operation, Tracking, Verdict
from operations.storage.maintenance import Maintenance
from operations.storage.records import Stored
from operations.storage.store import Store
from operations.telling import attempts
from operations.telling.attempts import Policy, Result
from operations.telling.audience import Rules
from operations.watching import looks
from operations.watching.durations import Durations
from tests.support.running import CALLER_TOKEN, wait_until

OPERATION_ID = "5ed11f2c884fef000f5e502e"
DONE = Operation(status="done", outcome=Verdict.SUCCEEDED, type="restart")
BROKEN = Operation(status="error", outcome=Verdict.FAILED, type="restart", error="it broke")
RETENTION = timedelta(days=7)
NO_OTHER_TARGETS = dict.fromkeys(("SLACK_WEBHOOK_URL", "WEBHOOK_URL", "WEBHOOK_SECRET"), "")
"""All settings empty, which counts as unset."""


def operation_id(number: int) -> str:
    """Return the number as an id of 24 hex digits."""
    return f"{number:024x}"


def begun(store: Store, operation: str, /, **changes: Any) -> Tracking:
    """Return a tracking of an operation that begins now."""
    now = store.records.now()
    fresh = Tracking(
        id=f"osc-fr1-{operation}",
        app="shop",
        operation_id=operation,
        region="osc-fr1",
        account="default",
        created_at=now,
        created_by="ci",
        timeout_s=3600,
        next_look_at=now,
    )
    return replace(fresh, **changes)


def tracked(store: Store, operation: str, /, **changes: Any) -> str:
    """Store a tracking of an operation; it is due at once."""
    fresh = begun(store, operation, **changes)
    assert store.add(fresh) is None
    return fresh.id


def looked_at(store: Store, identity: str, polls: int = 1) -> Tracking:
    """Return the tracking once so many looks were recorded."""
    wait_until(lambda: found(store, identity).tracking.polls >= polls, what="the look")
    return found(store, identity).tracking


@dataclass(frozen=True)
class Caller:
    """Calls the API in this process, by default with a valid token."""

    client: FlaskClient

    def request(self, method: str, path: str, *, token: str | None = CALLER_TOKEN, **options: Any) -> TestResponse:
        """Send one request; `options` are werkzeug's (`json`, `data`, `headers`, …)."""
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.client.open(path, method=method, headers=headers, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        """GET."""
        return self.request("GET", path, **options)

    def track(self, **fields: Any) -> TestResponse:
        """POST JSON to `/v1/operations`, by default about an operation of `shop`."""
        if "operation_url" not in fields:
            fields = {"app": "shop", "operation_id": OPERATION_ID, **fields}
        return self.request("POST", "/v1/operations", json=fields)

    def form(self, data: Any) -> TestResponse:
        """POST a form to `/v1/operations`."""
        return self.request("POST", "/v1/operations", data=data)

    def show(self, identity: str) -> dict[str, Any]:
        """Return a tracking as it stands."""
        answer = self.get(f"/v1/operations/{identity}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.get_json()
        return shown


def problem(answer: TestResponse, status: int) -> dict[str, Any]:
    """Check that an answer is a problem (RFC 9457) of this status. Returns it."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    body: dict[str, Any] = answer.get_json(force=True)
    assert set(body) == {"type", "title", "status", "detail", "errors", "request_id"}
    assert body["status"] == status
    assert body["detail"]
    return body


def faulty_fields(answer: TestResponse) -> set[str]:
    """Return the names of the faulty fields in a 422."""
    return {each["field"] for each in problem(answer, 422)["errors"]}


def seen(store: Store, identity: str, what: Operation | OpwatchError, rules: Rules) -> Tracking:
    """Record a look with the result `what`, as a worker does."""
    now = store.records.now()
    claimed = store.update(found(store, identity), lambda tracking: looks.claimed(tracking, "test", now))
    assert claimed is not None

    def decide(tracking: Tracking) -> Tracking | None:
        known = replace(tracking, operation=what) if isinstance(what, Operation) else tracking
        return looks.after_look(
            tracking,
            "test",
            what,
            now=store.records.now(),
            durations=Durations.learn(),
            rules=rules,
            earlier=store.told.earlier(known),
        )

    recorded = store.update(claimed, decide)
    assert recorded is not None
    return recorded.tracking


def attempted(
    store: Store, identity: str, target: str, error: OpwatchError | None = None, *, alert_target: str | None = None
) -> Tracking:
    """Record an attempt that succeeded, or failed with `error`, as a worker does.

    After a transient error the next attempt is due at once, or after the wait that the error asks for.
    """
    now = store.records.now()

    def claim(tracking: Tracking) -> Tracking:
        mine = [d for d in tracking.deliveries if is_current(tracking, d, target)]
        return attempts.claimed(tracking, mine, "test", now)

    begun = store.update(found(store, identity), claim)
    assert begun is not None
    (delivery,) = (d for d in begun.tracking.deliveries if is_current(begun.tracking, d, target))
    policy = Policy(delays_s=(0.0,) * 9, alert_target=alert_target)
    recorded = store.update(begun, lambda t: attempts.after_attempt(t, delivery, Result(error=error), now, policy))
    assert recorded is not None
    return recorded.tracking


def found(store: Store, identity: str) -> Stored:
    """Read a tracking that must be there."""
    stored = store.records.get(identity)
    assert stored is not None
    return stored


def is_current(tracking: Tracking, delivery: Delivery, target: str) -> bool:
    """Whether this is the current run's delivery to the target."""
    return (delivery.run, delivery.target) == (tracking.run, target)


def maintain(connection: redis.Redis, store: Store) -> None:
    """Let maintenance run until it finds no more to do."""
    maintenance = Maintenance(connection, store.records, store.retention)
    while maintenance.run():
        pass


def connected(url: str) -> redis.Redis:
    """Connect to the server."""
    return redis.Redis.from_url(url)
