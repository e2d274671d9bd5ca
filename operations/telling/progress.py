"""What live messages and one-line answers show: the progress of an operation, and of a group. Pure."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from operations.kind import NO_LINKS, Kind, Links
from operations.model import LiveMessage, State, Tracking, Usual
from operations.telling import groups
from operations.telling.groups import Group

TROUBLE_AFTER = timedelta(seconds=30)  # if the API has not answered for this long, the message says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a live message shows of an operation in flight, perhaps not begun yet (`waiting`), or cancelled (`over`).

    `age_s` is its running time so far, `trouble` the error if looks fail.
    """

    app: str
    type: str | None
    status: str
    age_s: float
    usual: Usual | None = None
    trouble: str | None = None
    slow: bool = False
    over: bool = False
    context: dict[str, str] = field(default_factory=dict)
    kind: Kind = Kind.OPERATION
    waiting: bool = False
    links: Links = NO_LINKS
    group: str | None = None
    place: str = ""

    @property
    def digest(self) -> str:
        """A digest that changes with everything but the running time."""
        return _digest(replace(self, age_s=0.0))


def progress_of(tracking: Tracking, message: LiveMessage | None, now: datetime) -> Progress:
    """Return what a message has to show now; without a message, the progress of the current run."""
    operation, unanswered = tracking.operation, tracking.unanswered_since
    silent = unanswered is not None and (tracking.last_polled_at or now) - unanswered >= TROUBLE_AFTER
    return Progress(
        app=tracking.app,
        type=operation.type if operation is not None else None,
        status=operation.status if operation is not None else "",
        age_s=tracking.age_s(tracking.ended_at or now),
        usual=tracking.usual,
        trouble=tracking.last_error if silent else None,
        slow=tracking.slow is not None,
        over=tracking.state is State.CANCELLED or (message is not None and tracking.run != message.run),
        context=tracking.context,
        kind=tracking.kind,
        waiting=operation is not None and operation.waiting,
        links=tracking.links,
        group=tracking.group,
        place=tracking.place,
    )


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
        return _digest((group.state, group.size, group.reopened_at, each))

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
        return progress_of(member, None, self.now)


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
        group = replace(group, state=State.TRACKING, ended_at=None, final_from=whole.final_from)
    return GroupMessage(group=group, now=now)


def _digest(said: object) -> str:
    return hashlib.sha256(repr(said).encode(errors="surrogatepass")).hexdigest()[:16]
