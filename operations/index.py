"""Which index entries a record stands for, and which differ between two records. Pure.

An unfinished tracking is always in `due`, an unfinished delivery always in `outbox`: not because somebody remembers to
put it there, but because the entries are derived from the record here and written along with it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from operations import alerts, delays, verdicts
from operations.counters import DETECTION, DWELL, Histogram
from operations.durations import KEPT, LONGEST_S
from operations.model import Delivery, DeliveryState, State, Tracking, Verdict, tracking_id

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
GROUP = "opwatch:group"
ENDED = "opwatch:ended"
"""The channel on which the end of a tracking is published: its id and, after a space, its group if it has one."""

Entries = dict[tuple[str, str], int]
"""Keys of sorted sets and members of them, and when each is due, in milliseconds since 1970."""


class Move(NamedTuple):
    """One entry to write along with a record, by its `kind`; the kinds are those of swap.lua.

    `z` sets the score of a sorted set's member (None removes it), `h` adds an amount to a field, `m` marks a key for so
    many seconds and has the record refused where it is marked already. `c` is a ceiling of a field; `n` removes the
    fields of callers where an account's is at zero. `l` puts a member in front of a list that keeps so many. `p`
    publishes the member on a channel.
    """

    kind: str
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


def moves(old: Tracking | None, new: Tracking, retention: timedelta) -> Iterator[Move]:
    """List the index entries to change when `new` takes the place of `old`; once ended, it is kept for `retention`."""
    before, after = ({} if old is None else _entries(old, retention)), _entries(new, retention)
    yield from (Move("z", *entry, score) for entry, score in after.items() if before.get(entry) != score)
    yield from (Move("z", *entry, None) for entry in before if entry not in after)
    counted_before, counted = _counted(old), _counted(new)
    yield from (Move("h", IN_FLIGHT, field, 1) for field in counted if field not in counted_before)
    yield from (Move("h", IN_FLIGHT, field, -1) for field in counted_before if field not in counted)
    if counted_before and not counted:
        yield Move("n", IN_FLIGHT, counted_before[0], None)
    if old is not None and (old.ended_at, old.outgoing) == (new.ended_at, new.outgoing):
        return  # as for nearly every claim and every look
    if old is not None and old.ended_at is None and new.ended_at is not None:
        yield Move("p", ENDED, new.id if new.group is None else f"{new.id} {new.group}", None)
        yield Move("h", COUNTERS, f"outcomes:{new.state}", 1)
        yield from _lessons(new)
        yield from _observed(DETECTION, new.account, delays.detection_s(new))
    finished = {old.delivery_id(d) for d in old.outgoing if not d.unfinished} if old is not None else set()
    for delivery in new.outgoing:
        if not delivery.unfinished and new.delivery_id(delivery) not in finished:
            yield Move("h", COUNTERS, f"deliveries:{delivery.target}:{delivery.state}", 1)
            yield from _observed(DWELL, delivery.target, delays.dwell_s(new, delivery))
    for delivery in alerts.news(old, new):
        if (about := delivery.alert) is not None:
            mark = alerts.mark(about.kind, about.subject)
            yield Move("m", mark, new.delivery_id(delivery), alerts.QUIET_S[about.kind])


def removals(tracking: Tracking) -> Iterator[Move]:
    """List the index entries to remove with a record that is purged.

    `retrying` and `dead` too: an older version may have moved a delivery on without knowing that it is counted there.
    """
    yield Move("z", EXPIRING, tracking.id, None)
    yield Move("z", RECENT, tracking.id, None)
    if tracking.group is not None:
        yield Move("z", group_key(tracking.group), tracking.id, None)
    yield from (
        Move("z", key, _failing_member(tracking, d), None) for d in tracking.outgoing for key in (RETRYING, DEAD)
    )


def strays(tracking: Tracking, key: str, members: Iterable[str]) -> list[Move]:
    """List those `members` of the sorted set `key` that are this tracking's and of nothing in it, to remove them.

    An older version that writes the record drops what it does not know of, and leaves the entries.
    """
    there = _entries(tracking, timedelta())
    mine = (member for member in members if tracking_id(member) == tracking.id)
    return [Move("z", key, member, None) for member in mine if (key, member) not in there]


def ceilings(old: Tracking | None, new: Tracking, limit: Limit) -> Iterator[Move]:
    """List what must not all be reached for `new` to come into flight; nothing where it is in flight already."""
    if new.account in _counted(new) and new.account not in _counted(old):
        yield Move("c", IN_FLIGHT, new.account, limit.in_flight)
        yield Move("c", IN_FLIGHT, caller_field(new.account, new.created_by), limit.share)


def caller_field(account: str, caller: str) -> str:
    """Name the field that counts what one caller has in flight through an account (neither name holds a colon)."""
    return f"{account}:{caller}"


def durations_keys(tracking: Tracking) -> tuple[str, ...]:
    """Name the lists of how long such operations took: of the same app and type, and of the type, where known."""
    kind = tracking.operation.type if tracking.operation is not None else None
    if kind is None:
        return ()
    return f"{DURATIONS}:{tracking.region}:{tracking.app}:{kind}", f"{DURATIONS}-of-type:{kind}"


def _lessons(ended: Tracking) -> Iterator[Move]:
    """Remember how long it took; not where that cannot be, or is only how late the first look was."""
    took_s, at = ended.duration_s, ended.ended_at
    if took_s is None or took_s > LONGEST_S or at is None or ended.state not in (State.SUCCEEDED, State.FAILED):
        return
    if ended.polls > 1 or verdicts.api_duration_s(ended, Verdict(ended.state), at) is not None:
        for key in durations_keys(ended):
            yield Move("l", key, f"{took_s:g}", KEPT)


def _observed(histogram: Histogram, label: str, took_s: float | None) -> Iterator[Move]:
    if took_s is not None:
        yield from (Move("h", COUNTERS, field, amount) for field, amount in histogram.additions(label, took_s))


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
            there[OUTBOX, tracking.delivery_id(delivery)] = milliseconds(delivery.next_attempt_at)
        if delivery.state is DeliveryState.RETRYING:
            there[RETRYING, _failing_member(tracking, delivery)] = 0
        if delivery.state is DeliveryState.DEAD:
            there[DEAD, _failing_member(tracking, delivery)] = milliseconds(delivery.ended_at or tracking.created_at)
    for message in tracking.live:
        if message.due_at is not None:
            there[LIVE, tracking.live_id(message)] = milliseconds(message.due_at)
    unfinished = any(d.unfinished for d in tracking.outgoing) or any(m.due_at for m in tracking.live)
    if tracking.ended_at is not None and not unfinished:
        last = max([tracking.ended_at, *(d.ended_at for d in tracking.outgoing if d.ended_at)])
        there[EXPIRING, tracking.id] = milliseconds(last + retention)
    return there


def group_key(name: str) -> str:
    """Name the sorted set of a group's members by when they joined; names that differ in one byte are two groups'."""
    return f"{GROUP}:{name}"


def _failing_member(tracking: Tracking, delivery: Delivery) -> str:
    return f"{delivery.target} {tracking.delivery_id(delivery)}"


def tracking_of(member: str) -> str:
    """Tell which tracking a member of any sorted set belongs to."""
    return tracking_id(member.rpartition(" ")[2])


def retrying_range(target: str) -> tuple[str, str]:
    """Give the bounds, for ZLEXCOUNT, between which `retrying` holds the deliveries to one target."""
    return f"[{target} ", f"({target}!"  # `!` comes right after the space


def milliseconds(at: datetime) -> int:
    """Write a time as a score: milliseconds since 1970."""
    return round(at.timestamp() * 1000)
