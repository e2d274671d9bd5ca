"""Requests queue per caller, and no caller takes every slot for waiting."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from api.fairness import FairQueue, WaitSlots
from tests.support.running import wait_until


def has_queued(queue: FairQueue, count: int) -> bool:
    return queue.queued("flood") == count


def test_a_caller_is_let_in_however_many_of_another_wait_and_these_in_their_order() -> None:
    queue, let_in = FairQueue(at_once=2, queued=5), list[int]()

    def come(number: int) -> None:
        assert queue.acquire("flood")
        let_in.append(number)

    flood = [threading.Thread(target=come, args=(number,)) for number in range(5)]
    for number, each in enumerate(flood):
        each.start()
        wait_until(partial(has_queued, queue, max(0, number - 1)), what="its coming")
    assert sorted(let_in) == [0, 1]
    assert queue.acquire("calm")
    assert queue.acquire(None)
    for number in (2, 3, 4):
        queue.release("flood")
        wait_until(partial(let_in.__contains__, number), what="the next")
    for each in flood:
        each.join()
    assert let_in[2:] == [2, 3, 4]


def test_beyond_a_full_queue_a_caller_is_turned_away_at_once() -> None:
    queue = FairQueue(at_once=1, queued=1)
    assert queue.acquire("ci")
    with ThreadPoolExecutor(1) as pool:
        queued = pool.submit(queue.acquire, "ci")
        wait_until(lambda: queue.queued("ci") == 1, what="the queue being full")
        assert not queue.acquire("ci")
        queue.release("ci")
        assert queued.result()


def test_one_that_steps_aside_lets_another_in_and_comes_back() -> None:
    queue = FairQueue(at_once=1, queued=1)
    assert queue.acquire("ci")
    with queue.stepped_aside("ci"):
        assert queue.acquire("ci")
        queue.release("ci")
    assert queue.queued("ci") == 0


@given(st.integers(1, 8), st.integers(0, 8), st.lists(st.sampled_from(["ci", "deploy", "night"])))
def test_no_caller_holds_every_slot_and_never_more_are_held_than_there_are(
    slots: int, spare: int, callers: list[str]
) -> None:
    waiting = WaitSlots(slots, spare=spare)
    taken = [caller for caller in callers if waiting.acquire(caller)]
    assert len(taken) <= slots
    assert all(taken.count(caller) <= max(0, slots - spare) for caller in taken)


def test_a_slot_given_back_is_free_again() -> None:
    waiting = WaitSlots(2, spare=1)
    assert [waiting.acquire("ci") for _ in range(2)] == [True, False]
    assert waiting.acquire("deploy")
    waiting.release("ci")
    assert waiting.acquire("ci")
