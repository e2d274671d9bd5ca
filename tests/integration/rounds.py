"""Rounds called by the test, instead of the clock and RQ."""

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
    """Run rounds, as the clock does, until `enough` is true. Returns its result."""

    def held() -> T:
        one_round()
        return enough()

    return wait_until(held, what=what)


def look(store: Store, identity: str) -> Tracking:
    """Make the tracking due and look. Returns the record. The budget may need a moment."""
    before = found(store, identity)
    store.update(before, lambda tracking: replace(tracking, next_look_at=store.records.now()))
    hold(look_round, lambda: found(store, identity).tracking.polls > before.tracking.polls, "the look")
    return found(store, identity).tracking


def tell_all(store: Store) -> None:
    """Run rounds until nothing is left to send."""
    hold(delivery_round, lambda: store.overview.size(OUTBOX) == 0, "an empty outbox")
