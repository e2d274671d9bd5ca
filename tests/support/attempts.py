"""What a notifier does, on a worker's own event loop and within a deadline, as a worker has it done."""

from collections.abc import Awaitable, Callable
from concurrent.futures import Future

from operations.errors import OpwatchError
from workers.deliver import failure_of
from workers.loop import HttpLoop

DEADLINE_S = 20.0


def attempted(
    loop: HttpLoop, make: Callable[[], Awaitable[object]], deadline_s: float = DEADLINE_S
) -> OpwatchError | None:
    """Attempt once; returns what went wrong."""
    met: Future[OpwatchError | None] = Future()

    async def attempt() -> None:
        met.set_result(await failure_of(make(), deadline_s))

    loop.submit(attempt)
    return met.result(DEADLINE_S + 10)
