"""One message for those members of a group that a target is told of: what it shows, and where it stands. Pure.

It is found through the members' records: each keeps where the message stands and what it showed when it was last
written for this member (`LiveMessage`); the newest counts. So it needs no record of its own, and is forgotten with
them.
Who writes it reads all members first, and lets nobody else do so until it is recorded.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from operations.model import Delivery, LiveMessage, State, Tracking
from operations.telling import audience, groups, live
from operations.telling.audience import Rules
from operations.telling.groups import Group
from operations.telling.live import CALM_S, Progress, Written

AGAIN_S = 60.0
"""How often what has ended has its group's message looked at, while the group is not final."""

AGAIN_FOR = timedelta(hours=1)
"""For how long; after that only those that have not ended keep it up to date."""

ALONE_AFTER = timedelta(minutes=1)
"""After so long an outcome that cannot get hold of its group's message is told in one of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """What there is to show of a group at `now`; `group` is made of the members that the target is told of.

    `digest` stands for all of it but the time that passes. `stopped` says that there is nothing new in it that anybody
    must be told, should the message be gone.
    """

    group: Group
    now: datetime
    digest: str = ""
    stopped: bool = False

    @property
    def alone(self) -> Tracking | None:
        """The only member, where no other is expected: it is shown as if it were in no group."""
        return self.group.members[0] if max(len(self.group.members), self.group.size or 1) == 1 else None

    @property
    def context(self) -> dict[str, str]:
        """Give what all members' contexts have in common."""
        first, *others = (member.context for member in self.group.members)
        return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}

    def progress(self, member: Tracking) -> Progress:
        """Say how a member goes."""
        return live.progress(member, LiveMessage(target="", run=member.run), self.now)


def of(
    mine: Tracking, members: Iterable[Tracking], target: str, rules: Rules, now: datetime, *, telling: bool = False
) -> Together | None:
    """Say what the target is to be shown of `mine` and the others; None where `mine` is not among the members.

    `telling` says that an outcome is to be told by it. Members that are none of the target's business are left out; how
    many there will be of the others nobody has said then.
    """
    there = list(members)
    shown = [member for member in there if target in audience.live(member, rules)]
    if mine.group is None or mine.id not in {member.id for member in shown}:
        return None
    if len(shown) < len(there):
        shown = [replace(member, group_size=None) for member in shown]
    group = groups.of(mine.group, shown, now)
    made = Together(group=group, now=now, stopped=group.final and not telling)
    return replace(made, digest=_digest(made))


def _digest(shown: Together) -> str:
    group = shown.group
    states = [(m.id, m.run, m.state, shown.progress(m).digest if m.ended_at is None else "") for m in group.members]
    said = states if shown.alone else (group.name, group.state, group.size, group.reopened_at, states)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def written(shown: Together, target: str) -> LiveMessage | None:
    """Find the message as it was last written, for whichever member."""
    known = (m for member in shown.group.members for m in member.live if m.target == target)
    return max(
        (m for m in known if m.posted is not None and m.together is not None and m.shown_at is not None),
        key=lambda m: (m.shown_at, m.posted and m.posted.ts),
        default=None,
    )


def up_to_date(shown: Together, there: LiveMessage | None) -> bool:
    """Tell whether the message says it all, and counts the time as exactly as is wanted."""
    if there is None or there.shown_at is None or there.together != shown.digest:
        return False
    over = not any(member.state is State.TRACKING for member in shown.group.members)
    return over or shown.now - there.shown_at < timedelta(seconds=CALM_S)


def passed_over(
    tracking: Tracking, message: LiveMessage, shown: Together, there: LiveMessage, messages: int
) -> Tracking | None:
    """Leave a member's message that was due as the group's is; None when it has changed meanwhile."""
    if message not in tracking.live or there.posted is None:
        return None
    calm_s = max(CALM_S, float(messages * live.EDIT_EVERY_S))
    own = live.progress(tracking, message, shown.now).digest
    due_at = None if tracking.state is State.CANCELLED else shown.now + timedelta(seconds=calm_s)
    after = replace(
        message,
        posted=there.posted,
        together=there.together,
        shows=own,
        shown_at=there.shown_at,
        due_at=due_at,
        claim=None,
        failures=0,
    )
    return kept(_with(tracking, message, after), tracking.live_id(message), shown.group, shown.now)


def told(tracking: Tracking, delivery: Delivery, result: Written, group: Group, now: datetime) -> Tracking:
    """Remember where the message stands that has shown this outcome, and to look at it again until all is over."""
    known = next((m for m in tracking.live if (m.target, m.run) == (delivery.target, delivery.run)), None)
    message = known or LiveMessage(target=delivery.target, run=delivery.run)
    after = replace(message, posted=result.posted, together=result.together, shows=result.shows, shown_at=now)
    others = tuple(m for m in tracking.live if m is not known)
    return kept(replace(tracking, live=(*others, after)), tracking.live_id(message), group, now)


def kept(tracking: Tracking, live_id: str, group: Group | None, now: datetime) -> Tracking:
    """Say when the message is looked at again for the sake of a member that has ended; `group` where it shows that."""
    ended_at = tracking.ended_at
    if ended_at is None:
        return tracking
    due_at: datetime | None = now + timedelta(seconds=AGAIN_S)
    if group is not None and group.settles_at is not None:
        due_at = max(group.settles_at, now)
    if (group is not None and group.final) or now - ended_at >= AGAIN_FOR:
        due_at = None
    return replace(
        tracking,
        live=tuple(
            replace(m, due_at=due_at) if tracking.live_id(m) == live_id and m.run == tracking.run else m
            for m in tracking.live
        ),
    )


def _with(tracking: Tracking, old: LiveMessage, new: LiveMessage) -> Tracking:
    return replace(tracking, live=tuple(new if m == old else m for m in tracking.live))
