"""The index entries that a record stands for, and the changes from one record's entries to the next one's. Pure.

An unfinished tracking is always in `due`, and an unfinished delivery always in `outbox`: the entries are derived from
the record here, and one script writes both.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from operations.model import Delivery, DeliveryState, State, Tracking, tracking_id
from operations.telling import alerts

DUE = "opwatch:due"
OUTBOX = "opwatch:outbox"
RECENT = "opwatch:recent"
LIVE = "opwatch:live"
EXPIRING = "opwatch:expiring"
RETRYING = "opwatch:retrying"
DEAD = "opwatch:dead"
IN_FLIGHT = "opwatch:in-flight"
COUNTERS = "opwatch:counters"
DURATIONS = "opwatch:durations"
CANCELLED = "opwatch:cancelled"
GROUP = "opwatch:group"
BODY = "opwatch:announcement"
ENDED = "opwatch:ended"
"""The channel on which the end of a tracking is published: its id and, after a space, its group if it has one."""

Entries = dict[tuple[str, str], int]
"""Keys of sorted sets and members of them, and their scores: mostly a time in milliseconds since 1970."""


class ChangeKind(StrEnum):
    """What swap.lua does with one entry; it knows the kinds by these values."""

    SCORE = "SCORE"
    """Set the score of a sorted set's member; None removes the member."""
    INCREMENT = "INCREMENT"
    """Add an amount to a field of a hash."""
    MARK = "MARK"
    """Set a key for so many seconds; where it is set already, the record is refused."""
    CEILING = "CEILING"
    """Refuse the record where every CEILING's field has reached its limit."""
    CLEAR = "CLEAR"
    """Remove the fields of an account's callers once the account's own field is at zero."""
    PUSH = "PUSH"
    """Put a member at the front of a list that keeps so many."""
    DROP = "DROP"
    """Delete a key."""
    PUBLISH = "PUBLISH"
    """Publish a member on a channel."""


class IndexChange(NamedTuple):
    """One entry to write along with a record."""

    kind: ChangeKind
    key: str
    member: str
    value: int | None


@dataclass(frozen=True, slots=True)
class Limit:
    """How many operations of one account may be in flight, and how many callers share that."""

    in_flight: int
    callers: int

    @property
    def share(self) -> int:
        """What a caller may have in flight although others have used the limit up."""
        return max(1, self.in_flight // self.callers)


def index_changes(old: Tracking | None, new: Tracking, retention: timedelta) -> Iterator[IndexChange]:
    """List the entries to change when `new` takes the place of `old`; once ended, it is kept for `retention`."""
    yield from _score_changes({} if old is None else _entries(old, retention), _entries(new, retention))
    yield from _in_flight_changes(_counted(old), _counted(new))
    if old is not None and old.outgoing:
        for run in body_runs(old) - body_runs(new):
            yield IndexChange(ChangeKind.DROP, body_key(new.id, run), "", None)
    if old is not None and old.ended_at is None and new.ended_at is not None:
        ended = new.id if new.group is None else f"{new.id} {new.group}"
        yield IndexChange(ChangeKind.PUBLISH, ENDED, ended, None)
    if new.alerts and (old is None or old.alerts != new.alerts):
        yield from _marks(old, new)


def deletions(tracking: Tracking) -> Iterator[tuple[str, str]]:
    """List the entries (sorted set and member) to remove with a record that is deleted.

    `retrying` and `dead` too: an older version may have moved a delivery on without knowing that it is counted there.
    """
    yield from ((key, tracking.id) for key in (EXPIRING, RECENT, CANCELLED))
    if tracking.group is not None:
        yield group_key(tracking.group), tracking.id
    yield from ((key, _failing_member(d)) for d in tracking.outgoing for key in (RETRYING, DEAD))


def orphans(tracking: Tracking, key: str, members: Iterable[str]) -> list[str]:
    """List those `members` of the sorted set `key` that name this tracking but nothing in it.

    An older version that writes the record drops what it does not know, and leaves the entries.
    """
    known = _entries(tracking, timedelta())
    return [member for member in members if tracking_of(member) == tracking.id and (key, member) not in known]


def body_runs(tracking: Tracking) -> set[int]:
    """Tell of which runs somebody may still read the announcement: to attempt a delivery, or to tell another target.

    Nobody reads that of a run which was cancelled, or of which nobody is told. A warning in flight reads it to learn
    that the run has ended.
    """
    runs = {d.run for d in tracking.outgoing if d.unfinished and not d.warns}
    return runs | {tracking.run} if reads_outcome(tracking) else runs


def reads_outcome(tracking: Tracking) -> bool:
    """Tell whether the current run has ended, and somebody may read the announcement of that."""
    if tracking.ended_at is None:
        return False
    told = (d for d in tracking.deliveries if d.run == tracking.run and d.state is not DeliveryState.SKIPPED)
    return tracking.slow is not None or any(told)


def limits(old: Tracking | None, new: Tracking, limit: Limit) -> Iterator[IndexChange]:
    """List the limits that refuse `new` when all are reached; none where it is in flight already."""
    if new.account in _counted(new) and new.account not in _counted(old):
        yield IndexChange(ChangeKind.CEILING, IN_FLIGHT, new.account, limit.in_flight)
        yield IndexChange(ChangeKind.CEILING, IN_FLIGHT, caller_field(new.account, new.created_by), limit.share)


def added(counter: str, amount: int = 1) -> IndexChange:
    """Add to a counter."""
    return IndexChange(ChangeKind.INCREMENT, COUNTERS, counter, amount)


def durations_keys(tracking: Tracking) -> tuple[str, ...]:
    """Name the lists of how long such operations took: of the same app and type, and of the type, where known."""
    kind = tracking.operation.type if tracking.operation is not None else None
    if kind is None:
        return ()
    return f"{DURATIONS}:{tracking.region}:{tracking.app}:{kind}", f"{DURATIONS}-of-type:{kind}"


def caller_field(account: str, caller: str) -> str:
    """Name the field that counts what one caller has in flight through an account (neither name holds a colon)."""
    return f"{account}:{caller}"


def record_key(identity: str) -> str:
    """Name the key of a record. Whatever the sorted sets name has its record there, in any version."""
    return f"opwatch:tracking:{identity}"


def body_key(identity: str, run: int) -> str:
    """Name the key of the announcement's body, fixed at the outcome of this run."""
    return f"{BODY}:{identity}:{run}"


def group_key(name: str) -> str:
    """Name the sorted set of a group's members by when they joined; names that differ in one byte are two groups'."""
    return f"{GROUP}:{name}"


def tracking_of(member: str) -> str:
    """Tell which tracking a member of any sorted set belongs to."""
    return tracking_id(member.rpartition(" ")[2])


def retrying_range(target: str) -> tuple[str, str]:
    """Give the bounds, for ZLEXCOUNT, between which `retrying` holds the deliveries to one target."""
    return f"[{target} ", f"({target}!"  # `!` comes right after the space


def milliseconds(at: datetime) -> int:
    """Write a time as a score: milliseconds since 1970."""
    return round(at.timestamp() * 1000)


def _score_changes(before: Entries, after: Entries) -> Iterator[IndexChange]:
    for (key, member), score in after.items():
        if before.get((key, member)) != score:
            yield IndexChange(ChangeKind.SCORE, key, member, score)
    yield from (IndexChange(ChangeKind.SCORE, *entry, None) for entry in before if entry not in after)


def _in_flight_changes(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[IndexChange]:
    yield from (IndexChange(ChangeKind.INCREMENT, IN_FLIGHT, field, 1) for field in after if field not in before)
    yield from (IndexChange(ChangeKind.INCREMENT, IN_FLIGHT, field, -1) for field in before if field not in after)
    if before and not after:
        yield IndexChange(ChangeKind.CLEAR, IN_FLIGHT, before[0], None)


def _marks(old: Tracking | None, new: Tracking) -> Iterator[IndexChange]:
    for delivery in alerts.news(old, new):
        if (about := delivery.alert) is not None:
            mark = alerts.mark(about.kind, about.subject)
            yield IndexChange(ChangeKind.MARK, mark, delivery.id, alerts.QUIET_S[about.kind])


def _counted(tracking: Tracking | None) -> tuple[str, ...]:
    if tracking is None or tracking.next_look_at is None:
        return ()
    caller = (caller_field(tracking.account, tracking.created_by),) if tracking.caller_counted else ()
    return (tracking.account, *caller)


def _entries(tracking: Tracking, retention: timedelta) -> Entries:
    """List what a record stands for in the sorted sets.

    What is being retried has one score for all, so that Redis sorts it by target and counts each at once. (Not as
    amounts to add: what an older version did not count in must not be counted out.)
    """
    there: Entries = {(RECENT, tracking.id): milliseconds(tracking.created_at)}
    if tracking.group is not None:
        there[group_key(tracking.group), tracking.id] = milliseconds(tracking.created_at)
    if tracking.next_look_at is not None:
        there[DUE, tracking.id] = milliseconds(tracking.next_look_at)
    for delivery in tracking.outgoing:
        if delivery.unfinished and delivery.next_attempt_at is not None:
            there[OUTBOX, delivery.id] = milliseconds(delivery.next_attempt_at)
        if delivery.state is DeliveryState.RETRYING:
            there[RETRYING, _failing_member(delivery)] = 0
        if delivery.state is DeliveryState.DEAD:
            there[DEAD, _failing_member(delivery)] = milliseconds(delivery.ended_at or tracking.created_at)
    for message in tracking.live:
        if message.due_at is not None:
            there[LIVE, message.id] = milliseconds(message.due_at)
    return there if tracking.ended_at is None else there | _kept_until(tracking, tracking.ended_at, retention)


def _kept_until(tracking: Tracking, ended_at: datetime, retention: timedelta) -> Entries:
    if any(d.unfinished for d in tracking.outgoing) or any(m.due_at for m in tracking.live):
        return {}
    last = max([ended_at, *(d.ended_at for d in tracking.outgoing if d.ended_at)])
    there: Entries = {(EXPIRING, tracking.id): milliseconds(last + retention)}
    if tracking.state is State.CANCELLED and not tracking.outgoing:
        there[CANCELLED, tracking.id] = milliseconds(ended_at)
    return there


def _failing_member(delivery: Delivery) -> str:
    return f"{delivery.target} {delivery.id}"
