"""What a target is shown of a group: the members that it is told about. Pure."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from operations.model import LiveMessage, State, Tracking
from operations.telling import groups
from operations.telling.groups import Group
from operations.telling.progress import Progress, progress_of


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMessage:
    """The content of a group's message at `now`. `group` has only the members that the target is told about."""

    group: Group
    now: datetime

    @property
    def over(self) -> bool:
        """Whether all has ended: if the message is gone, it is not posted again."""
        return self.group.final

    @property
    def age_s(self) -> float:
        """How long the group has been running."""
        return (self.now - self.group.created_at).total_seconds()

    @property
    def status(self) -> str:
        """The joint state, for the log."""
        return self.group.state.value

    @property
    def digest(self) -> str:
        """A digest that changes with everything but the running time."""
        group = self.group
        each = [(m.id, m.run, m.state, self.progress(m).digest if m.ended_at is None else "") for m in group.members]
        said = repr((group.state, group.size, group.reopened_at, each))
        return hashlib.sha256(said.encode(errors="surrogatepass")).hexdigest()[:16]

    @property
    def context(self) -> dict[str, str]:
        """The entries that all members' contexts share."""
        first, *others = (member.context for member in self.group.members)
        return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}

    @property
    def one_by_one(self) -> tuple[Tracking, ...]:
        """The members with a line of their own: those that went wrong, the worst first, and the unfinished ones."""
        together = (State.SUCCEEDED, State.CANCELLED)
        return tuple(member for member in self.group.worst_first if member.state not in together)

    def progress(self, member: Tracking) -> Progress:
        """Return a member's progress."""
        return progress_of(member, LiveMessage(target="", run=member.run), self.now)


def compose(name: str, members: Iterable[Tracking], shown: Iterable[str], now: datetime) -> GroupMessage | None:
    """Compose the message about those members whose ids are `shown`; None without any.

    It is final when the whole group is. If others are left out, its size is unknown until then.
    """
    there, wanted = list(members), set(shown)
    mine = [member for member in there if member.id in wanted]
    if not mine:
        return None
    group = whole = groups.summarize(name, there, now)
    if len(mine) < len(there):
        size = len(mine) if whole.final else None
        group = groups.summarize(name, [replace(member, group_size=size) for member in mine], now)
    if not whole.final:
        group = replace(group, state=State.TRACKING, ended_at=None, settles_at=whole.settles_at)
    return GroupMessage(group=group, now=now)
