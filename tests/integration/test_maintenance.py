"""Maintenance with a real server: it removes expired trackings and orphans, and nothing else."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from local.valkey import Valkey
from operations.errors import OperationMissingError, PermanentError, TransientError
from operations.model import State, Tracking, Verdict
from operations.storage import index
from operations.storage import maintenance as limits
from operations.storage.index import BY_END, COUNTERS, DEAD, DUE, EXPIRING, IN_FLIGHT, LIVE, OUTBOX, RECENT, RETRYING
from operations.storage.maintenance import KEPT_CANCELLED, Maintenance
from operations.storage.records import RECORD_VERSION, encode
from operations.storage.store import Store
from operations.storage.tallies import ORPHANS
from operations.telling import attempts, audience
from operations.telling.attempts import Policy, Result
from operations.telling.audience import Rule, Rules
from operations.watching import looks
from tests.integration.bench import (
    BROKEN,
    DONE,
    RETENTION,
    attempted,
    begun,
    connected,
    found,
    maintain,
    operation_id,
    seen,
    tracked,
)
from tests.support.redis_proxy import RedisProxy

RULES: Rules = {"all": Rule(), "failures": Rule(on=frozenset({Verdict.FAILED}))}
CANCELLED, ENDED_BY = (index.caller_key(name, "ci") for name in (index.CANCELLED, index.ENDED_BY))
SETS = (DUE, OUTBOX, LIVE, EXPIRING, RECENT, BY_END, RETRYING, DEAD, CANCELLED, ENDED_BY)


@pytest.fixture
def short(connection: redis.Redis) -> Store:
    """Return a store whose trackings expire as soon as they are finished."""
    return Store(connection, retention=timedelta(0))


@pytest.fixture
def maintenance(connection: redis.Redis, store: Store) -> Maintenance:
    """Return the maintenance of one worker."""
    return Maintenance(connection, store.records)


def identity_of(number: int) -> str:
    """Return the tracking's id of an operation."""
    return f"osc-fr1-{operation_id(number)}"


def cancel(store: Store, identity: str) -> Tracking:
    """Cancel a tracking."""
    after = store.update(found(store, identity), lambda t: looks.cancelled(t, store.records.now()))
    assert after is not None
    return after.tracking


def expire_unreadable(connection: redis.Redis, store: Store, numbers: Iterable[int]) -> None:
    """Store records of a newer version that expired before all others."""
    pipe = connection.pipeline(transaction=False)
    for number in numbers:
        newer = replace(begun(store, operation_id(number)), v=RECORD_VERSION + 1)
        pipe.set(index.record_key(newer.id), encode(newer))
        pipe.zadd(EXPIRING, {newer.id: number})
    pipe.execute()


class TestExpired:
    """Trackings are kept for a while after their last delivery has ended, and no longer."""

    def test_one_that_ended_long_ago_is_deleted_with_all_its_traces(
        self, short: Store, connection: redis.Redis
    ) -> None:
        identity = tracked(short, operation_id(1), group="deploy")
        seen(short, identity, BROKEN, RULES)
        maintain(connection, short)
        attempted(short, identity, "all")
        maintain(connection, short)
        assert short.records.get(identity) is not None, "a delivery is unfinished"
        attempted(short, identity, "failures", PermanentError("410"))
        maintain(connection, short)
        kept = {key for key in connection.keys("opwatch:*") if connection.type(key) != b"hash"}
        # The rest expires by itself. The group waits for a check, which a round of deliveries makes.
        assert {key for key in kept if connection.ttl(key) < 0} == {index.GROUPS.encode()}

    def test_what_is_watched_or_ended_lately_is_kept(self, store: Store, connection: redis.Redis) -> None:
        running = tracked(store, operation_id(1))
        ended = tracked(store, operation_id(2))
        seen(store, ended, DONE, {})
        maintain(connection, store)
        assert [stored.tracking.id for _, stored in store.listing.recent()] == [ended, running]

    def test_what_cannot_be_read_hides_nothing_behind_it(self, short: Store, connection: redis.Redis) -> None:
        expire_unreadable(connection, short, range(2_000))
        for number in range(3_000, 3_050):
            seen(short, tracked(short, operation_id(number)), DONE, {})
        maintain(connection, short)
        assert connection.zcard(RECENT) == 0
        assert connection.zcard(EXPIRING) == 2_000, "a newer version deletes its own"
        assert connection.exists(index.record_key(identity_of(1_999)))

    def test_four_thousand_at_once_are_gone_within_seconds(
        self, short: Store, connection: redis.Redis, maintenance: Maintenance
    ) -> None:
        for number in range(4_000):
            short.add(replace(begun(short, operation_id(number)), **over(short)))
        assert connection.zcard(EXPIRING) == 4_000
        began_s, runs = time.monotonic(), 1
        while maintenance.run():
            runs += 1
        print(f"4,000 expired: {runs} runs, {time.monotonic() - began_s:.2f} s")
        assert runs < 30, "one a second: well under a minute"
        assert connection.keys("opwatch:tracking:*") == connection.zrange(RECENT, 0, -1) == []

    @pytest.mark.parametrize(("stored_days", "present_days", "is_kept"), [(7, 1, False), (7, 7, True), (1, 7, True)])
    def test_the_present_retention_counts_for_what_is_stored_already(
        self,
        connection: redis.Redis,
        stored_days: int,
        present_days: int,
        is_kept: bool,  # noqa: FBT001
    ) -> None:
        stored, present = (Store(connection, retention=timedelta(days=days)) for days in (stored_days, present_days))
        identity = tracked(stored, operation_id(1))
        two_days_ago = stored.records.now() - timedelta(days=2)
        stored.update(found(stored, identity), lambda t: replace(t, **over(stored) | {"ended_at": two_days_ago}))
        maintain(connection, present)
        assert (present.records.get(identity) is not None) is is_kept
        assert bool(connection.keys("opwatch:ended-by:*")) is is_kept

    def test_one_that_begins_anew_meanwhile_is_kept(self, short: Store, connection: redis.Redis) -> None:
        identity = tracked(short, operation_id(1))
        cancel(short, identity)

        class Overtaking(Maintenance):
            """Makes a change between reading and deleting."""

            def _remove(self, removals: Any, counter: str = "") -> list[int]:
                again = begun(short, operation_id(1))
                known = found(short, identity)
                if known.tracking.run == 1:
                    short.update(known, lambda tracking: looks.started_anew(tracking, again))
                return super()._remove(removals, counter)

        Overtaking(connection, short.records).run()
        assert found(short, identity).tracking.state is State.TRACKING
        assert connection.zscore(DUE, identity) is not None
        assert connection.zscore(RECENT, identity) is not None


def over(store: Store) -> dict[str, Any]:
    """End a tracking."""
    return {"state": State.SUCCEEDED, "next_look_at": None, "ended_at": store.records.now()}


class TestOrphans:
    """Entries without a record are removed."""

    @pytest.mark.parametrize("key", [*SETS, index.group_key("deploy")])
    def test_every_index_is_healed_and_counted(
        self, store: Store, connection: redis.Redis, maintenance: Maintenance, key: str
    ) -> None:
        sound = tracked(store, operation_id(1), group="deploy")
        before = {each: connection.zrange(each, 0, -1) for each in SETS}
        for number in range(2, 9):
            connection.zadd(key, {member_of(key, identity_of(number)): 1})
        connection.zadd(key, {b"\xff damaged": 1})
        maintenance.run()
        assert {each: connection.zrange(each, 0, -1) for each in SETS} == before
        assert connection.zrange(index.group_key("deploy"), 0, -1) == [sound.encode()]
        assert store.overview.counters()[ORPHANS] == 8

    def test_thousands_of_them_are_gone_within_seconds(self, connection: redis.Redis, maintenance: Maintenance) -> None:
        for key in SETS:
            connection.zadd(key, {member_of(key, identity_of(number)): 1 for number in range(4_000)})
        runs = 1
        while maintenance.run():
            runs += 1
        assert runs < 30
        assert [connection.zcard(key) for key in SETS] == [0] * len(SETS)

    def test_one_behind_many_records_of_a_newer_version_goes_too(
        self, connection: redis.Redis, store: Store, maintenance: Maintenance
    ) -> None:
        expire_unreadable(connection, store, range(2_000))
        connection.zunionstore(DUE, [EXPIRING])
        connection.zadd(DUE, {identity_of(3_000): 2_500})
        for _ in range(5):  # one window each, without a removal
            maintenance.run()
        assert connection.zcard(DUE) == 2_000
        assert connection.zscore(DUE, identity_of(3_000)) is None

    def test_what_is_stored_anew_meanwhile_keeps_its_entries(self, store: Store, connection: redis.Redis) -> None:
        connection.zadd(DUE, {identity_of(1): 1})

        class Overtaken(Maintenance):
            """Makes a change between reading and removing."""

            def _remove(self, removals: Any, counter: str = "") -> list[int]:
                if store.records.get(identity_of(1)) is None:
                    tracked(store, operation_id(1))
                return super()._remove(removals, counter)

        Overtaken(connection, store.records).run()
        assert connection.zscore(DUE, identity_of(1)) is not None

    def test_what_an_older_version_left_of_a_delivery_is_removed(self, store: Store, connection: redis.Redis) -> None:
        identity = tracked(store, operation_id(1))
        seen(store, identity, BROKEN, RULES)
        attempted(store, identity, "all", TransientError("500"))
        attempted(store, identity, "failures", PermanentError("410"))
        for key in (RETRYING, DEAD):
            connection.zadd(key, {f"{target} {identity}_1_failed_{target}": 0 for target in ("gone", "slack")})
        maintain(connection, store)
        assert connection.zrange(RETRYING, 0, -1) == [f"all {identity}_1_failed_all".encode()]
        assert connection.zrange(DEAD, 0, -1) == [f"failures {identity}_1_failed_failures".encode()]

    def test_counts_of_what_was_lost_end_when_nothing_is_in_flight(self, store: Store, connection: redis.Redis) -> None:
        lost, sound = (tracked(store, operation_id(number), caller_counted=True) for number in (1, 2))
        connection.delete(index.record_key(lost))
        maintain(connection, store)
        assert store.overview.in_flight() == {"default": 2, "default:ci": 2}, "its caller is not known"
        cancel(store, sound)
        maintain(connection, store)
        assert connection.exists(IN_FLIGHT) == 0

    def test_they_can_be_counted_without_removing_any(
        self, store: Store, connection: redis.Redis, maintenance: Maintenance
    ) -> None:
        tracked(store, operation_id(1))
        connection.zadd(DUE, {identity_of(number): 1 for number in (2, 3)})
        connection.zadd(DEAD, {member_of(DEAD, identity_of(2)): 1})
        assert maintenance.orphans() == {DUE: 2, DEAD: 1}
        assert connection.zcard(DUE) == 3

    def test_a_key_of_another_type_stops_nothing(self, store: Store, connection: redis.Redis) -> None:
        connection.hset(index.record_key(identity_of(1)), "a", "hash")
        connection.zadd(DUE, {identity_of(1): 1, identity_of(2): 1})
        maintain(connection, store)
        assert connection.zrange(DUE, 0, -1) == [identity_of(1).encode()]


def member_of(key: str, identity: str) -> str:
    """Make a member for this sorted set."""
    delivery = f"{identity}_1_failed_slack"
    return {
        OUTBOX: delivery,
        LIVE: f"{identity}_1_live_slack",
        RETRYING: f"slack {delivery}",
        DEAD: f"slack {delivery}",
    }.get(key, identity)


class TestAnnouncements:
    """Announcements are kept while they may be needed."""

    def test_nobody_reads_that_of_a_cancelled_run_or_of_one_that_tells_nobody(
        self, store: Store, connection: redis.Redis
    ) -> None:
        cancel(store, tracked(store, operation_id(1)))
        seen(store, tracked(store, operation_id(2)), DONE, {"failures": RULES["failures"]})
        assert connection.keys("opwatch:announcement:*") == []

    def test_one_who_is_told_later_gets_it_all_the_same(self, store: Store) -> None:
        identity = tracked(store, operation_id(1))
        seen(store, identity, DONE, {})
        now = store.records.now()
        store.update(found(store, identity), lambda t: audience.also_told(t, ("all",), RULES, now))
        body = store.records.announcement(identity, 1)
        assert body is not None
        attempted(store, identity, "all")
        store.update(found(store, identity), lambda t: audience.also_told(t, ("failures",), RULES, now))
        assert store.records.announcement(identity, 1) == body, "its bytes are fixed"

    def test_that_of_an_earlier_run_goes_when_all_are_told(self, store: Store, connection: redis.Redis) -> None:
        identity = tracked(store, operation_id(1))
        for _ in range(3):
            long_ago = store.records.now() - timedelta(hours=1)
            store.update(found(store, identity), lambda t: replace(t, missing_looks=9, missing_since=long_ago))  # noqa: B023
            assert seen(store, identity, OperationMissingError("404"), {"all": RULES["all"]}).state is State.LOST
            again = begun(store, operation_id(1))
            store.update(found(store, identity), lambda t: looks.started_anew(t, again))  # noqa: B023
        runs = {delivery.run for delivery in found(store, identity).tracking.deliveries}
        assert runs == {1, 2, 3}
        assert len(connection.keys("opwatch:announcement:*")) == 3
        now = store.records.now()
        for delivery in found(store, identity).tracking.deliveries:
            claimed = store.update(
                found(store, identity),
                lambda t: attempts.claimed(t, [delivery], "mine", now),  # noqa: B023
            )
            assert claimed is not None
            (mine,) = (d for d in claimed.tracking.deliveries if d.claim == "mine")
            store.update(claimed, lambda t: attempts.after_attempt(t, mine, Result(), now, Policy()))  # noqa: B023
            assert len(connection.keys("opwatch:announcement:*")) == 3 - delivery.run

    def test_what_a_version_before_left_behind_goes_and_what_is_needed_stays(
        self, store: Store, connection: redis.Redis
    ) -> None:
        told, untold, cancelled = (tracked(store, operation_id(number)) for number in (1, 2, 3))
        seen(store, told, BROKEN, RULES)
        seen(store, untold, BROKEN, {})
        cancel(store, cancelled)
        for identity in (told, untold, cancelled, identity_of(4)):
            for run in (0, 1):
                connection.set(index.body_key(identity, run), "{}")
        maintain(connection, store)
        assert set(connection.keys("opwatch:announcement:*")) == {
            index.body_key(identity, 1).encode() for identity in (told, untold)
        }

    def test_a_hundred_and_fifty_thousand_do_not_hold_redis_up(self, short: Store, connection: redis.Redis) -> None:
        identity, runs = tracked(short, operation_id(1)), 150_000
        seen(short, identity, DONE, {})
        stored = found(short, identity)
        connection.set(index.record_key(identity), encode(replace(stored.tracking, run=runs)))
        for start in range(0, runs, 10_000):
            connection.mset({index.body_key(identity, run + 1): b"x" * 300 for run in range(start, start + 10_000)})
        connection.set(index.body_key("osc-fr1-newer", 1), "not an id that is known")
        with slow_commands(connection) as slow_s:
            maintain(connection, short)
        longest_s = max(slow_s, default=0.0)
        print(f"150,000 bodies: Redis was held up for {longest_s * 1000:.1f} ms at most")
        assert connection.dbsize() <= 2, "the counters, at most"
        assert longest_s < 0.5, "web waits 0.9 s for Redis; one DEL of all took longer"


@contextmanager
def slow_commands(connection: redis.Redis) -> Iterator[list[float]]:
    """Collect the seconds of each command that blocked Redis for more than 1 ms."""
    before: Any = connection.config_get("slowlog-*")
    connection.config_set("slowlog-log-slower-than", 1_000)
    connection.config_set("slowlog-max-len", 10_000)
    connection.slowlog_reset()
    took_s: list[float] = []
    yield took_s
    took_s += [entry["duration"] / 1e6 for entry in connection.slowlog_get(10_000)]
    for name, value in before.items():
        connection.config_set(name, value)


class TestCancelled:
    """The number of trackings cancelled without a delivery is bounded."""

    def test_only_the_latest_are_kept(self, store: Store, connection: redis.Redis) -> None:
        told = tracked(store, operation_id(0))
        seen(store, told, DONE, RULES)
        for number in range(1, KEPT_CANCELLED + 51):
            ended_at = store.records.now() + timedelta(milliseconds=number)
            fields = {**over(store), "state": State.CANCELLED, "ended_at": ended_at}
            store.add(replace(begun(store, operation_id(number)), **fields))
        maintain(connection, store)
        assert connection.zcard(CANCELLED) == KEPT_CANCELLED
        assert [store.records.get(identity_of(number)) is None for number in (50, 51)] == [True, False]
        assert store.records.get(told) is not None

    def test_each_caller_has_its_own_limits(
        self, store: Store, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "KEPT_CANCELLED", 20)
        monkeypatch.setattr(limits, "KEPT_ENDED", 50)
        calm = [tracked(store, operation_id(number), created_by="calm") for number in (1, 2)]
        cancel(store, calm[0])
        seen(store, calm[1], DONE, RULES)
        waiting = tracked(store, operation_id(3))
        seen(store, waiting, DONE, RULES)
        for number in range(100, 200):
            begin = begun(store, operation_id(number), group=f"deploy {number}")
            store.add(
                replace(begin, **over(store) | {"ended_at": begin.created_at + timedelta(milliseconds=number - 1000)})
            )
        for number in range(200, 260):
            cancel(store, tracked(store, operation_id(number), notify=("all",)))
        maintain(connection, store)
        assert (connection.zcard(CANCELLED), connection.zcard(ENDED_BY)) == (20, 50)
        kept = {identity for identity in map(identity_of, range(300)) if store.records.get(identity)}
        assert kept == {*calm, waiting, *map(identity_of, [*range(170, 200), *range(240, 260)])}
        assert len(connection.keys("opwatch:group:*")) == 30
        bodies = {index.body_key(identity, 1).encode() for identity in (calm[1], waiting)}
        assert set(connection.keys("opwatch:announcement:*")) == bodies

    def test_one_that_an_older_version_began_anew_is_kept(self, store: Store, connection: redis.Redis) -> None:
        running = tracked(store, operation_id(0))
        connection.zadd(CANCELLED, {running: 1})
        for key in (CANCELLED, EXPIRING):
            connection.zadd(key, {f"osc-fr1-{number:024x}": number + 2 for number in range(1, KEPT_CANCELLED + 2)})
        connection.zadd(EXPIRING, {running: 1})
        maintain(connection, store)
        assert store.records.get(running) is not None
        assert connection.zscore(DUE, running) is not None

    def test_one_that_begins_anew_is_not_among_them(self, store: Store, connection: redis.Redis) -> None:
        identity = tracked(store, operation_id(1))
        cancel(store, identity)
        assert connection.zcard(CANCELLED) == 1
        again = begun(store, operation_id(1))
        store.update(found(store, identity), lambda t: looks.started_anew(t, again))
        assert connection.zcard(CANCELLED) == 0


def test_two_workers_at_once_remove_each_thing_once(short: Store, connection: redis.Redis, valkey: Valkey) -> None:
    for number in range(600):
        short.add(replace(begun(short, operation_id(number)), **over(short)))
    connection.zadd(DUE, {identity_of(number): 1 for number in range(1_000, 1_600)})

    def work() -> None:
        with connected(valkey.url) as own:
            maintain(own, Store(own, retention=timedelta(0)))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    maintain(connection, short)  # workers that hinder each other may leave some to the next run
    assert short.overview.counters()[ORPHANS] == 600
    assert connection.keys("opwatch:*") == [COUNTERS.encode()]


def test_an_orphan_whose_removal_is_not_answered_is_counted(
    short: Store, connection: redis.Redis, valkey: Valkey
) -> None:
    connection.zadd(DUE, {identity_of(1): 1})

    def removes(chunk: bytes) -> bool:
        return b"EVALSHA" in chunk and identity_of(1).encode() in chunk

    with RedisProxy(urlsplit(valkey.url).path) as proxy, connected(proxy.url) as own:
        proxy.watch(removes, proxy.cut_at_answer)
        with pytest.raises(redis.RedisError):
            maintain(own, Store(own, retention=RETENTION))
    assert not connection.exists(DUE)
    assert short.overview.counters()[ORPHANS] == 1
