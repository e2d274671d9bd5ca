"""`list` and `retry-dead`: show what is stored, and retry deliveries that were given up."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The filters of `list`, and how many trackings it shows at most."""

    app: str | None
    state: str | None
    delivery: str | None
    group: str | None
    limit: int

    def matches(self, tracking: Tracking) -> bool:
        """Tell whether a tracking is wanted. In the name of an app, `*` stands for any text."""
        wanted = view.matches(tracking, app=None, state=self.state, delivery=self.delivery, group=self.group)
        return wanted and (self.app is None or view.is_named(tracking.app, self.app.strip().lower()))


def listed(listing: Listing, wanted: Wanted) -> list[Tracking]:
    """Read the matching trackings, newest first."""
    found = (stored.tracking for _, stored in listing.recent() if wanted.matches(stored.tracking))
    return list(islice(found, wanted.limit))


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
    return Counter(
        delivery.target
        for _, stored in listing.recent()
        for delivery in stored.tracking.deliveries
        if _is_dead(stored.tracking, delivery)
    )


def each_of(counted: Mapping[str, int]) -> str:
    """Write the counts: `1 to slack, 2 to webhook`."""
    return ", ".join(f"{count} to {target}" for target, count in sorted(counted.items()))


def _is_dead(tracking: Tracking, delivery: Delivery) -> bool:
    return delivery.run == tracking.run and delivery.state is DeliveryState.DEAD
