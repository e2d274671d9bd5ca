"""What glances have shown, and how often they were right, in Redis: shared by all workers, and never needed.

If it is lost, looks go on as without glances.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import redis

from operations.model import Operation, Tracking
from operations.storage.clock import from_milliseconds, milliseconds
from operations.storage.index import COUNTERS, ChangeKind, IndexChange, added
from operations.watching import glances
from operations.watching.glances import EVIDENCE_KEPT, TRUSTED_FOR, Hint, Sight, Source, Trust, Word
from operations.watching.pace import SET_BACK

GLANCE, EVIDENCE = "opwatch:glance", "opwatch:glance-evidence"
KEPT_FOR_S = 7200
SHORTEST_REST, LONGEST_REST = timedelta(seconds=30), timedelta(hours=1)
"""How long glances of an account rest after one that failed; each further failure doubles it."""

BYTES_OF_A_REQUEST = 200_000
"""A glance of so many bytes costs as much as one request more."""


class Place(NamedTuple):
    """An account, a region and a list: what one glance shows."""

    account: str
    region: str
    source: Source = Source.APPS

    def __str__(self) -> str:
        """Name it in keys."""
        return ":".join(self if self.source is not Source.APPS else self[:2])


@dataclass(frozen=True, slots=True)
class Glanced:
    """What is known of a place: the last glance, its cost in requests, and until when glances rest."""

    sights: dict[str, Sight] = field(default_factory=dict)
    at: datetime | None = None
    cost: float = 1.0
    failures: int = 0
    rests_until: datetime | None = None

    def failed(self, now: datetime) -> "Glanced":
        """Let glances rest: longer after each failure."""
        rest = min(LONGEST_REST, SHORTEST_REST * 2 ** min(self.failures, 10))
        return Glanced(self.sights, self.at, self.cost, self.failures + 1, now + rest)


class Known(NamedTuple):
    """What glances of a place have shown, and how far they are trusted."""

    glanced: Glanced
    trust: Trust

    def may_glance(self, now: datetime) -> bool:
        """Tell whether glances do not rest. None rests longer than LONGEST_REST: else the clock was set back."""
        until = self.glanced.rests_until
        return until is None or not now < until <= now + LONGEST_REST

    def hint(self, tracking: Tracking, *, is_newest: bool) -> Hint:
        """Say what the glances mean for a tracking; see watching/glances.py."""
        sight = self.glanced.sights.get(glances.name_of(tracking))
        glanced_at = self.glanced.at or tracking.created_at
        return glances.hint(tracking, sight, glanced_at, self.trust, is_newest=is_newest)


_NOTHING = Glanced()


class Glances:
    """Reads and stores what glances show. Raises redis.RedisError if Redis is away."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._parsed: dict[Place, tuple[tuple[Any, ...], Known]] = {}

    def read(self, places: Iterable[Place], now: datetime) -> dict[Place, Known]:
        """Read what is known of these places, in one round trip. What did not change is not parsed again."""
        wanted, parsed = list(dict.fromkeys(places)), {}
        pipe = self._redis.pipeline(transaction=False)
        for place in wanted:
            pipe.get(f"{GLANCE}:{place}")
            pipe.lrange(f"{EVIDENCE}:{place}", 0, EVIDENCE_KEPT - 1)
        answers = iter(pipe.execute(raise_on_error=False) if wanted else ())
        since_ms = milliseconds(now - TRUSTED_FOR)
        for place in wanted:
            raw = (next(answers), next(answers), since_ms // 60_000)  # evidence grows too old
            before = self._parsed.get(place)
            known = before if before is not None and before[0] == raw else (raw, _parse(raw[0], raw[1], since_ms))
            parsed[place] = known
        self._parsed |= parsed  # as many as there are accounts and regions in the settings
        return {place: _of_the_past(known, now) for place, (_, known) in parsed.items()}

    def save(self, place: Place, glanced: Glanced, counts: Mapping[str, int]) -> None:
        """Store what is known of a place now, and count results: `answered`, `failed`, or how many were `revealed`."""
        apps = {name: [s.status, _ms(s.busy_at), _ms(s.idle_since)] for name, s in glanced.sights.items()}
        document = {
            "at": _ms(glanced.at),
            "cost": glanced.cost,
            "failures": glanced.failures,
            "rests_until": _ms(glanced.rests_until),
            "apps": apps,
        }
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(f"{GLANCE}:{place}", json.dumps(document, separators=(",", ":")), ex=KEPT_FOR_S)
        for result, count in counts.items():
            pipe.hincrby(COUNTERS, glances_counter(place.account, result), count)
        pipe.execute()


def evidence_changes(tracking: Tracking, hint: Hint, seen: Operation, now: datetime) -> list[IndexChange]:
    """List what to store with a look about the glance before it: evidence for its trust, and counts."""
    changes = []
    for word, right in glances.evidence(hint, seen):
        entry = f"{milliseconds(now)} {word} {int(right)} {glances.type_of(tracking)}"
        key = f"{EVIDENCE}:{place_of(tracking)}"
        changes.append(IndexChange(ChangeKind.PUSH, key, entry, EVIDENCE_KEPT))
        changes.append(added(hints_counter(tracking.account, word, right=right)))
    return changes


def hints_counter(account: str, word: Word, *, right: bool) -> str:
    """Return the counter of an account's hints that were right, or wrong."""
    return f"hints:{account}:{word}:{'right' if right else 'wrong'}"


def glances_counter(account: str, result: str) -> str:
    """Return the counter of an account's glances with this result."""
    return f"glances:{account}:{result}"


def place_of(tracking: Tracking) -> Place:
    """Return the place of the glances that show a tracking."""
    return Place(tracking.account, *glances.view_of(tracking))


def _ms(at: datetime | None) -> int:
    return 0 if at is None else milliseconds(at)


def _at(stored_ms: int) -> datetime | None:
    return from_milliseconds(stored_ms) if stored_ms else None


def _sight(status: object, busy_ms: int, idle_ms: int) -> Sight:
    if not isinstance(status, str):
        raise TypeError
    return Sight(status, _at(busy_ms), _at(idle_ms))


def _of_the_past(known: Known, now: datetime) -> Known:
    """Leave out what lies ahead: Redis's clock was set back since."""
    at = known.glanced.at
    return known if at is None or at <= now + SET_BACK else Known(_NOTHING, known.trust)


def _parse(document: Any, entries: Any, since_ms: int) -> Known:
    """Read what was stored; anything else counts as nothing."""
    try:
        read = json.loads(document) if isinstance(document, bytes) else {}
        sights = {name: _sight(*each) for name, each in read["apps"].items()}
        cost, failures = max(1.0, float(read["cost"])), max(0, int(read["failures"]))
        glanced = Glanced(sights, _at(read["at"]), cost, failures, _at(read["rests_until"]))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError, RecursionError):
        glanced = _NOTHING
    return Known(glanced, Trust(_evidence(entries if isinstance(entries, list) else [], since_ms)))


def _evidence(entries: list[bytes], since_ms: int) -> Iterable[tuple[str, Word, bool]]:
    for entry in entries:
        try:
            at_ms, word, right, known_type = entry.decode().split(" ", 3)
            if int(at_ms) >= since_ms:
                yield known_type, Word(word), right == "1"
        except ValueError:
            continue
