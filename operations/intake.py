"""Accepts an operation: new, already tracked, or again after an end that is not final."""

from dataclasses import dataclass
from datetime import datetime

from operations.errors import PermanentError
from operations.model import Tracking
from operations.storage.index import Limit
from operations.storage.store import Store
from operations.telling import audience
from operations.telling.audience import Rules
from operations.watching import looks


class OtherAccountError(PermanentError):
    """The operation is already tracked through another account."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The stored tracking, and whether this call began a run."""

    tracking: Tracking
    begun: bool


def track(
    store: Store, fresh: Tracking, *, account: str | None, rules: Rules, now: datetime, limit: Limit | None = None
) -> Accepted:
    """Store `fresh`, or join the existing tracking, which only adds the targets that are new to it. Idempotent.

    `account` is the one that the caller named, if any. Raises OtherAccountError if the tracking uses another one, and
    TooManyInFlightError if a new run would exceed `limit`.
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
    if account is not None and account != known.account:
        message = f"{known.id} is already tracked through the account {known.account}"
        raise OtherAccountError(message)
    return audience.also_told(known, fresh.notify, rules, now)
