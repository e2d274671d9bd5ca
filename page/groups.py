"""Groups as the page shows them: one card each. Pure, except for `Fold`."""

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256

from api.service import Service
from notifiers.time_wording import duration
from notifiers.wording import WORDS
from operations.model import WENT_WRONG, State, Tracking
from operations.storage import index
from operations.telling import groups
from operations.telling.groups import WORST_FIRST, Group
from page import view
from page.view import Card

SHOWN_IN_CARD = 3
MOST_READ = 300
"""How many members are read for all cards of a page: it refreshes often. Larger groups are shown member by member."""


class GroupCard:
    """A group: `value` of `total` members have ended; `wrong` are the first that went wrong, the worst first."""

    def __init__(self, group: Group, now: datetime) -> None:
        counts = group.counts
        wrong = [member for member in group.worst_first if member.state in WENT_WRONG]
        self.id = "group-" + sha256(group.name.encode("utf-8", "replace")).hexdigest()[:16]
        self.name = group.name
        self.status = WORDS[group.state]
        self.mood = "odd" if wrong and not group.final else view.mood_of(group.state)
        states = (state for state in (*WORST_FIRST, State.TRACKING) if counts[state])
        self.tally = ", ".join(f"{counts[state]} {WORDS[state]}" for state in states)
        self.value = len(group.members) - counts[State.TRACKING]
        self.total = max(len(group.members), group.size or 0)
        self.line = _line(group, self.value, self.total, now)
        self.began_at = group.created_at
        self.ended_at = group.ended_at
        self.running = not group.final
        self.wrong = [Card(member, now) for member in wrong[:SHOWN_IN_CARD]]
        self.more_wrong = max(0, len(wrong) - SHOWN_IN_CARD)

    @property
    def headline(self) -> str:
        """Write its state in one line, for screen readers."""
        return f"group {self.name}: {self.line}, {self.tally}"


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
        return [GroupCard(group, now) if group is not None else Card(each, now) for each, group in found]

    def _group(self, name: str) -> Group | None:
        if name not in self._known:
            size = self._parts.overview.size(index.group_key(name))
            fits = 1 < size <= MOST_READ - self._read
            members = self._parts.records.group(name) if fits else []
            self._read += len(members)
            known = len(members) > 1
            self._known[name] = groups.summarize(name, members, self._parts.records.now()) if known else None
        return self._known[name]
