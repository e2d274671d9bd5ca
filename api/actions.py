"""What callers can do to a tracking, through the API or on the page."""

from contextlib import suppress
from http import HTTPStatus

from flask import g

from api.problems import ProblemError
from api.service import Service
from operations.storage import RedisError
from operations.storage.failing import retry_failing
from operations.storage.records import Stored
from operations.telling import attempts, sample
from operations.watching import looks

LONGEST_ID = 100
SLACK = 100
"""How many cancelled trackings of a caller are deleted together: one at a time would cost more."""


def find(parts: Service, identity: str, *, or_group: bool = False) -> Stored:
    """Read a tracking, `or_group`: or the record of a group. Raises ProblemError (404) if none has this id."""
    stored = parts.records.get(identity) if len(identity) <= LONGEST_ID else None
    if stored is None or (stored.tracking.is_group and not or_group):
        raise ProblemError(
            HTTPStatus.NOT_FOUND, "no operation of this id is tracked (ids look like <region>-<24 hex digits>)"
        )
    g.tracking = identity
    return stored


def cancel(parts: Service, identity: str, by: str) -> Stored:
    """Cancel a tracking; nobody is told. Raises ProblemError (404; 409 if it has ended)."""
    now = parts.records.now()
    after = parts.store.update(find(parts, identity), lambda tracking: looks.cancelled(tracking, now, by))
    if after is None:
        raise ProblemError(HTTPStatus.CONFLICT, f"{identity} has already ended; it cannot be cancelled")
    with suppress(RedisError):  # it is cancelled all the same
        parts.maintenance.trim(after.tracking.created_by, slack=SLACK)
    return after


def retry(parts: Service, identity: str, target: str, by: str) -> Stored:
    """Make the current run's delivery to a target due now.

    Raises ProblemError (404; 409 if it was delivered or skipped).
    """
    stored = find(parts, identity, or_group=True)
    if not any(d.target == target and d.run == stored.tracking.run for d in stored.tracking.deliveries):
        raise ProblemError(HTTPStatus.NOT_FOUND, f"{identity} has no delivery to that target")
    now = parts.records.now()
    after = parts.store.update(stored, lambda tracking: attempts.retried(tracking, target, now, by))
    if after is None:
        raise ProblemError(
            HTTPStatus.CONFLICT, f"the delivery to {target} was delivered or skipped; it is not sent again"
        )
    parts.deliveries_due.ring()
    return after


def retry_all(parts: Service, target: str, by: str) -> tuple[int, int]:
    """Make all failing deliveries of current runs to a target due now. Returns how many, and how many it could not."""
    retried = retry_failing(parts.store, parts.connection, target, by)
    parts.deliveries_due.ring()
    return retried


def send_test(parts: Service, target: str, by: str) -> str:
    """Send a test message to a target, whatever its rules. Returns the tracking whose story shows what became of it.

    Raises ProblemError (404) if no target has this name.
    """
    if target not in parts.settings.targets:
        raise ProblemError(HTTPStatus.NOT_FOUND, "no target of this name is configured")
    made = sample.to_deliver(target, parts.settings.region, parts.records.now(), by)
    parts.store.add(made)
    parts.deliveries_due.ring()
    return made.id
