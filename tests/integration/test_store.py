"""The store with a real server: compare-and-swap, true indexes, newer records."""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from local.valkey import Valkey
from operations import intake
from operations.errors import (
    AccessRefusedError,
    OperationMissingError,
    OpwatchError,
    PermanentError,
    SignInRejectedError,
    TooManyInFlightError,
    TransientError,
)
from operations.model import Delivery, DeliveryState, Operation, State, Tracking, Usual, Verdict
from operations.storage import index
from operations.storage.index import (
    CANCELLED,
    COUNTERS,
    DUE,
    ENDED_BY,
    EXPIRING,
    IN_FLIGHT,
    OUTBOX,
    RECENT,
    Limit,
    caller_field,
    caller_key,
)
from operations.storage.learned import Learned, durations_keys
from operations.storage.records import RECORD_VERSION, Stored, decode, encode, with_ids
from operations.storage.store import Change, Store
from operations.telling.attempts import Policy, Result, after_attempt, claimed, released, retried
from operations.telling.audience import Rule, Rules
from operations.watching import looks
from operations.watching.durations import FEWEST_SAMPLES, KEPT, LONGEST_S, Durations
from tests.integration import bench
from tests.integration.bench import BROKEN, DONE, RETENTION, connected, found, maintain, operation_id

RULES: Rules = {
    "all": Rule(slow=True),
    "failures": Rule(on=frozenset({Verdict.FAILED})),
    "others": Rule(apps=("other-*",)),
}
UNFINISHED = (DeliveryState.PENDING, DeliveryState.RETRYING)


def fresh(store: Store, number: int = 1, **changes: Any) -> Tracking:
    """Return a tracking that begins now."""
    return bench.begun(store, operation_id(number), **{"claim": f"intake-{random.getrandbits(64):x}", **changes})


def counted(store: Store, number: int, caller: str, **changes: Any) -> Tracking:
    """Return a tracking that is counted for its caller."""
    return fresh(store, number, created_by=caller, caller_counted=True, **changes)


def end(store: Store, number: int) -> None:
    """Cancel a tracking."""
    stored = found(store, f"osc-fr1-{operation_id(number)}")
    assert store.update(stored, lambda tracking: looks.cancelled(tracking, store.records.now())) is not None


class TestLimit:
    """Operations in flight are limited, and no caller can use up another's share."""

    def test_beyond_the_limit_nothing_is_stored_and_the_error_says_how_many_there_are(self, store: Store) -> None:
        limit = Limit(3, share=3)
        for number in range(3):
            assert store.add(counted(store, number, "ci"), limit) is None
        with pytest.raises(TooManyInFlightError, match=r"3 operations of the account default .* limit is 3 "):
            store.add(counted(store, 4, "ci"), limit)
        assert store.records.get(f"osc-fr1-{operation_id(4)}") is None
        assert store.overview.in_flight() == {"default": 3, "default:ci": 3}
        assert len(store.records.due_trackings()) == 3
        assert store.add(counted(store, 1, "ci"), limit) is not None  # known already
        assert store.add(counted(store, 4, "ci", account="other"), limit) is None  # another account's
        end(store, 0)
        assert store.add(counted(store, 5, "ci"), limit) is None

    def test_of_many_at_once_only_as_many_as_there_is_room_for_come_in(self, store: Store) -> None:
        def add(number: int) -> bool:
            try:
                return store.add(counted(store, number, "ci"), Limit(7, share=7)) is None
            except TooManyInFlightError:
                return False

        with ThreadPoolExecutor(12) as pool:
            assert sum(pool.map(add, range(40))) == 7
        assert store.overview.in_flight() == {"default": 7, "default:ci": 7}

    def test_a_caller_with_less_than_its_share_is_let_in_always(self, store: Store) -> None:
        limit = Limit(10, share=5)
        for number in range(10):
            store.add(counted(store, number, "flood"), limit)
        for number in range(10, 15):
            assert store.add(counted(store, number, "calm"), limit) is None
        for caller in ("flood", "calm"):
            with pytest.raises(TooManyInFlightError):
                store.add(counted(store, 15, caller), limit)
        assert store.overview.in_flight() == {
            "default": 15,
            "default:flood": 10,
            "default:calm": 5,
        }  # below twice the limit

    def test_one_that_starts_anew_needs_room_too(self, store: Store) -> None:
        limit, now = Limit(1, share=1), store.records.now()
        store.add(counted(store, 1, "ci"), limit)
        end(store, 1)
        store.add(counted(store, 2, "ci"), limit)
        with pytest.raises(TooManyInFlightError):
            intake.track(store, counted(store, 1, "ci"), account=None, rules=RULES, now=now, limit=limit)
        assert found(store, f"osc-fr1-{operation_id(1)}").tracking.state is State.CANCELLED
        end(store, 2)
        assert intake.track(store, counted(store, 1, "ci"), account=None, rules=RULES, now=now, limit=limit).begun
        assert store.overview.in_flight() == {"default": 1, "default:ci": 1}

    def test_what_an_older_version_stored_counts_for_no_caller_and_ends_so(self, store: Store) -> None:
        store.add(fresh(store, 1, created_by="ci"))
        store.add(counted(store, 2, "ci"))
        end(store, 1)
        assert store.overview.in_flight() == {"default": 1, "default:ci": 1}

    def test_what_an_older_version_took_over_is_forgotten_when_nothing_is_in_flight(
        self, store: Store, connection: redis.Redis
    ) -> None:
        for number in (1, 2):
            store.add(counted(store, number, "ci"))
            # An older version does not know the mark, and does not write it.
            stored = found(store, f"osc-fr1-{operation_id(number)}")
            older = encode(replace(stored.tracking, caller_counted=False))
            connection.set(f"opwatch:tracking:{stored.tracking.id}", older)
        store.add(counted(store, 3, "ci", account="other"))
        end(store, 1)
        assert store.overview.in_flight() == {"default": 1, "default:ci": 2, "other": 1, "other:ci": 1}  # one too many
        end(store, 2)
        assert store.overview.in_flight() == {"default": 0, "other": 1, "other:ci": 1}


class TestDurations:
    """Durations are learned by app and type."""

    def test_an_outcome_teaches_its_app_and_its_type(self, store: Store, connection: redis.Redis) -> None:
        for number in range(FEWEST_SAMPLES):
            ended(store, number, took_s=10.0 + number)
        mine, anothers, unknown = Learned(connection).durations(
            [watched(store, 91), watched(store, 92, app="other"), watched(store, 93, operation=None)]
        )
        assert mine.usual == Usual(p50=11.0, p90=12.0, samples=3)
        assert anothers.usual is None
        assert mine.age_s(0.0, 1.0) > anothers.age_s(0.0, 1.0)  # the app's own durations weigh more
        assert unknown == Durations.learn()

    def test_the_last_fifty_are_kept_and_forgotten_a_quarter_of_a_year_later(
        self, store: Store, connection: redis.Redis
    ) -> None:
        for number in range(KEPT + 5):
            ended(store, number, took_s=float(number))
        for key in durations_keys(watched(store, 91)):
            assert connection.lrange(key, 0, -1) == [f"{number}".encode() for number in range(KEPT + 4, 4, -1)]
            assert 89 * 86_400 < connection.ttl(key) <= 90 * 86_400

    @pytest.mark.parametrize(("polls", "samples"), [(1, 0), (2, 1)])
    def test_without_the_apis_times_one_look_teaches_nothing(
        self, store: Store, connection: redis.Redis, polls: int, samples: int
    ) -> None:
        ended(store, 1, took_s=None, polls=polls)
        own, _ = durations_keys(watched(store, 91))
        assert connection.llen(own) == samples

    def test_what_took_longer_than_any_watch_teaches_nothing(self, store: Store, connection: redis.Redis) -> None:
        ended(store, 1, took_s=LONGEST_S + 1)
        assert list(connection.scan_iter("opwatch:durations*")) == []
        connection.rpush(durations_keys(watched(store, 2))[0], "1.79e9", "3", "4", "5")  # by a version that accepted it
        (known,) = Learned(connection).durations([watched(store, 3)])
        assert known.usual == Usual(p50=4.0, p90=5.0, samples=3)

    def test_more_kinds_than_are_kept_are_answered_all_the_same(self, store: Store, connection: redis.Redis) -> None:
        learned = Learned(connection, most_kept=20)
        many = [fresh(store, 1, app=f"app-{number}", operation=RESTART) for number in range(25)]
        for batch in (many[:15], many[:15] + many[-1:], many):
            assert len(learned.durations(batch)) == len(batch)
        assert learned.durations([fresh(store, 1)])[0] == Durations.learn()

    def test_a_type_named_like_a_list_teaches_no_app(self, store: Store) -> None:
        odd = fresh(store, 1, app="other", operation=Operation(status="running", type="osc-fr1:shop:restart"))
        assert not set(durations_keys(odd)) & set(durations_keys(fresh(store, 2, operation=RESTART)))

    def test_what_was_stopped_or_lost_teaches_nothing(self, store: Store, connection: redis.Redis) -> None:
        stored = store.records.get(watched(store, 1).id)
        assert stored is not None
        store.update(stored, lambda tracking: looks.cancelled(tracking, store.records.now()))
        assert list(connection.scan_iter("opwatch:durations*")) == []

    def test_a_damaged_list_stops_neither_an_outcome_nor_a_round(self, store: Store, connection: redis.Redis) -> None:
        own, of_type = durations_keys(fresh(store, 1, operation=RESTART))
        connection.set(of_type, "not a list")
        connection.rpush(own, "7", "nan", "-1", b"\xff", "inf", "8", "9")
        ended(store, 1, took_s=8.0)
        (known,) = Learned(connection).durations([watched(store, 91)])
        assert known.usual == Usual(p50=8.0, p90=9.0, samples=4)
        assert store.records.get(f"osc-fr1-{operation_id(1)}") is not None
        assert connection.zcard("opwatch:due") == 1


RESTART = Operation(status="running", type="restart")


def watched(store: Store, number: int, **changes: Any) -> Tracking:
    """Store a tracking of a running restart."""
    tracking = fresh(store, number, **{"operation": RESTART, **changes})
    store.add(tracking)
    return tracking


def ended(store: Store, number: int, *, took_s: float | None, polls: int = 2) -> None:
    """End a restart after so many seconds by the API's times, or without times, seen at the last of its looks."""
    begun = watched(store, number, claim="test", polls=polls - 1)
    end_at = None if took_s is None else begun.created_at
    start_at = None if took_s is None else begun.created_at - timedelta(seconds=took_s)
    done = replace(RESTART, status="done", outcome=Verdict.SUCCEEDED, created_at=start_at, finished_at=end_at)
    stored = store.records.get(begun.id)
    assert stored is not None
    now = store.records.now()
    ended = store.update(
        stored, lambda t: looks.after_look(t, "test", done, now=now, durations=Durations.learn(), rules={})
    )
    assert ended is not None


class TestCompareAndSwap:
    """A change applies only to the record it was computed from."""

    def test_of_many_that_add_the_same_one_wins(self, store: Store) -> None:
        candidates = [fresh(store, created_by=f"caller-{number}") for number in range(24)]
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(store.add, candidates))
        winner = found(store, candidates[0].id).tracking
        assert [answer for answer in answers if answer is None] == [None]
        assert all(answer is None or answer.tracking == winner for answer in answers)
        assert store.overview.in_flight() == {"default": 1}

    def test_of_many_changes_at_once_none_is_lost(self, store: Store) -> None:
        begun = fresh(store, context={})
        store.add(begun)
        first = found(store, begun.id)

        def count(number: int) -> None:
            changed = store.update(first, lambda t: replace(t, context={**t.context, str(number): "x"}))
            assert changed is not None

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(count, range(60)))
        assert set(found(store, begun.id).tracking.context) == {str(number) for number in range(60)}

    def test_of_many_that_claim_at_once_one_gets_it(self, store: Store) -> None:
        begun = fresh(store)
        store.add(begun)
        stored, now = found(store, begun.id), store.records.now()

        def claim(number: int) -> bool:
            def take(tracking: Tracking) -> Tracking | None:
                due = tracking.next_look_at is not None and tracking.next_look_at <= now
                return looks.claimed(tracking, f"worker-{number}", now) if due else None

            return store.update(stored, take) is not None

        with ThreadPoolExecutor(12) as pool:
            assert sum(pool.map(claim, range(24))) == 1

    def test_of_many_outcomes_at_once_the_first_stays(self, store: Store) -> None:
        begun = fresh(store)
        store.add(begun)
        stored = store.update(found(store, begun.id), lambda t: looks.claimed(t, "mine", store.records.now()))
        assert stored is not None

        def end(number: int) -> Stored | None:
            outcome = Operation(status="error", outcome=Verdict.FAILED, error=f"error {number}")

            def take_in(tracking: Tracking) -> Tracking | None:
                now = store.records.now()
                return looks.after_look(tracking, "mine", outcome, now=now, durations=Durations.learn(), rules=RULES)

            return store.update(stored, take_in, also=(index.added("looks:answered"),))

        with ThreadPoolExecutor(12) as pool:
            (winner,) = filter(None, pool.map(end, range(24)))
        assert found(store, begun.id).tracking == winner.tracking
        body = store.records.announcement(begun.id, 1)
        assert body is not None
        assert winner.tracking.operation is not None
        assert str(winner.tracking.operation.error).encode() in body
        assert store.overview.counters()["outcomes:failed"] == 1
        assert store.overview.counters()["looks:answered"] == 1
        assert store.overview.size(OUTBOX) == 2

    def test_one_that_is_gone_is_not_brought_back(self, store: Store, connection: redis.Redis) -> None:
        begun = fresh(store)
        store.add(begun)
        stored = found(store, begun.id)
        connection.delete(f"opwatch:tracking:{begun.id}")
        assert store.update(stored, lambda t: looks.claimed(t, "late", store.records.now())) is None
        assert store.records.get(begun.id) is None


class TestManyAtOnce:
    """Changes of many records in one round trip."""

    def test_each_stands_for_itself(self, store: Store, connection: redis.Redis) -> None:
        read = [added(store, number) for number in range(5)]
        end(store, 2)  # another change was first
        connection.delete(f"opwatch:tracking:{read[3].tracking.id}")

        def broken(_: Tracking) -> Tracking:
            raise ZeroDivisionError

        def cancel(tracking: Tracking) -> Tracking | None:
            return looks.cancelled(tracking, store.records.now() + timedelta(seconds=1))  # at a different time

        changes = [broken if number == 1 else cancel for number in range(5)]
        first, error, too_late, gone, last = store.update_all(
            [Change(stored, change) for stored, change in zip(read, changes, strict=True)]
        )
        assert isinstance(error, ZeroDivisionError)
        assert (too_late, gone) == (None, None)
        for after in (first, last):
            assert isinstance(after, Stored)
            assert found(store, after.tracking.id) == after
            assert after.tracking.state is State.CANCELLED
        assert connection.zcard(DUE) == 2  # the broken one, and the entry without a record

    def test_one_that_redis_refuses_holds_up_no_other(self, store: Store, connection: redis.Redis) -> None:
        one, other = added(store, 1), added(store, 2)
        connection.set(COUNTERS, "not a hash")
        refused, after = store.update_all(
            [Change(one, looked_once, (index.added("looks:answered"),)), Change(other, looked_once)]
        )
        assert isinstance(refused, redis.ResponseError)
        assert isinstance(after, Stored)
        assert found(store, other.tracking.id).tracking.polls == 1

    def test_of_several_of_one_record_none_is_lost(self, store: Store) -> None:
        one = added(store, 1)

        def naming(target: str) -> Change:
            return Change(one, lambda tracking: replace(tracking, notify=(*tracking.notify, target)))

        store.update_all([naming(target) for target in ("first", "second", "third")])
        assert found(store, one.tracking.id).tracking.notify == ("first", "second", "third")


class TestDue:
    """Due trackings are read only once while they wait."""

    def test_what_others_change_meanwhile_is_found_by_the_claim(self, store: Store, connection: redis.Redis) -> None:
        one = added(store, 1)
        assert store.records.due_trackings() == [one]
        other = Store(connection, retention=RETENTION)
        other.update(one, lambda tracking: replace(tracking, notify=("slack",)))
        (waiting,) = store.records.due_trackings()
        claimed = store.update(waiting, lambda tracking: looks.claimed(tracking, "worker", store.records.now()))
        assert claimed is not None
        assert claimed.tracking.notify == ("slack",)
        assert store.records.due_trackings() == []

    def test_what_moved_meanwhile_is_read_anew(self, store: Store, connection: redis.Redis) -> None:
        one = added(store, 1)
        assert store.records.due_trackings() == [one]
        other = Store(connection, retention=RETENTION)
        earlier = other.update(
            one, lambda tracking: replace(tracking, polls=7, next_look_at=store.records.now() - timedelta(seconds=9))
        )
        assert store.records.due_trackings() == [earlier]

    def test_thousands_that_cannot_be_read_do_not_hide_one_that_can(
        self, store: Store, connection: redis.Redis
    ) -> None:
        for number in range(1, 2_001):
            newer = replace(fresh(store, number), v=RECORD_VERSION + 1)
            connection.set(index.record_key(newer.id), encode(newer))
            connection.zadd(DUE, {newer.id: number})
        one = added(store, 5_000)
        for _ in range(2):
            assert store.records.due_trackings(2_000) == [one]
        other = added(store, 5_001)
        assert store.records.due_trackings(1) == [one]
        assert store.records.due_trackings(2_000) == [one, other]


def added(store: Store, number: int) -> Stored:
    """Store a tracking that begins now, and read it."""
    store.add(fresh(store, number))
    return found(store, f"osc-fr1-{operation_id(number)}")


def looked_once(tracking: Tracking) -> Tracking:
    """Count a look."""
    return replace(tracking, polls=tracking.polls + 1)


class TestNewerVersions:
    """Two versions overlap during a deploy; the older one does not change the newer one's records."""

    def test_their_records_are_left_alone(self, store: Store, connection: redis.Redis) -> None:
        for number in (1, 2):
            store.add(fresh(store, number))
        ours, theirs = f"osc-fr1-{operation_id(1)}", f"osc-fr1-{operation_id(2)}"
        record = found(store, theirs).record.rstrip(b"}") + b',"v":%d}' % (RECORD_VERSION + 1)
        connection.set(f"opwatch:tracking:{theirs}", record)
        assert [stored.tracking.id for stored in store.records.due_trackings()] == [ours]
        assert [stored.tracking.id for _, stored in store.listing.recent()] == [ours]
        assert connection.get(f"opwatch:tracking:{theirs}") == record
        assert connection.zscore(DUE, theirs) is not None

    def test_fields_that_are_not_known_are_passed_over(self, store: Store, connection: redis.Redis) -> None:
        store.add(fresh(store))
        stored = found(store, fresh(store).id)
        connection.set(f"opwatch:tracking:{stored.tracking.id}", stored.record.rstrip(b"}") + b',"colour":"red"}')
        assert found(store, stored.tracking.id).tracking == stored.tracking


class Lifecycles(RuleBasedStateMachine):
    """Applies all changes to a few trackings, in any order, also with outdated claims."""

    claims = Bundle("claims")
    attempts = Bundle("attempts")
    numbers = st.integers(0, 2)

    def __init__(self, url: str) -> None:
        super().__init__()
        self.connection: Any = connected(url)
        self.connection.flushall()
        self.store = Store(self.connection, retention=RETENTION)
        self.impatient = Store(self.connection, retention=timedelta(0))
        self.outcomes: dict[tuple[str, str, int], tuple[Any, ...]] = {}
        self.bodies: dict[tuple[str, str, int], bytes] = {}
        self.subjects_told: set[str] = set()
        self.alerts_known: set[str] = set()
        self.count = 0

    def teardown(self) -> None:
        self.connection.close()

    @rule(
        number=numbers,
        account=st.sampled_from([None, "default", "other"]),
        notify=st.sampled_from([None, (), ("all",), ("others", "gone")]),
        caller_counted=st.booleans(),  # older versions do not
    )
    def track(self, number: int, account: str | None, notify: tuple[str, ...] | None, *, caller_counted: bool) -> None:
        begun = fresh(
            self.store,
            number,
            account=account or "default",
            notify_all=notify is None,
            notify=tuple(notify or ()),
            created_by=self._token(),
            caller_counted=caller_counted,
        )
        try:
            intake.track(self.store, begun, account=account, rules=RULES, now=self.store.records.now())
        except intake.TrackedOtherwiseError:
            assert found(self.store, begun.id).tracking.account != account

    @rule(target=claims, number=numbers)
    def claim(self, number: int) -> Any:
        token, now = self._token(), self.store.records.now()

        def take(tracking: Tracking) -> Tracking | None:
            return looks.claimed(tracking, token, now) if tracking.state is State.TRACKING else None

        stored = self._update(number, take)
        return multiple() if stored is None else (number, token, stored)

    @rule(
        claim=claims,
        what=st.sampled_from(
            [
                DONE,
                BROKEN,
                Operation(status="running"),
                TransientError("500"),
                OperationMissingError("404"),
                AccessRefusedError("403"),
                SignInRejectedError("401"),
            ]
        ),
        late=st.sampled_from([timedelta(0), timedelta(minutes=2), timedelta(hours=2)]),
    )
    def look(self, claim: Any, what: Operation | OpwatchError, late: timedelta) -> None:
        _, token, stored = claim
        now = self.store.records.now() + late

        def take_in(tracking: Tracking) -> Tracking | None:
            known = Durations.learn([1.0] * 5)
            return looks.after_look(tracking, token, what, now=now, durations=known, rules=RULES, alert_target="ops")

        self._note_alerts(self.store.update(stored, take_in, also=(index.added("looks:any"),)))

    @rule(claim=claims)
    def release(self, claim: Any) -> None:
        _, token, stored = claim
        self.store.update(stored, lambda tracking: looks.released(tracking, token, self.store.records.now()))

    @rule(number=numbers)
    def cancel(self, number: int) -> None:
        self._update(number, lambda tracking: looks.cancelled(tracking, self.store.records.now()))

    @rule(target=attempts, number=numbers, pick=st.integers(0, 5))
    def attempt(self, number: int, pick: int) -> Any:
        stored = self.store.records.get(f"osc-fr1-{operation_id(number)}")
        unfinished = [d for d in stored.tracking.outgoing if d.unfinished] if stored else []
        if stored is None or not unfinished:
            return multiple()
        wanted = unfinished[pick % len(unfinished)]
        token, now = self._token(), self.store.records.now()
        begun = self.store.update(stored, lambda tracking: claimed(tracking, [wanted], token, now))
        assert begun is not None
        (delivery,) = (d for d in begun.tracking.outgoing if d.claim == token)
        return delivery, begun

    @rule(attempt=attempts, how=st.sampled_from(["delivered", "again", "dead", "back"]))
    def finish_attempt(self, attempt: Any, how: str) -> None:
        delivery, begun = attempt
        now, policy = self.store.records.now(), Policy(delays_s=(300.0,) * 99, alert_target="ops")
        errors = {"again": TransientError("500"), "dead": PermanentError("410")}

        def change(tracking: Tracking) -> Tracking | None:
            if how == "back":
                return released(tracking, delivery.id, delivery.claim, now)
            return after_attempt(tracking, delivery, Result(error=errors.get(how)), now, policy)

        self._note_alerts(self.store.update(begun, change))

    @rule(subject=st.sampled_from(["failing:all", "failing:failures", "failing:gone", "rejected:default"]))
    def be_quiet_no_longer(self, subject: str) -> None:
        self.connection.delete(f"opwatch:{subject}")
        self.subjects_told.discard(subject)

    @rule(number=numbers, name=st.sampled_from(["all", "failures", "gone"]))
    def retry(self, number: int, name: str) -> None:
        self._update(number, lambda tracking: retried(tracking, name, self.store.records.now()))

    @rule()
    def maintain(self) -> None:
        now, ahead = self.store.records.now(), set()
        for member, score in self.connection.zrange(EXPIRING, 0, -1, withscores=True):
            assert score > milliseconds(now)
            if last_end(found(self.store, member.decode()).tracking) > now:  # of a late look
                ahead.add(member)
            else:  # as if the retention had passed; the invariant below takes this into account
                self.connection.zadd(EXPIRING, {member: milliseconds(now) - 1})
        maintain(self.connection, self.impatient)
        assert set(self.connection.zrange(EXPIRING, 0, -1)) == ahead

    @invariant()
    def every_index_says_what_the_records_say(self) -> None:
        records = [decode(self.connection.get(key)) for key in self.connection.keys("opwatch:tracking:*")]
        due, outbox, expiring, watched, retrying = {}, {}, {}, Counter[str](), Counter[str]()
        for tracking in records:
            if tracking.state is State.TRACKING:
                assert tracking.next_look_at is not None
                due[tracking.id] = milliseconds(tracking.next_look_at)
                watched[tracking.account] += 1
                watched[caller_field(tracking.account, tracking.created_by)] += tracking.caller_counted
            pending = [d for d in tracking.outgoing if d.state in UNFINISHED]
            for delivery in pending:
                assert delivery.next_attempt_at is not None
                outbox[delivery.id] = milliseconds(delivery.next_attempt_at)
                if delivery.state is DeliveryState.RETRYING:
                    retrying[delivery.target] += 1
            assert tracking.state is State.TRACKING or not any(d.warns for d in pending), "an end skips the warning"
            if tracking.state is not State.TRACKING and not pending:
                expiring[tracking.id] = milliseconds(last_end(tracking) + RETENTION)
        assert self._scores(DUE) == due
        assert self._scores(OUTBOX) == outbox
        assert self._scores(EXPIRING) == expiring
        for caller in {each.created_by for each in records}:
            own = {each.id: each for each in records if each.id in expiring and each.created_by == caller}
            ended = {each.id: milliseconds(last_end(each)) for each in own.values()}
            assert self._scores(caller_key(ENDED_BY, caller)) == ended
            assert self._scores(caller_key(CANCELLED, caller)) == {
                each: at for each, at in ended.items() if own[each].state is State.CANCELLED and not own[each].outgoing
            }
        kept = {index.body_key(each.id, run).encode() for each in records for run in index.body_runs(each)}
        assert set(self.connection.keys("opwatch:announcement:*")) <= kept
        assert self._scores(RECENT) == {tracking.id: milliseconds(tracking.created_at) for tracking in records}
        targets = ("all", "failures", "gone", "ops")
        assert self.store.overview.retrying(targets) == {target: retrying[target] for target in targets}
        counts = {account.decode(): int(count) for account, count in self.connection.hgetall(IN_FLIGHT).items()}
        assert {field: count for field, count in counts.items() if count} == dict(+watched)

    @invariant()
    def the_first_outcome_stays_and_is_counted_once(self) -> None:
        for key in self.connection.keys("opwatch:tracking:*"):
            tracking = decode(self.connection.get(key))
            if tracking.ended_at is None:
                continue
            body = self.connection.get(f"opwatch:announcement:{tracking.id}:{tracking.run}")
            outcome = (tracking.state, tracking.ended_at, tracking.operation, tracking.reason)
            told = any(d.run == tracking.run and d.state != "skipped" for d in tracking.deliveries)
            assert (body is not None) == (told or tracking.slow is not None)
            if body is not None:
                assert self.bodies.setdefault((tracking.id, tracking.created_by, tracking.run), body) == body
            assert self.outcomes.setdefault((tracking.id, tracking.created_by, tracking.run), outcome) == outcome
        ended = Counter(f"outcomes:{outcome[0]}" for outcome in self.outcomes.values())
        counters = {name.decode(): int(count) for name, count in self.connection.hgetall(COUNTERS).items()}
        assert {name: count for name, count in counters.items() if name.startswith("outcomes:")} == dict(ended)

    def _note_alerts(self, stored: Stored | None) -> None:
        """Check that a new alert has no recent one about the same subject."""
        for alert in stored.tracking.alerts if stored else ():
            if alert.id not in self.alerts_known and alert.alert is not None:
                self.alerts_known.add(alert.id)
                subject = f"{alert.alert.kind}:{alert.alert.subject}"
                assert subject not in self.subjects_told
                self.subjects_told.add(subject)

    def _token(self) -> str:
        self.count += 1
        return f"claim-{self.count}"

    def _update(self, number: int, change: Callable[[Tracking], Tracking | None]) -> Stored | None:
        stored = self.store.records.get(f"osc-fr1-{operation_id(number)}")
        return None if stored is None else self.store.update(stored, change)

    def _scores(self, key: str) -> dict[str, int]:
        return {member.decode(): int(score) for member, score in self.connection.zrange(key, 0, -1, withscores=True)}


def milliseconds(at: datetime) -> int:
    """Write a time as a score."""
    return round(at.timestamp() * 1000)


def last_end(tracking: Tracking) -> datetime:
    """Return when the last thing about a tracking ended."""
    assert tracking.ended_at is not None
    return max([tracking.ended_at, *(d.ended_at for d in tracking.outgoing if d.ended_at is not None)])


def test_whatever_happens_the_indexes_agree_with_the_records(valkey: Valkey) -> None:
    run_state_machine_as_test(
        lambda: Lifecycles(valkey.url),  # type: ignore[arg-type]  # any callable that makes one will do
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("state", list(DeliveryState))
def test_a_delivery_of_any_state_survives_storing(store: Store, state: DeliveryState) -> None:
    now = store.records.now()
    delivery = Delivery(target="all", run=1, verdict=Verdict.FAILED, state=state, next_attempt_at=now)
    begun = with_ids(fresh(store, deliveries=(delivery,)))
    store.add(begun)
    assert found(store, begun.id).tracking == begun
