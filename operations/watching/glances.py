"""What glances show of operations, and how far that is believed. Pure.

A glance lists the status of every app of an account in one request. "No other operation is doable until the app status
has switched to running again" (https://developers.scalingo.com/operations): so an app that is no longer busy has
probably ended its operation. Another glance lists the newest events, with the status of each deployment. It is a hint,
never a verdict: it only decides what to look at, and when. Whether such hints are right is learned from the looks that
follow, for each type of operation.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from operations.kind import Kind
from operations.model import Operation, Tracking

SHOWS_WITHIN = timedelta(seconds=5)
"""An operation that has just begun may not show yet: from this age on, an idle app is a hint."""

TURNS_WITHIN = timedelta(seconds=3)
"""An app that is still busy so long after its operation's end is an error of the glance."""

PRIOR_RIGHT = 2
"""Without evidence, a hint is taken as right twice as probably as wrong: the API documents it."""

DOUBTED = 0.3
"""Below this probability of being right, a hint counts for nothing."""

BELIEVED = 0.5
"""From this probability on, an operation that has probably ended is looked at before all others."""

TRUSTED_FOR = timedelta(hours=1)
"""Older evidence does not count: so glances that were wrong are tried again."""

EVIDENCE_KEPT = 100


class Source(StrEnum):
    """What a glance lists: an account's apps, or its newest events, which have the status of each deployment."""

    APPS = "apps"
    EVENTS = "events"


class View(NamedTuple):
    """What one glance at an account shows: what of a region."""

    region: str
    source: Source


class Word(StrEnum):
    """What a glance says of an operation: its app is busy, or no longer, or was never seen busy."""

    BUSY = "busy"
    TURNED = "turned"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Status:
    """The status of an app in a glance, and whether an operation keeps it busy; or of a deployment."""

    word: str
    busy: bool


@dataclass(frozen=True, slots=True)
class Sight:
    """What glances have shown of an app or a deployment: when it was last busy, and since when not (None: it is)."""

    status: str
    busy_at: datetime | None = None
    idle_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hint:
    """What glances say of one tracking, and how probably that is right.

    `at` is when it was last seen busy, or since when it has probably been finished. `shows` is the probability that the
    next glance would show an end.
    """

    word: Word | None = None
    at: datetime | None = None
    status: str = ""
    busy_at: datetime | None = None
    trust: float = 0.0
    shows: float = 0.0

    @property
    def reveals(self) -> bool:
        """Whether it says that the operation has ended, and is believed."""
        return self.word in (Word.TURNED, Word.IDLE) and self.trust >= BELIEVED


NO_HINT = Hint()


class Trust:
    """How often glances of one account and region were right: learned from looks, by type and word."""

    def __init__(self, evidence: Iterable[tuple[str, Word, bool]] = ()) -> None:
        self._counts: Counter[tuple[str | None, Word, bool]] = Counter()
        for word_type, word, right in evidence:
            self._counts[word_type, word, right] += 1
            self._counts[None, word, right] += 1  # of all types, for an operation that was not looked at yet

    def of(self, tracking: Tracking, word: Word) -> float:
        """Return the probability that a word about this tracking is right; 0 if it is doubted."""
        known = None if tracking.operation is None else type_of(tracking)
        right, wrong = self._counts[known, word, True], self._counts[known, word, False]
        probable = (right + PRIOR_RIGHT) / (right + wrong + PRIOR_RIGHT + 1)
        return probable if probable >= DOUBTED else 0.0


def type_of(tracking: Tracking) -> str:
    """Name the type that evidence is kept for."""
    word = tracking.operation.type if tracking.operation is not None else None
    return f"{tracking.kind}:{word or ''}"


def view_of(tracking: Tracking) -> View:
    """Return the glance that shows a tracking. A deployment keeps its app busy only at its end, so it has events."""
    return View(tracking.region, Source.EVENTS if tracking.kind is Kind.DEPLOYMENT else Source.APPS)


def name_of(tracking: Tracking) -> str:
    """Return the name under which a glance lists a tracking: its app's, as the API is asked, or a deployment's id."""
    return tracking.operation_id if tracking.kind is Kind.DEPLOYMENT else tracking.app_id or tracking.app


def merged(before: Mapping[str, Sight], seen: Mapping[str, Status], at: datetime) -> dict[str, Sight]:
    """Add a glance to what is known. What it does not list is forgotten."""
    after = {}
    for name, status in seen.items():
        known = before.get(name, Sight(status.word))
        idle = Sight(status.word, busy_at=known.busy_at, idle_since=known.idle_since or at)
        after[name] = Sight(status.word, busy_at=at) if status.busy else idle
    return after


def hint(tracking: Tracking, sight: Sight | None, glanced_at: datetime, trust: Trust, *, is_newest: bool) -> Hint:
    """Say what the glances mean for a tracking. `is_newest`: no later one of the same app is in flight.

    A busy app tells only of the newest one: the API starts no other before the last has ended.
    """
    looked_at = tracking.last_polled_at or tracking.created_at
    busy = trust.of(tracking, Word.BUSY)
    shows = busy * trust.of(tracking, Word.TURNED)
    if sight is None or not is_newest:
        is_listed = glanced_at <= tracking.created_at  # as far as is known
        return Hint(shows=shows if is_newest and is_listed else 0.0)
    if sight.idle_since is None:
        is_news = sight.busy_at is not None and sight.busy_at > looked_at
        known = Hint(Word.BUSY, sight.busy_at, sight.status, sight.busy_at, busy, shows)
        return known if is_news else Hint(busy_at=sight.busy_at, shows=shows)
    if sight.busy_at is not None and sight.busy_at >= tracking.created_at:
        word, since = Word.TURNED, sight.idle_since
    else:
        word, since = Word.IDLE, max(sight.idle_since, tracking.created_at + SHOWS_WITHIN)
    if since > glanced_at:
        return Hint(shows=shows)
    if looked_at >= since and tracking.polls:  # a look has seen it unfinished since: the next glance says no more
        return NO_HINT
    return Hint(word, since, sight.status, sight.busy_at, trust.of(tracking, word))


def evidence(hinted: Hint, seen: Operation) -> list[tuple[Word, bool]]:
    """List what a look says about the hint before it: which words were right, and which wrong."""
    ended, found = seen.outcome is not None, list[tuple[Word, bool]]()
    if hinted.word in (Word.TURNED, Word.IDLE):
        found.append((hinted.word, ended))
    if ended and hinted.busy_at is not None:
        if seen.finished_at is not None and hinted.busy_at > seen.finished_at + TURNS_WITHIN:
            found.append((Word.BUSY, False))
        elif hinted.word is Word.TURNED:
            found.append((Word.BUSY, True))
    return found
