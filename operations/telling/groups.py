"""Several operations of one deploy as one: a state for all of them, which ends as the worst of theirs. Pure.

A group is nothing but its members: whatever is said of it is computed from their records, so it can disagree with none.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from operations.model import EARLIEST, LATEST, State, Tracking

SETTLE = timedelta(seconds=15)
"""How long after its last end a group of unknown size waits for another member.

It counts from the end, not from the joining, since a script may wait for a restart's end before it scales.
"""

LARGEST = 1_000
"""How many members count: the newest, should more bear the name. `group_size` may not be larger."""

WORST_FIRST = (State.FAILED, State.LOST, State.TIMED_OUT, State.CANCELLED, State.SUCCEEDED)
"""What a group ends as: the first of these that a member has.

`failed` is the only one that is known to be bad. Of what is `lost` nothing more will be known, what `timed_out` may
yet end well. A member that somebody cancelled has ended, and is no failure; but nobody knows how it went, so that
the whole cannot be said to have succeeded.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The operations that bear one name, in order of joining, and where they stand together.

    `state` is `tracking` until the group is final. `size` is how many members there will be, where one said so.
    `settles_at` is when it becomes final if no other joins; None while one is unfinished or still expected, and once it
    is final. `reopened_at` is when a member last joined what had been final.
    """

    name: str
    members: tuple[Tracking, ...]
    size: int | None
    state: State
    settles_at: datetime | None
    ended_at: datetime | None
    reopened_at: datetime | None

    @property
    def final(self) -> bool:
        """Whether all is over, as far as anybody can know."""
        return self.state is not State.TRACKING

    @property
    def created_at(self) -> datetime:
        """When the first member joined."""
        return self.members[0].created_at

    @property
    def duration_s(self) -> float | None:
        """How long it took from the first joining to the last end, once it is final."""
        return None if self.ended_at is None else round((self.ended_at - self.created_at).total_seconds(), 3)

    @property
    def counts(self) -> dict[State, int]:
        """How many members are in each state; every state is there."""
        there = Counter(member.state for member in self.members)
        return {state: there[state] for state in State}

    def most_telling(self, count: int) -> tuple[Tracking, ...]:
        """Choose so many members, those that went worst before the unfinished and these before the rest; in order."""
        order = {state: place for place, state in enumerate((*WORST_FIRST[:3], State.TRACKING, *WORST_FIRST[3:]))}
        chosen = sorted(range(len(self.members)), key=lambda at: (order[self.members[at].state], at))[:count]
        return tuple(self.members[at] for at in sorted(chosen))


@dataclass(frozen=True, slots=True)
class _Known:
    """What counts of the members that have joined so far."""

    count: int = 0
    last_end: datetime = EARLIEST  # LATEST while one is unfinished
    size: int | None = None

    def joined_by(self, member: Tracking) -> "_Known":
        """Count one more; where members name several sizes, the largest counts."""
        end = member.ended_at if member.state is not State.TRACKING else None
        sizes = [size for size in (self.size, member.group_size) if size is not None]
        return _Known(self.count + 1, max(self.last_end, end or LATEST), max(sizes, default=None))

    @property
    def final_from(self) -> datetime | None:
        """From when on these are a final group if no other joins; None while one is unfinished or expected."""
        if self.count == 0 or self.last_end == LATEST or self.count < (self.size or 0):
            return None
        return self.last_end if self.size is not None else self.last_end + SETTLE


def of(name: str, members: Iterable[Tracking], now: datetime) -> Group:
    """Say where the members, of which there is at least one, stand together; the order they are given in is nothing."""
    ordered = sorted(members, key=lambda member: (member.created_at, member.id))
    known, reopened_at = _Known(), None
    for member in ordered:
        if known.final_from is not None and known.final_from <= member.created_at:
            reopened_at = member.created_at
        known = known.joined_by(member)
    final_from = known.final_from
    # An end may have been written by a clock that is milliseconds ahead of ours: ask ours only whether a wait is over.
    final = final_from is not None and (known.size is not None or final_from <= now)
    return Group(
        name=name,
        members=tuple(ordered),
        size=known.size,
        state=_worst(ordered) if final else State.TRACKING,
        settles_at=None if final else final_from,
        ended_at=known.last_end if final else None,
        reopened_at=reopened_at,
    )


def _worst(ended: Iterable[Tracking]) -> State:
    there = {member.state for member in ended}
    return next(state for state in WORST_FIRST if state in there)
