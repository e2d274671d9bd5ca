"""What people search for: the filters in the page's address. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from notifiers.wording import DELIVERY_WORDS, WORDS
from operations.model import Delivery, State, Tracking
from operations.telling.view import is_named

WENT_WRONG = f"{State.FAILED},{State.TIMED_OUT},{State.LOST}"
ENDED = ",".join(state for state in State if state is not State.TRACKING)
STATES = {WENT_WRONG: "went wrong", ENDED: "ended", **{state.value: word for state, word in WORDS.items()}}
"""The choices of states, and their words. A choice may be several states, separated by commas."""

_LONGEST_GROUP = 200
_RULES = {
    "app": (r"[a-z0-9*-]{1,64}", "A name has at most 64 letters, digits and hyphens. * stands for any text."),
    "state": (rf"({'|'.join(State)})(,({'|'.join(State)}))*", f"No such state. There are: {', '.join(State)}."),
    "delivery": ("|".join(DELIVERY_WORDS), f"No such state of a delivery. There are: {', '.join(DELIVERY_WORDS)}."),
    "target": (r"[a-z0-9][a-z0-9_-]{0,40}", "A name has at most 41 letters, digits, hyphens and underscores."),
    "group": (rf"[\s\S]{{1,{_LONGEST_GROUP}}}", f"A name has at most {_LONGEST_GROUP} characters."),
    "cursor": (r"[0-9]{1,15}_[a-z0-9-]{1,80}", "This link is damaged: search again."),
}
"""The pattern of each parameter, and what to say of a text that does not match it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The filters as typed, and what is wrong with them, by field. An empty text is no filter."""

    app: str = ""
    state: str = ""
    delivery: str = ""
    target: str = ""
    group: str = ""
    cursor: str = ""
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def filters(self) -> dict[str, str]:
        """The filters for the address of the next page."""
        names = ("app", "state", "delivery", "target", "group")
        return {name: value for name in names if (value := getattr(self, name))}

    @property
    def states(self) -> tuple[str, ...]:
        """The states wanted; none for any."""
        return tuple(self.state.split(",")) if self.state else ()

    def matches(self, tracking: Tracking) -> bool:
        """Tell whether a tracking passes all filters."""
        return (
            (not self.app or is_named(tracking.app, self.app if "*" in self.app else f"{self.app}*"))
            and (not self.state or tracking.state in self.states)
            and self.group in ("", tracking.group)
            and (not (self.delivery or self.target) or any(map(self.wants, tracking.outgoing)))
        )

    def wants(self, delivery: Delivery) -> bool:
        """Tell whether a delivery passes the filters of deliveries."""
        return self.delivery in ("", delivery.state) and self.target in ("", delivery.target)


def parse(given: Iterable[tuple[str, str]]) -> Search:
    """Read the filters of an address. Unknown parameters are ignored: links get them on their way."""
    typed: dict[str, str] = {}
    for name, value in given:
        if name in _RULES and value.strip():
            typed[name] = f"{typed[name]},{value}" if name == "state" and name in typed else value
    read = {name: value if name == "group" else value.strip().lower() for name, value in typed.items()}
    if "state" in read:
        read["state"] = ",".join(part for each in read["state"].split(",") if (part := each.strip()))
    faults = {name: _RULES[name][1] for name, value in read.items() if not re.fullmatch(_RULES[name][0], value)}
    return Search(**{name: typed[name] if name in faults else value for name, value in read.items()}, faults=faults)
