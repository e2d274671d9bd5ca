"""The record of a group: what follows a check of its members. Pure.

A group has a record of its own, of the same form as its members', so its deliveries and live messages have the same
outbox, leases and retries. While the group is open, and whenever a member joins, changes or ends, it waits in the
index `GROUPS` for a check. When a check finds the group final, this run of the record ends with one delivery for each
target that wants a closing message. A member that joins later begins the next run.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from operations.history import Covered
from operations.kind import GROUP_PREFIX
from operations.model import DeliveryState, State, Tracking, Verdict
from operations.telling import audience, closing, groups, live, progress
from operations.telling.audience import TOLD_WITH_GROUP, Rules
from operations.telling.progress import GroupMessage

CHECK_EVERY_S = 300.0
"""How often an open group is checked even if nothing wakes it: an older version may have written a member."""

RECORD_VERSION = 3
"""Older versions know no records of groups, and leave them alone."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check: the record's next version, the next check, and what a closing message says, if any."""

    record: Tracking
    next_at: datetime | None
    body: bytes = b""


def group_id(name: str) -> str:
    """Return the id of a group's record, a digest of its name."""
    return GROUP_PREFIX + hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]


def begun(name: str, members: Sequence[Tracking], now: datetime) -> Tracking:
    """Make the record of a group."""
    oldest = min(members, key=lambda member: member.created_at, default=None)
    identity = group_id(name)
    return Tracking(
        id=identity,
        app=name,
        operation_id=identity.removeprefix(GROUP_PREFIX),
        region=oldest.region if oldest else "",
        account=oldest.account if oldest else "",
        created_at=oldest.created_at if oldest else now,
        created_by=oldest.created_by if oldest else "",
        timeout_s=0,
        v=RECORD_VERSION,
    )


def concerns_group(old: Tracking | None, new: Tracking) -> bool:
    """Tell whether a member's change may decide how its group stands, or what the group's live message shows."""
    return old is None or _shown(old) != _shown(new)


def checked(record: Tracking, members: Sequence[Tracking], rules: Rules, now: datetime) -> Checked:
    """Decide what follows: the group is still open, or closed now, or closed already and nobody has joined since."""
    after = replace(record, polls=record.polls + 1, last_polled_at=now)
    news = _news(record, members)
    if record.ended_at is not None and not news:
        return Checked(after, None)
    if record.ended_at is not None:
        after = _reopened(after, now)
    if not members:  # they were deleted
        return Checked(replace(after, state=State.CANCELLED, ended_at=now), None)
    group = groups.summarize(record.app, members, now)
    after = _followed(after, members, rules, now)
    if not group.final:
        next_at = now + timedelta(seconds=CHECK_EVERY_S)
        return Checked(after, min(next_at, group.final_from or next_at))
    told = {name: _ids(members, name, rules) for name in _told_at_the_end(news, rules)}
    said = closing.fixed(members, told, now)
    ended = replace(
        after,
        state=group.state,
        ended_at=now,
        duration_s=group.duration_s,
        deliveries=(*after.deliveries, *(closing.delivery(after, name, said) for name in told)),
        covered=Covered(members=len(members), newest_at=max(member.created_at for member in members)),
    )
    return Checked(_finished_live(ended, now), None, closing.encode(said))


def shown_to(
    record: Tracking, members: Sequence[Tracking], target: str, rules: Rules, now: datetime
) -> GroupMessage | None:
    """Compose the live message of the group for a target; None if it is told about no member."""
    return progress.compose(record.app, members, _ids(members, target, rules), now)


def has_called(members: Iterable[Tracking], mine: Tracking, target: str) -> bool:
    """Tell whether another member that went wrong mentions somebody at this target: once for each group is enough.

    If several are told at the same time, the one that ended first does.
    """
    for member in members:
        for each in member.deliveries if member.id != mine.id else ():
            wrong = each.target == target and each.run == member.run and each.verdict is not Verdict.SUCCEEDED
            if not wrong or each.quiet:
                continue
            first = mine.is_group or (member.ended_at, member.id) < (mine.ended_at, mine.id)
            if each.state is DeliveryState.DELIVERED or (each.unfinished and first):
                return True
    return False


def _shown(member: Tracking) -> tuple[object, ...]:
    operation = member.operation and (member.operation.type, member.operation.status)
    return member.run, member.state, member.notify, operation, member.slow is None, member.unanswered_since


def _news(record: Tracking, members: Sequence[Tracking]) -> Sequence[Tracking]:
    """List the members that have joined, or were started anew, since the last closing message."""
    known = record.covered
    if known is None:
        return members
    newer = [member for member in members if member.created_at > known.newest_at]
    return newer or (members if len(members) > known.members else ())


def _reopened(record: Tracking, now: datetime) -> Tracking:
    """Begin the next run. It continues the live messages."""
    again = replace(
        record,
        run=record.run + 1,
        state=State.TRACKING,
        ended_at=None,
        duration_s=None,
        deliveries=tuple(d for d in record.deliveries if d.unfinished),
        alerts=tuple(d for d in record.alerts if d.unfinished),
    )
    return replace(again, live=tuple(live.begun(again, m.target, now, m.posted) for m in record.live))


def _told_at_the_end(news: Iterable[Tracking], rules: Rules) -> Iterator[str]:
    """Yield the targets that get a closing message: those that were told, or are to be told, about any new member."""
    own = [d for member in news for d in member.deliveries if d.run == member.run]
    waiting = {d.target for d in own if d.last_error == TOLD_WITH_GROUP}
    told = {d.target for d in own if d.state is not DeliveryState.SKIPPED}
    for name in (*rules, *sorted(waiting.difference(rules))):
        if name in waiting or (name in told and rules[name].groups != audience.EACH):
            yield name


def _ids(members: Iterable[Tracking], target: str, rules: Rules) -> tuple[str, ...]:
    """Return the members that the target is told about, or was told about by earlier rules."""
    told = (member for member in members if audience.is_told(member, target, rules) or _reaches(member, target))
    return tuple(member.id for member in told)


def _reaches(member: Tracking, target: str) -> bool:
    own = (d for d in member.deliveries if (d.target, d.run) == (target, member.run))
    return any(d.state is not DeliveryState.SKIPPED or d.last_error == TOLD_WITH_GROUP for d in own)


def _followed(record: Tracking, members: Sequence[Tracking], rules: Rules, now: datetime) -> Tracking:
    """Plan the edits of live messages. They begin when a member's first look was answered."""
    messages = []
    for name in (name for name, rule in rules.items() if rule.live and rule.groups != audience.EACH):
        ids = set(_ids(members, name, rules))
        mine = [member for member in members if member.id in ids]
        known = next((m for m in record.live if m.target == name), None)
        if known is None and any(m.operation is not None and m.ended_at is None for m in mine):
            older = (m.posted for member in mine for m in member.live if m.target == name and m.posted)
            known = live.begun(record, name, now, next(older, None))  # an older version has posted it
        elif known is not None and (shown := progress.compose(record.app, members, ids, now)) is not None:
            known = live.hurried(known, shown, now)
        messages += [known] if known is not None else []
    return replace(record, live=tuple(messages))


def _finished_live(record: Tracking, now: datetime) -> Tracking:
    """Leave the live messages to the closing deliveries. Where there is none, plan the last edit."""
    told = {d.target for d in record.deliveries if d.run == record.run}
    after = live.left_to_deliveries(record)
    both = zip(after.live, record.live, strict=True)
    return replace(after, live=tuple(m if m.target in told else live.last_edit(old, now) for m, old in both))
