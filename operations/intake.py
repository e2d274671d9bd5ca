"""Taking an operation in: new, known already, or anew after an end that says nothing final."""

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
    """The tracking as stored, and whether this call began it (or began it anew)."""

    tracking: Tracking
    begun: bool


def track(
    store: Store, fresh: Tracking, *, account: str | None, rules: Rules, now: datetime, limit: Limit | None = None
) -> Accepted:
    """Store `fresh`, or join what is tracked under its id already: targets newly named are added, nothing else changes.

    `account` is the one the caller named, if any. Raises OtherAccountError where that differs from the one in use, and
    TooManyInFlightError where the watch would begin (anew) beyond `limit`.
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
