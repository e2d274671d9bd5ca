"""The words for groups, the same in every kind. Pure."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from notifiers import wording
from notifiers.time_wording import duration
from operations.model import State, Tracking
from operations.telling.groups import WORST_FIRST, Group


def headline(group: Group, now: datetime) -> tuple[str, str]:
    """Write the group's state, as (short, detail): the verdict if it is final, else how many have ended."""
    there = len(group.members)
    ended, expected = there - group.counts[State.TRACKING], max(there, group.size or 0)
    detail = f" ({tally(group.members)})" if ended else ""
    if group.final:
        return f"{wording.WORDS[group.state]} after {duration(group.duration_s)}", detail
    detail = f" after {duration((now - group.created_at).total_seconds())}{detail}"
    if expected > there:
        detail += f", {expected - there} not begun"
    if group.reopened_at is not None:
        late = next(member for member in group.members if member.created_at == group.reopened_at)
        detail += f", reopened by {late.app}"
    return f"{ended} of {expected} ended", detail


def tally(members: Iterable[Tracking]) -> str:
    """Count the members by state: `1 failed, 2 succeeded`."""
    counts = Counter(member.state for member in members)
    order = (*WORST_FIRST, State.TRACKING)
    return ", ".join(f"{counts[state]} {wording.WORDS[state]}" for state in order if counts[state])
