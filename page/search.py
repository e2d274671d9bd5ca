"""What people search for: the filters in the page's address. Pure."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from notifiers.wording import DELIVERY_WORDS, WORDS, type_name
from operations.kind import Kind
from operations.model import WENT_WRONG, Delivery, State, Tracking
from operations.storage.listing import End
from operations.telling.view import is_named

WRONG = ",".join(WENT_WRONG)
ENDED = ",".join(state for state in State if state is not State.TRACKING)
STATES = {WRONG: "went wrong", ENDED: "ended", **{state.value: word for state, word in WORDS.items()}}
"""The choices of states, and their words. A choice may be several states, separated by commas."""

LONGEST = 200
IN_FLIGHT = "f"
"""Begins the cursor of a page of what is in flight; what has ended follows after it."""

FILTERS = ("q", "app", "type", "state", "delivery", "target", "group")
_RULES = {
    "q": (rf"[\s\S]{{1,{LONGEST}}}", f"Search for at most {LONGEST} characters."),
    "app": (
        r'[a-z0-9*-]{1,64}|"[a-z0-9-]{1,64}"',
        'A name has at most 64 letters, digits and hyphens. * stands for any text, and "shop" is only shop.',
    ),
    "type": (rf"[\s\S]{{1,{LONGEST}}}", f"A type has at most {LONGEST} characters."),
    "state": (rf"({'|'.join(State)})(,({'|'.join(State)}))*", f"No such state. There are: {', '.join(State)}."),
    "delivery": ("|".join(DELIVERY_WORDS), f"No such state of a delivery. There are: {', '.join(DELIVERY_WORDS)}."),
    "target": (r"[a-z0-9][a-z0-9_-]{0,40}", "A name has at most 41 letters, digits, hyphens and underscores."),
    "group": (rf"[\s\S]{{1,{LONGEST}}}", f"A name has at most {LONGEST} characters."),
    "cursor": (rf"{IN_FLIGHT}?[0-9]{{1,15}}_[a-z0-9-]{{1,80}}", "This link is damaged: search again."),
}
"""The pattern of each parameter, and what to say of a text that does not match it."""

_NOT_STORED = (State.TRACKING, Kind.OPERATION)
"""A record leaves out what is the default."""

_AS_STORED = re.compile(r"[!#-\[\]-~]+")
"""What JSON does not escape: printable ASCII without quotation mark and backslash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The filters as typed, and what is wrong with them, by field. An empty text is no filter.

    Every word of `q` must be part of a tracking's names, state, context, errors or ids. `app` is the beginning of a
    name, a pattern or, in quotation marks, a whole name. `type` is a whole type of operation, as the page names it.
    """

    q: str = ""
    app: str = ""
    type: str = ""
    state: str = ""
    delivery: str = ""
    target: str = ""
    group: str = ""
    cursor: str = ""
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def filters(self) -> dict[str, str]:
        """The filters for the address of the next page."""
        return {name: value for name in FILTERS if (value := getattr(self, name))}

    @property
    def narrows(self) -> bool:
        """Whether there is a filter besides the words: those are shown."""
        return any(name != "q" for name in self.filters)

    @property
    def states(self) -> tuple[str, ...]:
        """The states wanted; none for any."""
        return tuple(self.state.split(",")) if self.state else ()

    @property
    def words(self) -> list[str]:
        """The words to find, in small letters."""
        return self.q.lower().split()

    def matches(self, tracking: Tracking) -> bool:
        """Tell whether a tracking passes all filters."""
        return (
            (not self.app or is_named(tracking.app, self._pattern))
            and (not self.type or type_of(tracking).lower() == self.type)
            and (not self.state or tracking.state in self.states)
            and self.group in ("", tracking.group)
            and (not (self.delivery or self.target) or any(map(self.wants, tracking.outgoing)))
            and (not self.q or self._has_words(tracking))
        )

    def wants(self, delivery: Delivery) -> bool:
        """Tell whether a delivery passes the filters of deliveries."""
        return self.delivery in ("", delivery.state) and self.target in ("", delivery.target)

    def prefilter(self) -> Callable[[bytes], bool]:
        """Return a cheap test of a stored record: False only if the tracking in it cannot match."""
        wanted = (*self.words, *self._pattern.strip("*").split("*"), self.target)
        stored = (part.lower() for part in wanted if _AS_STORED.fullmatch(part))
        parts = [part.encode() for part in stored if not any(part in default for default in _NOT_STORED)]
        states = [f'"state":"{each}"'.encode() for each in self.states] if State.TRACKING not in self.states else []
        told = f'"state":"{self.delivery}"'.encode() if self.delivery else b""

        def may_match(record: bytes) -> bool:
            text = record.lower()
            return (
                all(part in text for part in parts)
                and (not states or any(each in text for each in states))
                and told in text
            )

        return may_match

    @property
    def _pattern(self) -> str:
        whole = not self.app or any(mark in self.app for mark in '*"')
        return self.app.strip('"') if whole else f"{self.app}*"

    def _has_words(self, tracking: Tracking) -> bool:
        text = "\n".join(filter(None, texts(tracking))).lower()
        return all(word in text for word in self.words)


def ids(q: str, regions: Iterable[str]) -> list[str]:
    """List the trackings that `q` names if it is an id, with or without its region."""
    typed = q.strip().lower()
    if re.fullmatch(r"[a-z0-9-]{24,90}", typed) is None:
        return []
    return [typed, *(f"{region}-{kind}{typed}" for region in regions for kind in ("", "db-", "backup-"))]


def parse(given: Iterable[tuple[str, str]]) -> Search:
    """Read the filters of an address. Unknown parameters are ignored: links get them on their way."""
    typed: dict[str, str] = {}
    for name, value in given:
        if name in _RULES and value.strip():
            typed[name] = f"{typed[name]},{value}" if name == "state" and name in typed else value
    read = {name: value if name in ("q", "group") else value.strip().lower() for name, value in typed.items()}
    if "q" in read:
        read["q"] = " ".join(read["q"].split())
    if "state" in read:
        read["state"] = ",".join(part for each in read["state"].split(",") if (part := each.strip()))
    faults = {name: _RULES[name][1] for name, value in read.items() if not re.fullmatch(_RULES[name][0], value)}
    return Search(**{name: typed[name] if name in faults else value for name, value in read.items()}, faults=faults)


def type_of(tracking: Tracking | End) -> str:
    """Name the type of an operation as the page does."""
    return type_name(tracking.kind, tracking.operation.type if tracking.operation else None)


def texts(tracking: Tracking) -> Iterator[str | None]:
    """Yield the texts of a tracking in which a search looks for words."""
    yield from (tracking.id, tracking.app, tracking.created_by, tracking.cancelled_by, tracking.group, tracking.kind)
    yield from (tracking.state, tracking.place, tracking.reason, tracking.last_error, *tracking.context.values())
    if tracking.operation is not None:
        yield from (tracking.operation.type, tracking.operation.error)
    yield from (delivery.last_error for delivery in tracking.outgoing)
    yield from (attempt.by for delivery in tracking.outgoing for attempt in delivery.history)
