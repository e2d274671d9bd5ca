"""Redis's clock was set back: what lies further ahead than any pause is due, and nobody seems alive who is not."""

from dataclasses import replace
from datetime import timedelta

import pytest
import redis

from config.settings import Settings
from operations.model import Tracking
from operations.storage.clock import milliseconds
from operations.storage.due import DueSets
from operations.storage.heartbeat import Heartbeat
from operations.storage.index import DUE
from operations.storage.records import encode
from operations.storage.store import Store
from tests.integration.bench import BROKEN, OPERATION_ID, begun, found, seen, tracked


@pytest.mark.parametrize(("ahead", "due"), [(timedelta(seconds=50), False), (timedelta(days=400), True)])
def test_a_look(store: Store, connection: redis.Redis, *, ahead: timedelta, due: bool) -> None:
    identity = tracked(store, OPERATION_ID, next_look_at=store.records.now() + ahead)
    assert [each.tracking.id for each in store.records.due_trackings()] == [identity] * due
    assert (store.overview.due_in_s()[0] <= 0) is due
    connection.zadd(DUE, {identity: milliseconds(store.records.now() + timedelta(minutes=2))})  # the score alone
    connection.set(f"opwatch:tracking:{identity}", encode(begun(store, OPERATION_ID)))
    assert [each.tracking.id for each in store.records.due_trackings()] == [identity]


def test_due_ones_come_first_and_windows_hide_none(store: Store, connection: redis.Redis) -> None:
    now_ms = milliseconds(store.records.now())
    connection.zadd(DUE, {f"late-{n}": now_ms - 1000 + n for n in range(3)})
    connection.zadd(DUE, {f"ahead-{n}": now_ms + 10_000_000 + n for n in range(3)} | {"soon": now_ms + 30_000})
    listed = [[member.decode() for member, _ in DueSets(connection).list(DUE, skip, 2)[1]] for skip in (0, 2, 4, 6)]
    assert listed == [["late-0", "late-1"], ["late-2", "ahead-0"], ["ahead-1", "ahead-2"], []]


@pytest.mark.parametrize("claim", [None, "another-worker"])
def test_a_delivery(store: Store, settings: Settings, claim: str | None) -> None:
    identity = tracked(store, OPERATION_ID, notify_all=False, notify=("webhook",))
    seen(store, identity, BROKEN, settings.rules)
    ahead = store.records.now() + timedelta(hours=1)

    def set_ahead(tracking: Tracking) -> Tracking:
        (delivery,) = tracking.deliveries
        return replace(tracking, deliveries=(replace(delivery, claim=claim, next_attempt_at=ahead),))

    store.update(found(store, identity), set_ahead)
    assert list(store.records.due_deliveries()) == []
    store.pull_deliveries()
    assert len(list(store.records.due_deliveries())) == (claim is None)
    at = found(store, identity).tracking.deliveries[0].next_attempt_at
    assert at is not None
    assert at <= store.records.now() + timedelta(seconds=30)


def test_a_worker_whose_heartbeat_lies_ahead_is_no_sign_of_life(store: Store, connection: redis.Redis) -> None:
    heartbeat, now = Heartbeat(connection), store.records.now()
    heartbeat.beat("dead", now + timedelta(minutes=20))
    assert not heartbeat.has_worker()
    assert Heartbeat(connection).beat("alive", now) == {"dead"}
    assert heartbeat.has_worker()
