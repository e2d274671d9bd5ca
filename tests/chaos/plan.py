"""What is tracked, and the faults with their times, drawn from a seed. Pure."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from standin.operations import Kind

API_FAULTS = (
    "rate_limited", "internal_error", "html", "not_json", "wrong_shape", "reset", "unauthorized", "operation_not_found",
    "hang", "slow", "drip",
)  # fmt: skip

FAILURES: Mapping[Kind, tuple[str, ...]] = {
    "operation": ("error",),
    "deployment": ("aborted", "build-error", "crashed-error", "timeout-error", "hook-error", "quite-new-error"),
    "database": ("error", "user-error", "cancelled"),
    "backup": ("error", "cancelled"),
}
"""The API's words for a failure of each kind."""

LONGEST_S = 12.0
_MIX: tuple[Kind, ...] = ("operation",) * 4 + ("deployment",) * 4 + ("database", "backup")
_OUTPUT_BYTES = (0,) * 3 + (9_000,) * 6 + (20_000_000,)
_FAILING_SHARE, _EVENT_SHARE = 0.5, 0.25


@dataclass(frozen=True)
class Thing:
    """One thing to track: when it begins, how long it waits and takes in all, and the API's word for its failure.

    `output_bytes` is the size of a deployment's output. `by_event`: no script tracks it, only an event tells of it.
    """

    kind: Kind
    at_s: float
    pending_s: float
    duration_s: float
    failure: str
    """Empty: it succeeds."""
    output_bytes: int = 0
    by_event: bool = False


@dataclass(frozen=True, order=True)
class Event:
    """One event at `at_s` seconds after the start; `what` and `amount` are its details.

    A fault lasts `lasts_s`, until the event that ends it.
    """

    at_s: float
    act: str
    what: str = ""
    amount: float = 0.0
    lasts_s: float = 0.0


@dataclass(frozen=True)
class _Kind:
    """A kind of fault: how often it happens in a minute, which event ends it, and after how many seconds."""

    act: str
    what: str
    a_minute: int
    undo: str = ""
    lasts_s: tuple[float, float] = (0.0, 0.0)


_KINDS = (
    _Kind("kill", "worker", 4, "start", (0.0, 3.0)),
    _Kind("kill", "worker-2", 4, "start", (0.0, 3.0)),
    _Kind("kill at a command", "worker", 5, "start", (1.0, 4.0)),
    _Kind("kill at a message", "worker", 5, "start", (1.0, 4.0)),
    _Kind("kill at a message", "worker-2", 5, "start", (1.0, 4.0)),
    _Kind("kill", "web", 3, "start", (0.0, 2.0)),
    _Kind("kill Redis", "", 4, "start Redis", (0.0, 3.0)),
    _Kind("stop", "worker", 2, "start", (3.0, 8.0)),
    _Kind("freeze", "worker-2", 3, "wake", (0.5, 8.0)),
    _Kind("delay Redis", "", 2, "mend Redis", (1.0, 4.0)),
    _Kind("cut Redis", "", 3, "mend Redis", (0.2, 4.0)),
    _Kind("reset Redis", "", 4),
    _Kind("flush RQ", "", 3),
    _Kind("API down", "", 2, "API up", (0.5, 4.0)),
    _Kind("expire bearers", "", 3),
    *(_Kind("API fault", name, 1, "API well", (0.3, 3.0)) for name in API_FAULTS),
)
CALMING = frozenset(kind.undo for kind in _KINDS) - {""}
"""The events that end a fault."""


def plan(seed: int, seconds: float) -> list[Event]:
    """Draw the events of `seconds` seconds, in order. Every fault is ended, perhaps later."""
    rng = random.Random(seed)  # noqa: S311 - it has to come out the same for the same seed
    events = []
    for kind in _KINDS:
        for _ in range(max(1, round(kind.a_minute * seconds / 60))):
            at_s = rng.uniform(1.0, seconds)
            lasts_s = rng.uniform(*kind.lasts_s)
            events.append(Event(at_s, kind.act, kind.what, round(rng.uniform(1, 6)), lasts_s))
            if kind.undo:
                events.append(Event(at_s + lasts_s, kind.undo, kind.what))
    return sorted(events)


def things(seed: int, count: int, seconds: float) -> list[Thing]:
    """Draw what is tracked, in order, evenly over `seconds` seconds."""
    rng = random.Random(f"{seed} things")  # noqa: S311 - it has to come out the same for the same seed
    return [_thing(rng, number * seconds / count) for number in range(count)]


def _thing(rng: random.Random, at_s: float) -> Thing:
    kind, duration_s = rng.choice(_MIX), rng.uniform(0, LONGEST_S)
    fails, deploys = rng.random() < _FAILING_SHARE, kind == "deployment"
    return Thing(
        kind=kind,
        at_s=at_s,
        pending_s=rng.uniform(0, duration_s / 2),
        duration_s=duration_s,
        failure=rng.choice(FAILURES[kind]) if fails else "",
        output_bytes=rng.choice(_OUTPUT_BYTES) if deploys else 0,
        by_event=deploys and rng.random() < _EVENT_SHARE,
    )
