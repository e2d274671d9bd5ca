"""Groups as the page shows them: one card each. Pure, except for `Fold`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from api.service import Service
from notifiers.time_wording import duration
from notifiers.wording import WORDS
from operations.model import WENT_WRONG, State, Tracking
from operations.storage import index
from operations.telling import groups
from operations.telling.groups import WORST_FIRST, Group
from operations.text import plain
from page import view
from page.view import Card

SHOWN_IN_CARD = 3
MOST_READ = 300
"""How many members are read for all cards of a page: it refreshes often. Larger groups are shown member by member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCard:
    """A group: `value` of `total` members have ended; `wrong` are the first that went wrong, the worst first."""

    id: str
    name: str
    status: str
    mood: str
    line: str
    tally: str
    value: int
    total: int
    began_at: datetime
    ended_at: datetime | None
    running: bool
    wrong: tuple[Card, ...]
    more_wrong: int

    @property
    def headline(self) -> str:
        """Write its state in one line, for screen readers."""
        return f"group {self.name}: {self.line}, {self.tally}"


def card(group: Group, now: datetime) -> GroupCard:
    """Describe a group."""
    counts, total = group.counts, max(len(group.members), group.size or 0)
    ended = len(group.members) - counts[State.TRACKING]
    wrong = [member for member in group.worst_first if member.state in WENT_WRONG]
    return GroupCard(
        id="group-" + sha256(group.name.encode("utf-8", "replace")).hexdigest()[:16],
        name=plain(group.name),
        status=WORDS[group.state],
        mood="odd" if wrong and not group.final else view.mood_of(group.state),
        line=_line(group, ended, total, now),
        tally=", ".join(f"{counts[state]} {WORDS[state]}" for state in (*WORST_FIRST, State.TRACKING) if counts[state]),
        value=ended,
        total=total,
        began_at=group.created_at,
        ended_at=group.ended_at,
        running=not group.final,
        wrong=tuple(view.card(member, now) for member in wrong[:SHOWN_IN_CARD]),
        more_wrong=max(0, len(wrong) - SHOWN_IN_CARD),
    )


def _line(group: Group, ended: int, total: int, now: datetime) -> str:
    if group.final:
        return f"{WORDS[group.state]} after {duration(group.duration_s)}"
    age = duration((now - group.created_at).total_seconds())
    waits = ", waits for more" if group.settles_at is not None else ""
    return f"{ended} of {total} ended after {age}{waits}"


class Fold:
    """Shows the members of a group as one card, where the first of them would stand. Raises redis.RedisError."""

    def __init__(self, parts: Service) -> None:
        self._parts = parts
        self._known: dict[str, Group | None] = {}
        self._shown: set[str] = set()
        self._read = 0

    def shows(self, tracking: Tracking) -> bool:
        """Tell whether to show this one: not if its group has a card already."""
        name = tracking.group
        if name is None or self._group(name) is None:
            return True
        is_first = name not in self._shown
        self._shown.add(name)
        return is_first

    def cards(self, trackings: Iterable[Tracking], now: datetime) -> list[Card | GroupCard]:
        """Describe those that are shown."""
        found = ((each, self._known.get(each.group or "")) for each in trackings)
        return [card(group, now) if group is not None else view.card(each, now) for each, group in found]

    def _group(self, name: str) -> Group | None:
        if name not in self._known:
            size = self._parts.overview.size(index.group_key(name))
            fits = 1 < size <= MOST_READ - self._read
            members = self._parts.records.group(name) if fits else []
            self._read += len(members)
            known = len(members) > 1
            self._known[name] = groups.summarize(name, members, self._parts.records.now()) if known else None
        return self._known[name]
