"""The live message that shows a target all members of a group. Pure.

The message has no record of its own. Each member's record holds its place and what it showed when it was last written
for that member (`LiveMessage`); the newest counts. The writer reads all members first, and holds a lease until the new
state is recorded.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from operations.model import Delivery, DeliveryState, LiveMessage, State, Tracking, Verdict
from operations.telling import audience, groups, live
from operations.telling.audience import Rules
from operations.telling.groups import Group
from operations.telling.live import REFRESH_EVERY_S, Written, live_id
from operations.telling.progress import Progress, progress_of

AGAIN_S = 60.0
"""How often the message is checked for a member that has ended, while the group is not final."""

AGAIN_FOR = timedelta(hours=1)
"""For how long it is checked. After that, only unfinished members update the message."""

ALONE_AFTER = timedelta(minutes=1)
"""After waiting so long for the group's lease, an outcome is told in a message of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMessage:
    """The content of a group's message at `now`. `group` has only the members that the target is told about.

    `digest` changes with everything but the running time. If `over`, the message has no news, and is not posted again
    when it is gone.
    """

    group: Group
    now: datetime
    digest: str = ""
    over: bool = False

    @property
    def alone(self) -> Tracking | None:
        """The only member, if no other is expected. It is shown as if it had no group."""
        return self.group.members[0] if max(len(self.group.members), self.group.size or 1) == 1 else None

    @property
    def context(self) -> dict[str, str]:
        """The entries that all members' contexts share."""
        first, *others = (member.context for member in self.group.members)
        return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}

    def progress(self, member: Tracking) -> Progress:
        """Return a member's progress."""
        return progress_of(member, LiveMessage(target="", run=member.run), self.now)


@dataclass(frozen=True, slots=True)
class GroupShown:
    """The group's message just written: where it is, and the group that it shows."""

    written: Written
    group: Group


def compose(
    mine: Tracking, members: Iterable[Tracking], target: str, rules: Rules, now: datetime, *, telling: bool = False
) -> GroupMessage | None:
    """Compose the target's message about `mine` and the other members. None if `mine` is not a member.

    `telling`: the message tells an outcome. Members that the target is not told about are left out; the size is then
    unknown.
    """
    there = list(members)
    shown = [member for member in there if target in audience.live(member, rules)]
    if mine.group is None or mine.id not in {member.id for member in shown}:
        return None
    if len(shown) < len(there):
        shown = [replace(member, group_size=None) for member in shown]
    group = groups.summarize(mine.group, shown, now)
    made = GroupMessage(group=group, now=now, over=group.final and not telling)
    return replace(made, digest=_digest(made))


def _digest(shown: GroupMessage) -> str:
    group = shown.group
    states = [(m.id, m.run, m.state, shown.progress(m).digest if m.ended_at is None else "") for m in group.members]
    said = states if shown.alone else (group.name, group.state, group.size, group.reopened_at, states)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def last_written(shown: GroupMessage, target: str) -> LiveMessage | None:
    """Find the newest state of the message among all members."""
    known = (m for member in shown.group.members for m in member.live if m.target == target)
    return max(
        (m for m in known if m.posted is not None and m.group_digest is not None and m.shown_at is not None),
        key=lambda m: (m.shown_at, m.posted and m.posted.ts),
        default=None,
    )


def has_called(group: Group, mine: Tracking, target: str) -> bool:
    """Tell whether the target was mentioned for another member that went wrong: once for each group is enough."""
    told = (d for member in group.members if member.id != mine.id for d in member.deliveries if d.run == member.run)
    wrong = (d for d in told if d.target == target and d.verdict is not Verdict.SUCCEEDED)
    return any(d.state is DeliveryState.DELIVERED for d in wrong)


def up_to_date(shown: GroupMessage, there: LiveMessage | None) -> bool:
    """Tell whether the message shows `shown`, with a recent running time."""
    if there is None or there.shown_at is None or there.group_digest != shown.digest:
        return False
    over = not any(member.state is State.TRACKING for member in shown.group.members)
    return over or shown.now - there.shown_at < timedelta(seconds=REFRESH_EVERY_S)


def passed_over(
    tracking: Tracking, message: LiveMessage, shown: GroupMessage, there: LiveMessage, messages: int
) -> Tracking | None:
    """Record the group's current message for a member, without an edit. None if the member's has changed since."""
    if message not in tracking.live or there.posted is None:
        return None
    refresh_s = max(REFRESH_EVERY_S, float(messages * live.EDIT_EVERY_S))
    after = replace(
        message,
        posted=there.posted,
        group_digest=there.group_digest,
        shows=progress_of(tracking, message, shown.now).digest,
        shown_at=there.shown_at,
        due_at=None if tracking.state is State.CANCELLED else shown.now + timedelta(seconds=refresh_s),
        claim=None,
        failures=0,
    )
    changed = replace(tracking, live=tuple(after if m == message else m for m in tracking.live))
    return kept(changed, message.id, shown.group, shown.now)


def told(tracking: Tracking, delivery: Delivery, shown: GroupShown, now: datetime) -> Tracking:
    """Record the message that told this outcome, and plan checks until the group is final."""
    written = shown.written
    known = next((m for m in tracking.live if (m.target, m.run) == (delivery.target, delivery.run)), None)
    message = known or LiveMessage(
        id=live_id(tracking, delivery.target, delivery.run), target=delivery.target, run=delivery.run
    )
    after = replace(
        message, posted=written.posted, group_digest=written.group_digest, shows=written.shows, shown_at=now
    )
    others = tuple(m for m in tracking.live if m is not known)
    return kept(replace(tracking, live=(*others, after)), message.id, shown.group, now)


def kept(tracking: Tracking, message_id: str, group: Group | None, now: datetime) -> Tracking:
    """Plan the next check of the message for a member that has ended. `group` is what the message shows."""
    if tracking.ended_at is None:
        return tracking
    due_at: datetime | None = now + timedelta(seconds=AGAIN_S)
    if group is not None and group.settles_at is not None:
        due_at = max(group.settles_at, now)
    if (group is not None and group.final) or now - tracking.ended_at >= AGAIN_FOR:
        due_at = None
    return replace(
        tracking,
        live=tuple(
            replace(m, due_at=due_at) if m.id == message_id and m.run == tracking.run else m for m in tracking.live
        ),
    )
