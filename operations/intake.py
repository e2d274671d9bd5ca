"""Accepts an operation: new, already tracked, or again after an end that is not final."""

from dataclasses import dataclass, replace
from datetime import datetime

from operations.errors import PermanentError
from operations.model import State, Tracking
from operations.storage.index import Limit
from operations.storage.store import Store
from operations.telling import audience
from operations.telling.audience import Rules
from operations.watching import looks


class TrackedOtherwiseError(PermanentError):
    """The operation is already tracked, through another account or in another app."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The stored tracking, and whether this call began a run."""

    tracking: Tracking
    begun: bool


def track(
    store: Store, fresh: Tracking, *, account: str | None, rules: Rules, now: datetime, limit: Limit | None = None
) -> Accepted:
    """Store `fresh`, or join the existing tracking, which only adds the targets that are new to it. Idempotent.

    `account` is the one that the caller named, if any. Raises TrackedOtherwiseError if the tracking uses another
    account or app, and TooManyInFlightError if a new run would exceed `limit`.
    """
    while True:
        found = store.add(fresh, limit)
        if found is None:
            return Accepted(fresh, begun=True)
        after = store.update(found, lambda known: _joined(known, fresh, account, rules, now), limit=limit)
        if after is not None:
            return Accepted(after.tracking, begun=after.tracking.claim == fresh.claim)


def _joined(known: Tracking, fresh: Tracking, account: str | None, rules: Rules, now: datetime) -> Tracking:
    if known.state in looks.RESTARTABLE:
        return looks.started_anew(known, fresh)
    if not fresh.by_event:
        known = replace(known, by_event=False)
    if account is not None and account != known.account:
        message = f"{known.id} is already tracked through the account {known.account}"
        raise TrackedOtherwiseError(message)
    if known.app == known.app_id and fresh.app != fresh.app_id:  # its name was not known
        known = replace(known, app=fresh.app, links=fresh.links, place=fresh.place)
    elif fresh.app not in (known.app, known.app_id, fresh.app_id):
        known = _moved(known, fresh, now)
    return audience.also_told(known, fresh.notify, rules, now)


def _moved(known: Tracking, fresh: Tracking, now: datetime) -> Tracking:
    """Look for the operation in another app from now on: the first name was mistyped, or the app was renamed.

    Raises TrackedOtherwiseError if the API knows it in the first one.
    """
    if known.state is not State.TRACKING or (known.operation is not None and not known.missing_looks):
        message = f"{known.id} is already tracked as an operation of the app {known.app}, not of {fresh.app}"
        raise TrackedOtherwiseError(message)
    # Without the claim: the answer to a look under way is about the other app.
    moved = replace(known, app=fresh.app, app_id=fresh.app_id, links=fresh.links, claim=None, next_look_at=now)
    return looks.without_failures(moved)
