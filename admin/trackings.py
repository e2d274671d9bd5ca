"""`list` and `retry-dead`: show what is stored, and retry deliveries that were given up."""

from argparse import Namespace
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice

from notifiers import time_wording, wording
from operations.model import Delivery, DeliveryState, Tracking
from operations.storage import Redis
from operations.storage.failing import retry_failing
from operations.storage.listing import Listing
from operations.storage.store import Store
from operations.telling import view
from operations.text import first_line, plain
from operations.watching import looks

HEADINGS = ("ID", "APP", "TYPE", "STATE", "TOOK", "BEGUN", "GROUP", "DELIVERIES")
_ERROR_LIMIT = 80


def listed(listing: Listing, given: Namespace) -> list[Tracking]:
    """Read the trackings that are asked for, newest first. In the name of an app, `*` stands for any text."""
    found = (stored.tracking for _, stored in listing.recent() if _is_wanted(stored.tracking, given))
    return list(islice(found, given.limit))


def _is_wanted(tracking: Tracking, given: Namespace) -> bool:
    wanted = view.matches(tracking, app=None, state=given.state, delivery=given.delivery, group=given.group)
    return wanted and (given.app is None or view.is_named(tracking.app, given.app.strip().lower()))


def table(trackings: list[Tracking], now: datetime) -> Iterator[str]:
    """Write headings and one line per tracking, in columns of fitting width."""
    rows = [HEADINGS, *(_row(tracking, now) for tracking in trackings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _row(tracking: Tracking, now: datetime) -> tuple[str, ...]:
    age_s = (now - tracking.created_at).total_seconds()
    kind = tracking.operation.type if tracking.operation is not None else None
    took_s = tracking.duration_s if tracking.ended_at is not None else age_s
    told = [_told(d) for d in tracking.deliveries if d.run == tracking.run]
    if tracking.ended_at is None and tracking.last_error:
        told.append(f"no answer yet: {first_line(plain(tracking.last_error), _ERROR_LIMIT)}")
    took, age = (wording.for_terminals(time_wording.duration(seconds)) for seconds in (took_s, age_s))
    begun = f"{tracking.created_at.astimezone(UTC):%b %d %H:%M:%S}Z, {age} ago"
    what = wording.type_name(tracking.kind, kind)
    cells = [tracking.id, tracking.app, what, str(tracking.state), took or "-", begun, tracking.group or "-"]
    return tuple(" ".join(plain(cell).split()) for cell in (*cells, ", ".join(told) or "-"))


def _told(delivery: Delivery) -> str:
    error = f" ({first_line(plain(delivery.last_error), _ERROR_LIMIT)})" if delivery.last_error else ""
    return f"{delivery.target} {wording.DELIVERY_WORDS[delivery.state]}{error}"


def retry_dead(store: Store, connection: Redis, targets: Collection[str]) -> Counter[str]:
    """Make every dead delivery of a current run to these targets due now. Returns how many, by target. Idempotent."""
    counts = {each: retry_failing(store, connection, each, "admin", DeliveryState.DEAD)[0] for each in targets}
    return Counter({target: count for target, count in counts.items() if count})


def cancel(store: Store, identity: str) -> str:
    """Cancel a tracking; nobody is told. Returns why it cannot be cancelled, or an empty text."""
    stored = store.records.get(identity)
    if stored is None:
        return f"no operation {plain(identity)!r} is tracked"
    now = store.records.now()
    after = store.update(stored, lambda tracking: looks.cancelled(tracking, now, by="admin"))
    return "" if after is not None else f"{stored.tracking.id} has already ended"


def count_dead(listing: Listing) -> Counter[str]:
    """Count the dead deliveries of current runs, by target."""
    told = ((each.tracking.run, delivery) for _, each in listing.recent() for delivery in each.tracking.deliveries)
    return Counter(each.target for run, each in told if each.run == run and each.state is DeliveryState.DEAD)


def each_of(counted: Mapping[str, int]) -> str:
    """Write the counts: `1 to slack, 2 to webhook`."""
    return ", ".join(f"{count} to {target}" for target, count in sorted(counted.items()))
