"""Rounds held by the test, in place of the clock and RQ."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from operations.model import Tracking
from operations.storage.index import OUTBOX
from operations.storage.store import Store
from tests.integration.bench import found
from tests.support.running import wait_until
from workers.deliver import delivery_round
from workers.look import look_round

T = TypeVar("T")


def hold(one_round: Callable[[], None], enough: Callable[[], T], what: str = "what the rounds do") -> T:
    """Hold one round after another, as the clock does, and return what `enough` gives as soon as that is true."""

    def held() -> T:
        one_round()
        return enough()

    return wait_until(held, what=what)


def look(store: Store, identity: str) -> Tracking:
    """Make the tracking due and look; return what was recorded. The budget may want a moment."""
    before = found(store, identity)
    store.update(before, lambda tracking: replace(tracking, next_look_at=store.records.now()))
    hold(look_round, lambda: found(store, identity).tracking.polls > before.tracking.polls, "the look")
    return found(store, identity).tracking


def tell_all(store: Store) -> None:
    """Hold rounds until nothing is to be sent."""
    hold(delivery_round, lambda: store.overview.size(OUTBOX) == 0, "an empty outbox")
