"""A simulated account: operations, the budget, glances, and a policy of requests. Times are in seconds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.policies import GLANCE, Policy
from operations.storage.budget import Allowance

REQUESTS_PER_MINUTE = 50
TICK_S = 0.25
"""How often a policy can look. Answers take no time."""

BEGINS_TO_SHOW_S, STOPS_SHOWING_S = 2.0, 0.5
"""How long after an operation's start its app becomes busy at most, and how long after its end it still is."""

ROUNDS_A_TICK = 3
"""After a glance, what it revealed is looked at within the same tick."""


@dataclass(frozen=True, slots=True)
class Begun:
    """One simulated operation: when it began and how long it takes, in seconds."""

    at_s: float
    duration_s: float


Shown = Callable[[Begun, float, Random], bool]
"""Tells whether a glance shows an operation's app as busy at a time; the generator is of that operation."""


def truly(begun: Begun, now_s: float, random: Random) -> bool:
    """Show an operation as busy from shortly after its start until shortly after its end."""
    begins_s, ends_s = random.uniform(0, BEGINS_TO_SHOW_S), begun.duration_s + random.uniform(0, STOPS_SHOWING_S)
    return begins_s <= now_s - begun.at_s < ends_s


def simulate(
    policy: Policy, operations: Sequence[Begun], *, shown: Shown = truly, seed: int = 0
) -> tuple[list[float], int]:
    """Run a policy until it has seen all ends. Returns the delay of each, in seconds, and the number of requests."""
    size = Allowance.per_minute(REQUESTS_PER_MINUTE)
    tokens, ticks, requests = float(size.capacity), 0, 0
    late: dict[int, float] = {}
    waiting = list(enumerate(operations))[::-1]
    in_flight = set[int]()

    def is_busy(number: int, now_s: float) -> bool:
        return shown(operations[number], now_s, Random(f"{seed} {number}"))  # noqa: S311 - a repeatable simulation

    while len(late) < len(operations):
        now_s = ticks * TICK_S
        while waiting and waiting[-1][1].at_s <= now_s:
            number, begun = waiting.pop()
            in_flight.add(number)
            policy.begin(number, begun.at_s)
        for _ in range(ROUNDS_A_TICK):
            chosen = policy.choose(now_s, int(tokens))
            for number in chosen:
                tokens -= 1
                requests += 1
                if number == GLANCE:
                    policy.glanced({each for each in in_flight if is_busy(each, now_s)}, now_s)
                elif (ends_at_s := operations[number].at_s + operations[number].duration_s) <= now_s:
                    late[number] = now_s - ends_at_s
                    in_flight.discard(number)
                    policy.ended(number, operations[number].duration_s, now_s)
                else:
                    policy.seen(number, now_s)
            if GLANCE not in chosen:
                break
        ticks += 1
        tokens = min(size.capacity, tokens + TICK_S * size.per_second)
    return [late[number] for number in range(len(operations))], requests
