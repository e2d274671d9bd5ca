"""Derives the index entries of a record, and the changes between two versions of one. Pure.

One script writes the record and its entries: an unfinished tracking is always in `due`, a delivery in `outbox`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from operations.model import WENT_WRONG, Delivery, DeliveryState, State, Tracking
from operations.storage.clock import milliseconds
from operations.telling import group_record
from operations.telling.attempts import last_end

DUE = "opwatch:due"
OUTBOX = "opwatch:outbox"
RECENT = "opwatch:recent"
BY_END = "opwatch:by-end"
WRONG = "opwatch:went-wrong"
"""Those that failed, timed out or were lost, by their end."""
LIVE = "opwatch:live"
EXPIRING = "opwatch:expiring"
RETRYING = "opwatch:retrying"
DEAD = "opwatch:dead"
IN_FLIGHT = "opwatch:in-flight"
COUNTERS = "opwatch:counters"
CANCELLED, ENDED_BY = "opwatch:cancelled", "opwatch:ended-by"
"""Sets for each caller, by `last_end`: what was cancelled without a delivery, and what has ended."""
GROUPS = "opwatch:groups"
"""The groups that wait for a check, by its time. A member that joins, changes or ends makes its group due."""
GROUP, BODY = "opwatch:group", "opwatch:announcement"
ENDED = "opwatch:ended"
"""The channel on which the end of a tracking is published: its id and, after a space, its group if any."""

Entries = dict[tuple[str, str], int]
"""The scores of entries, by (key of the sorted set, member). A score is mostly a time in milliseconds since 1970."""


class ChangeKind(StrEnum):
    """What swap.lua does with one entry. The script uses these values."""

    SCORE = "SCORE"
    """Set the score of a sorted set's member; None removes the member."""
    INCREMENT = "INCREMENT"
    """Add an amount to a field of a hash."""
    MARK = "MARK"
    """Set a key for so many seconds. If it is already set, the record is refused."""
    FIRST, LATEST = "FIRST", "LATEST"
    """Set a member's score, unless it has one. Set a key to a time for so many seconds, unless it has a later one."""
    COUNT = "COUNT"
    """Set a key to a count, and drop it at zero. The record is refused unless the count is still `member`."""
    WAKE, EXPECT = "WAKE", "EXPECT"
    """Lower a member's score to a time, by one at least. Refuse the record if a member has another score."""
    CEILING = "CEILING"
    """Refuse the record if the fields of all CEILINGs have reached their limits."""
    CLEAR = "CLEAR"
    """Remove the fields of an account's callers when the account's field is zero."""
    PUSH = "PUSH"
    """Put a member at the front of a list of limited length."""
    DROP = "DROP"
    """Delete a key."""
    PUBLISH = "PUBLISH"
    """Publish a member on a channel."""


class IndexChange(NamedTuple):
    """One entry to write with a record."""

    kind: ChangeKind
    key: str
    member: str
    value: int | None


@dataclass(frozen=True, slots=True)
class Limit:
    """How many operations of one account may be in flight; a caller may have its `share` even beyond that."""

    in_flight: int
    share: int


def index_changes(old: Tracking | None, new: Tracking, retention: timedelta) -> Iterator[IndexChange]:
    """List the changes when `new` replaces `old`. An ended tracking is kept for `retention`."""
    yield from _score_changes({} if old is None else _entries(old, retention), _entries(new, retention))
    yield from _in_flight_changes(_counted(old), _counted(new))
    if old is not None and old.outgoing:
        for run in body_runs(old) - body_runs(new):
            yield IndexChange(ChangeKind.DROP, body_key(new.id, run), "", None)
    if old is not None and old.ended_at is None and new.ended_at is not None:
        ended = new.id if new.group is None else f"{new.id} {new.group}"
        yield IndexChange(ChangeKind.PUBLISH, ENDED, ended, None)
    if new.group is not None and group_record.concerns_group(old, new):
        at = new.ended_at or new.last_polled_at or new.created_at
        yield IndexChange(ChangeKind.WAKE, GROUPS, new.group, milliseconds(at))


def deletions(tracking: Tracking) -> Iterator[tuple[str, str]]:
    """List the entries to remove with a record: its own, and what an older version may have left of its deliveries."""
    yield from _entries(tracking, timedelta())
    yield from ((key, _failing_member(d)) for d in tracking.outgoing for key in (RETRYING, DEAD))


def orphans(tracking: Tracking, key: str, members: Iterable[str]) -> list[str]:
    """List those `members` of the sorted set `key` that name this tracking, but nothing in its record.

    An older version drops unknown fields when it writes the record, and leaves their entries.
    """
    known = _entries(tracking, timedelta())
    return [member for member in members if tracking_of(member) == tracking.id and (key, member) not in known]


def body_runs(tracking: Tracking) -> set[int]:
    """Return the runs whose announcement is still needed: for an attempt, or for a target added later.

    A run that was cancelled, or without deliveries, needs none. A claimed warning reads it to learn of the end.
    """
    runs = {d.run for d in tracking.outgoing if d.unfinished and not d.warns}
    return runs | {tracking.run} if reads_outcome(tracking) else runs


def reads_outcome(tracking: Tracking) -> bool:
    """Tell whether the current run has ended, and its announcement is still needed."""
    if tracking.ended_at is None:
        return False
    told = (d for d in tracking.deliveries if d.run == tracking.run and d.state is not DeliveryState.SKIPPED)
    return tracking.slow is not None or any(told)


def limits(old: Tracking | None, new: Tracking, limit: Limit) -> Iterator[IndexChange]:
    """List the limits that refuse `new` if all are reached; none if it is already in flight."""
    if new.account in _counted(new) and new.account not in _counted(old):
        yield IndexChange(ChangeKind.CEILING, IN_FLIGHT, new.account, limit.in_flight)
        yield IndexChange(ChangeKind.CEILING, IN_FLIGHT, caller_field(new.account, new.created_by), limit.share)


def added(counter: str, amount: int = 1) -> IndexChange:
    """Make the change that adds to a counter."""
    return IndexChange(ChangeKind.INCREMENT, COUNTERS, counter, amount)


def caller_field(account: str, caller: str) -> str:
    """Return the field that counts a caller's operations in flight for an account (neither name has a colon)."""
    return f"{account}:{caller}"


def caller_key(name: str, caller: str) -> str:
    """Return the key of a caller's set."""
    return f"{name}:{caller}"


def record_key(identity: str) -> str:
    """Return the key of a record. It is the same in all versions."""
    return f"opwatch:tracking:{identity}"


def body_key(identity: str, run: int) -> str:
    """Return the key of the announcement's body of this run."""
    return f"{BODY}:{identity}:{run}"


def group_key(name: str) -> str:
    """Return the key of a group's members, sorted by the time of joining. Groups are distinguished by bytes."""
    return f"{GROUP}:{name}"


def tracking_of(member: str) -> str:
    """Return the tracking's id in a member of any sorted set."""
    return member.rpartition(" ")[2].partition("_")[0]


def retrying_range(target: str) -> tuple[str, str]:
    """Return the bounds, by name, of the deliveries to one target in `retrying`."""
    return f"[{target} ", f"({target}!"  # `!` comes right after the space


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


def _counted(tracking: Tracking | None) -> tuple[str, ...]:
    if tracking is None or tracking.next_look_at is None:
        return ()
    caller = (caller_field(tracking.account, tracking.created_by),) if tracking.caller_counted else ()
    return (tracking.account, *caller)


def _entries(tracking: Tracking, retention: timedelta) -> Entries:
    """List a record's entries. All retrying deliveries have one score: so Redis sorts and counts them by target."""
    there: Entries = {} if tracking.is_group else {(RECENT, tracking.id): milliseconds(tracking.created_at)}
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
    there |= {(LIVE, each.id): milliseconds(each.due_at) for each in tracking.live if each.due_at is not None}
    if tracking.ended_at is not None and not tracking.is_group:
        keys = (BY_END, WRONG) if tracking.state in WENT_WRONG else (BY_END,)
        there |= {(key, tracking.id): milliseconds(tracking.ended_at) for key in keys}
    last = last_end(tracking)
    return there if last is None else there | _ended_entries(tracking, last, retention)


def _ended_entries(tracking: Tracking, last: datetime, retention: timedelta) -> Entries:
    names = (ENDED_BY, CANCELLED) if tracking.state is State.CANCELLED and not tracking.outgoing else (ENDED_BY,)
    there = {(caller_key(name, tracking.created_by), tracking.id): milliseconds(last) for name in names}
    return {(EXPIRING, tracking.id): milliseconds(last + retention)} | there


def _failing_member(delivery: Delivery) -> str:
    return f"{delivery.target} {delivery.id}"
