"""Requests queue per caller, and none takes every slot to wait in."""

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from api.fairness import FairQueue, WaitSlots
from tests.support.running import wait_until


def test_a_caller_is_let_in_however_many_of_another_wait() -> None:
    queue = FairQueue(at_once=2, queued=5)
    with ThreadPoolExecutor(5) as pool:
        flood = [pool.submit(queue.acquire, "flood") for _ in range(5)]
        wait_until(lambda: sum(each.done() for each in flood) == 2, what="two of the flood let in")
        assert queue.acquire("calm")
        assert queue.acquire(None)
        for _ in range(3):
            queue.release("flood")
        assert all(each.result() for each in flood)


def test_beyond_a_full_queue_a_caller_is_turned_away_at_once() -> None:
    queue = FairQueue(at_once=1, queued=1)
    assert queue.acquire("ci")
    with ThreadPoolExecutor(1) as pool:
        queued = pool.submit(queue.acquire, "ci")
        wait_until(lambda: not queue.acquire("ci"), what="the queue being full")
        queue.release("ci")
        assert queued.result()


def test_one_that_steps_aside_lets_another_in_and_comes_back() -> None:
    queue = FairQueue(at_once=1, queued=0)
    assert queue.acquire("ci")
    with queue.stepped_aside("ci"):
        assert queue.acquire("ci")
        queue.release("ci")
    assert not queue.acquire("ci")


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
