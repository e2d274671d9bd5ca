"""Coroutines that ask in a batch: each gets its own answer."""

import asyncio
from collections.abc import Callable, Sequence

from workers.loop import AT_ONCE, Batches


def asked(ask: Callable[[Sequence[int]], Sequence[int | Exception]], items: Sequence[int]) -> list[int | BaseException]:
    """Let one coroutine per item ask at once. Returns each one's answer or error."""

    async def run() -> list[int | BaseException]:
        batches = Batches(ask)
        return await asyncio.gather(*(batches(item) for item in items), return_exceptions=True)

    return asyncio.run(run())


def test_each_gets_the_answer_to_its_own_question() -> None:
    sizes = []

    def double(items: Sequence[int]) -> list[int | Exception]:
        sizes.append(len(items))
        return [2 * item for item in items]

    assert asked(double, range(250)) == [2 * item for item in range(250)]
    assert sizes == [AT_ONCE, AT_ONCE, 50]


def test_an_error_among_the_answers_is_that_ones_alone() -> None:
    refused = ValueError("three")
    answers = asked(lambda items: [refused if item == 3 else item for item in items], range(5))
    assert answers == [0, 1, 2, refused, 4]


def test_what_the_question_itself_meets_everybody_is_told_and_the_next_is_asked() -> None:
    met = ConnectionError("away")
    first: list[bool] = []

    def away_at_first(items: Sequence[int]) -> list[int | Exception]:
        if not first:
            first.append(True)
            raise met
        return list(items)

    answers = asked(away_at_first, range(AT_ONCE + 2))
    assert answers == [met] * AT_ONCE + [AT_ONCE, AT_ONCE + 1]
