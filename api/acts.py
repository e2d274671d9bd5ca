"""What callers do to a tracking, whether through the API or on the page."""

from http import HTTPStatus

from flask import g

from api.problems import ProblemError
from api.service import Service
from operations.storage.records import Stored
from operations.telling import attempts
from operations.watching import looks

LONGEST_ID = 100


def find(parts: Service, identity: str) -> Stored:
    """Read a tracking; raises ProblemError (404) where there is none of this id."""
    stored = parts.records.get(identity) if len(identity) <= LONGEST_ID else None
    if stored is None:
        raise ProblemError(
            HTTPStatus.NOT_FOUND, "no operation of this id is tracked (ids look like <region>-<24 hex digits>)"
        )
    g.tracking = identity
    return stored


def stop(parts: Service, identity: str) -> Stored:
    """Stop tracking, telling nobody; raises ProblemError (404, 409 once it has ended)."""
    now = parts.records.now()
    after = parts.store.update(find(parts, identity), lambda tracking: looks.cancelled(tracking, now))
    if after is None:
        raise ProblemError(HTTPStatus.CONFLICT, f"{identity} has already ended; there is nothing to stop")
    return after


def retry(parts: Service, identity: str, target: str) -> Stored:
    """Make the current run's delivery to a target due at once; raises ProblemError (404, 409 if made or skipped)."""
    stored = find(parts, identity)
    if not any(d.target == target and d.run == stored.tracking.run for d in stored.tracking.deliveries):
        raise ProblemError(HTTPStatus.NOT_FOUND, f"{identity} has no delivery to a target of that name")
    now = parts.records.now()
    after = parts.store.update(stored, lambda tracking: attempts.retried(tracking, target, now))
    if after is None:
        raise ProblemError(HTTPStatus.CONFLICT, f"the delivery to {target} was made or skipped; it is not sent again")
    parts.deliveries_due.ring()
    return after
