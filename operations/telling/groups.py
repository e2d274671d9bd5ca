"""The joint state of the operations of one deploy: in the end, the worst of theirs. Pure.

It is computed from the members' records, so it cannot contradict them.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from operations.history import EARLIEST, LATEST
from operations.model import State, Tracking

SETTLE = timedelta(seconds=15)
"""How long a group of unknown size waits for another member after the last end.

It counts from the end, since a script may wait for a restart to end before it scales.
"""

WAIT_FOR_MORE = timedelta(hours=1)
"""How long a group waits, after the last end, for members that its size promises. Then it is final without them."""

LARGEST = 1_000
"""The maximum number of members. If more have the same `group`, the newest count."""

WORST_FIRST = (State.FAILED, State.LOST, State.TIMED_OUT, State.CANCELLED, State.SUCCEEDED)
"""The final state of a group is the first of these that a member has.

Only `failed` is known to be bad. Nothing more will be known of a `lost` member, and a `timed_out` one may still
succeed. A `cancelled` member is not a failure, but its result is unknown, so the group has not `succeeded`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The operations with the same `group`, in order of joining, and their joint state.

    `state` is `tracking` until the group is final. `size` is the expected number of members, if one named it.
    `final_from` is when the group is final if no other joins; None while one is unfinished. `reopened_at` is when an
    operation last joined a final group.
    """

    name: str
    members: tuple[Tracking, ...]
    size: int | None
    state: State
    final_from: datetime | None
    ended_at: datetime | None
    reopened_at: datetime | None

    @property
    def final(self) -> bool:
        """Whether all members have ended and no other is expected."""
        return self.state is not State.TRACKING

    @property
    def settles_at(self) -> datetime | None:
        """When it becomes final if no other joins; None while one is unfinished or expected, and once it is final."""
        return None if self.final or self.size is not None else self.final_from

    @property
    def created_at(self) -> datetime:
        """When the first member joined."""
        return self.members[0].created_at

    @property
    def duration_s(self) -> float | None:
        """Seconds from the first joining to the last end, once the group is final."""
        return None if self.ended_at is None else round((self.ended_at - self.created_at).total_seconds(), 3)

    @property
    def counts(self) -> dict[State, int]:
        """How many members are in each state; every state has an entry."""
        there = Counter(member.state for member in self.members)
        return {state: there[state] for state in State}

    def most_telling(self, count: int) -> tuple[Tracking, ...]:
        """Choose `count` members: the worst, then unfinished ones, then the rest. They are in order of joining."""
        chosen = {member.id for member in self.worst_first[:count]}
        return tuple(member for member in self.members if member.id in chosen)

    @property
    def worst_first(self) -> tuple[Tracking, ...]:
        """The members: the worst, then unfinished ones, then the rest; those in the same state in order of joining."""
        order = (*WORST_FIRST[:3], State.TRACKING, *WORST_FIRST[3:])
        return tuple(sorted(self.members, key=lambda member: order.index(member.state)))


def summarize(name: str, members: Iterable[Tracking], now: datetime) -> Group:
    """Compute the joint state of at least one member, given in any order."""
    ordered = sorted(members, key=lambda member: (member.created_at, member.id))
    size: int | None = None
    last_end, wait = EARLIEST, SETTLE
    final_from: datetime | None = None  # when the members so far become a final group if no other joins
    reopened_at = None
    for count, member in enumerate(ordered, start=1):
        if final_from is not None and final_from <= member.created_at:
            reopened_at = member.created_at
        last_end = max(last_end, (None if member.state is State.TRACKING else member.ended_at) or LATEST)
        size = max(size or 0, member.group_size or 0) or None  # if members name different sizes, the largest counts
        wait = SETTLE if size is None else timedelta() if count >= size else WAIT_FOR_MORE
        final_from = None if last_end == LATEST else last_end + wait
    # Ends may be written by a clock that is milliseconds ahead of ours, so compare with `now` only if a wait is needed.
    final = final_from is not None and (not wait or final_from <= now)
    return Group(
        name=name,
        members=tuple(ordered),
        size=size,
        state=_worst(ordered) if final else State.TRACKING,
        final_from=final_from,
        ended_at=last_end if final else None,
        reopened_at=reopened_at,
    )


def _worst(ended: Iterable[Tracking]) -> State:
    there = {member.state for member in ended}
    return next(state for state in WORST_FIRST if state in there)
