"""The words for groups, the same in every kind. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from math import inf

from notifiers import progress_wording, wording
from notifiers.context_wording import GROUP_LIMIT, PLAIN, Markup
from notifiers.time_wording import duration
from operations.model import State, Tracking
from operations.telling.announcement import announce
from operations.telling.groups import WORST_FIRST, Group
from operations.telling.progress import GroupMessage
from operations.text import first_line, plain

MOST_LINES = 30
"""How many members have a line of their own; and how many names stand in one line."""

CAUSE_LIMIT = 120  # characters
_NAMES_LIMIT = 500


def line(shown: GroupMessage, markup: Markup = PLAIN) -> str:
    """Write the group's headline without the emoji: `build 1742: failed after 58 s (1 failed, 1 succeeded)`."""
    short, detail = headline(shown.group, shown.now, markup.safe)
    return f"{markup.strong(name(shown, markup.safe))}: {markup.strong(short)}{detail}"


def name(shown: GroupMessage, safe: Callable[[str], str] = str) -> str:
    """Name the group, in one short line, and the environment that all members share: `build 1742 (production)`.

    `safe` escapes each of them.
    """
    name, shared = first_line(plain(shown.group.name), GROUP_LIMIT), wording.environment(shown.context)
    return f"{safe(name)} ({safe(shared)})" if shared else safe(name)


def headline(group: Group, now: datetime, safe: Callable[[str], str] = str) -> tuple[str, str]:
    """Write the group's state, as (short, detail): the verdict if it is final, else how many have ended."""
    there = len(group.members)
    ended, expected = there - group.counts[State.TRACKING], max(there, group.size or 0)
    detail = f" ({tally(group.members)})" if ended else ""
    missing = f", {expected - there} not begun" if expected > there else ""
    if group.final:
        return f"{wording.WORDS[group.state]} after {duration(group.duration_s)}", detail + missing
    detail = f" after {duration((now - group.created_at).total_seconds())}{detail}{missing}"
    if group.reopened_at is not None:
        late = next(member for member in group.members if member.created_at == group.reopened_at)
        detail += f", reopened by {safe(late.app)}"
    return f"{ended} of {expected} ended", detail


def tally(members: Iterable[Tracking]) -> str:
    """Count the members by state: `1 failed, 2 succeeded`."""
    counts = Counter(member.state for member in members)
    order = (*WORST_FIRST, State.TRACKING)
    return ", ".join(f"{counts[state]} {wording.WORDS[state]}" for state in order if counts[state])


def members(shown: GroupMessage, markup: Markup = PLAIN) -> Iterator[tuple[str, str]]:
    """Yield the line of each member that has one, the worst first, and the first line of its cause (maybe empty)."""
    for member in shown.one_by_one[:MOST_LINES]:
        told = replace(member, context=_own_context(shown, member))
        if member.state is State.TRACKING:
            progress = shown.progress(told)
            unseen = f", {wording.ALERT_MARK} last look failed" if progress.trouble is not None else ""
            yield progress_wording.line(progress, markup) + unseen, ""
        else:
            outcome = announce(told)
            yield wording.outcome(outcome, markup), wording.short_cause(outcome, CAUSE_LIMIT)


def _own_context(shown: GroupMessage, member: Tracking) -> dict[str, str]:
    """Return a member's context, without the environment if the group's headline names it."""
    return {} if "environment" in shown.context else member.context


def together(shown: GroupMessage, told: int, safe: Callable[[str], str] = str) -> Iterator[str]:
    """Yield the lines for all other members, after `told` that have a line: `✅ 3 succeeded: shop, blog, api`.

    `safe` escapes a name.
    """
    if rest := shown.one_by_one[told:]:
        yield f"and {len(rest)} more: {tally(rest)}"
    for state in (State.CANCELLED, State.SUCCEEDED):
        there = (member for member in shown.group.members if member.state is state)
        names = [_member(shown, each, safe) for each in there]
        if names:
            yield f"{wording.MARKS[state]} {len(names)} {wording.WORDS[state]}: {_listed(names)}"


def lines(shown: GroupMessage, markup: Markup = PLAIN, room: float = inf) -> Iterator[str]:
    """Write all members: a line with its cause for each that went wrong, in `room` bytes, and lines for the others."""
    told = 0
    for line, cause in members(shown, markup):
        said = f"{line}: {markup.code(cause)}" if cause else line
        room -= wording.size_bytes(said) + 1
        if room < 0:
            break
        told += 1
        yield said
    yield from together(shown, told, markup.safe)


def _member(shown: GroupMessage, member: Tracking, safe: Callable[[str], str]) -> str:
    """Name a member in a list: `shop`, `shop (agency)`, `shop (again after 2 failures)`, `jobs (one-off started)`."""
    told, more = replace(shown.progress(member), context=_own_context(shown, member)), ""
    if member.state is State.SUCCEEDED:
        started = told.type == wording.ONE_OFF
        more = "one-off started" if started else wording.again(member.failures_in_a_row or 0)
    added = ", ".join([*map(safe, wording.places(told)), *filter(None, [more])])
    return f"{safe(told.app)} ({added})" if added else safe(told.app)


def _listed(names: Iterable[str]) -> str:
    """List names, each once, as far as there is room."""
    counts = Counter(names)
    shown, room = list[str](), _NAMES_LIMIT
    for each, count in counts.items():
        said = f"{each} ×{count}" if count > 1 else each  # noqa: RUF001 - a sign of multiplication
        room -= len(said) + 2
        if room < 0:
            break
        shown.append(said)
    more = len(counts) - len(shown)
    return ", ".join([*shown, f"and {more} more"] if more else shown)
