"""A simulated account: operations, the budget, and a policy of looks. Times are in seconds."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.policies import Policy
from operations.storage.budget import Allowance

REQUESTS_PER_MINUTE = 50
TICK_S = 0.25
"""How often a policy can look. Answers take no time."""


@dataclass(frozen=True, slots=True)
class Begun:
    """One simulated operation: when it began and how long it takes, in seconds."""

    at_s: float
    duration_s: float


def simulate(policy: Policy, operations: Sequence[Begun]) -> tuple[list[float], int]:
    """Run a policy until it has seen all ends. Returns the delay of each, in seconds, and the number of requests."""
    size = Allowance.per_minute(REQUESTS_PER_MINUTE)
    tokens, ticks, requests = float(size.capacity), 0, 0
    late: dict[int, float] = {}
    waiting = list(enumerate(operations))[::-1]
    while len(late) < len(operations):
        now_s = ticks * TICK_S
        while waiting and waiting[-1][1].at_s <= now_s:
            number, begun = waiting.pop()
            policy.begin(number, begun.at_s)
        for number in policy.choose(now_s, int(tokens)):
            tokens -= 1
            requests += 1
            ends_at_s = operations[number].at_s + operations[number].duration_s
            if ends_at_s <= now_s:
                late[number] = now_s - ends_at_s
                policy.ended(number, operations[number].duration_s)
            else:
                policy.seen(number, now_s)
        ticks += 1
        tokens = min(size.capacity, tokens + TICK_S * size.per_second)
    return [late[number] for number in range(len(operations))], requests
