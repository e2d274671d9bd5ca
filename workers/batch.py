"""Lets coroutines ask Redis together: whatever gathers while one question is under way goes into the next."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AT_ONCE = 100
"""How many records are changed at once: some milliseconds, in which Redis does nothing else."""


class Batches(Generic[Item, Answer]):
    """Asks `ask`, in a thread, for as many as are waiting at once; an error among its answers is that one's alone.

    For use within one event loop; `submit` starts a coroutine on it.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Item]], Sequence[Answer | Exception]],
        submit: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
    ) -> None:
        self._ask = ask
        self._submit = submit
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._asking = False

    async def __call__(self, item: Item) -> Answer:
        """Ask for one; raises what `ask` raised, or gave in place of its answer."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if not self._asking:
            self._asking = True
            self._submit(self._ask_all)
        return await answer

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                await self._ask_for(batch)
        finally:
            self._asking = False

    async def _ask_for(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        answers: Sequence[Answer | Exception]
        try:
            answers = await asyncio.to_thread(self._ask, [item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - each of those who asked is told
            answers = [error] * len(batch)
        for (_, waiting), answer in zip(batch, answers, strict=True):
            if waiting.done():  # it was cancelled meanwhile
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
