"""Rounds of looks and deliveries in this process: what they claim and record, and what they do not delay."""

import base64
import json
import queue
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis

from config.settings import Settings
from operations.model import Delivery, DeliveryState, State, Tracking
from operations.storage.budget import GOOD_FOR_S
from operations.storage.heartbeat import Heartbeat
from operations.storage.index import OUTBOX
from operations.storage.records import WINDOW
from operations.storage.store import Store
from operations.telling import attempts
from operations.telling.attempts import LEASE
from operations.watching import looks
from scalingo.transport import LARGEST_ANSWER
from standin import faults
from standin.api import ScalingoApi
from tests.integration.bench import BROKEN, NO_OTHER_TARGETS, Caller, found, looked_at, operation_id, seen, tracked
from tests.integration.rounds import hold, look, tell_all
from tests.support.receiver import Receiver, Reply
from tests.support.running import PATIENCE_S, wait_until
from workers import choice
from workers import runtime as workers_runtime
from workers.clock import Clock
from workers.deliver import delivery_round
from workers.look import look_round, release_looks_of
from workers.runtime import Runtime

Start = Callable[..., Runtime]


def signed_in(running: Runtime, store: Store, scalingo: ScalingoApi) -> None:
    """Let a look sign in, and the budget recover from it."""
    identity = tracked(store, scalingo.operation().id)
    look_round()
    assert looked_at(store, identity).state is State.SUCCEEDED
    wait_until(
        lambda: running.budget.balance("default").tokens >= running.budget.allowance.capacity, what="a full bucket"
    )


def under_way(store: Store, settings: Settings, scalingo: ScalingoApi, receiver: Receiver) -> tuple[str, str]:
    """Begin a look and a delivery that hang as long as possible. Returns the ids of the two trackings."""
    operation = scalingo.operation().id
    scalingo.fault(faults.hang(60), operation_id=operation)
    receiver.script("/webhook", Reply(hang_s=60))
    identity = tracked(store, operation)
    told = tracked(store, scalingo.operation().id, notify_all=False, notify=("webhook",))
    seen(store, told, BROKEN, settings.rules)
    look_round()
    delivery_round()
    scalingo.wait_for(1, operation_id=operation)
    receiver.wait_for(1)
    return identity, told


def all_looked_at(store: Store, identities: list[str]) -> Callable[[], bool]:
    """Return a function that tells whether each was looked at."""
    return lambda: all(found(store, identity).tracking.polls for identity in identities)


def delivery(store: Store, identity: str, target: str, *states: str) -> Delivery:
    """Return the delivery to a target once it is in one of the states."""

    def there() -> Delivery | None:
        deliveries = found(store, identity).tracking.deliveries
        return next((d for d in deliveries if d.target == target and d.state in states), None)

    met = wait_until(there, what=f"{target} being {states}")
    assert met is not None
    return met


class TestLooks:
    """A round of looks."""

    @pytest.mark.usefixtures("runtime")
    def test_an_operation_that_runs_is_looked_at_again_later(self, store: Store, scalingo: ScalingoApi) -> None:
        identity = tracked(store, scalingo.operation(duration_s=None).id)
        after = look(store, identity)
        assert after.state is State.TRACKING
        assert after.claim is None
        assert after.operation is not None
        assert after.operation.status == "running"
        assert after.next_look_at is not None
        assert store.records.due_trackings() == []

    @pytest.mark.usefixtures("runtime")
    @pytest.mark.parametrize(("outcome", "state"), [("done", "succeeded"), ("error", "failed")])
    def test_an_operation_that_ended_is_announced_to_all(
        self, store: Store, scalingo: ScalingoApi, outcome: Any, state: str
    ) -> None:
        identity = tracked(store, scalingo.operation(outcome=outcome).id)
        after = look(store, identity)
        assert after.state == state
        states = {d.target: d.state.value for d in after.deliveries}
        assert states["slack"] == states["webhook"] == "pending"
        assert states["failures"] == ("pending" if state == "failed" else "skipped")
        assert store.records.announcement(identity, 1)

    @pytest.mark.usefixtures("runtime")
    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            (faults.internal_error(), "500"),
            (faults.html(), "200"),
            (faults.not_json(), "200"),
            (faults.wrong_shape(), "200"),
            (faults.rate_limited(), "429"),
            (faults.payment_required(), "402"),
            (faults.unknown_route(), "404"),
            (faults.hang(0.2), "no answer"),
            (faults.reset(), "no answer"),
            (faults.answer(302), "302"),
            (faults.forbidden(), "403"),
            (faults.operation_not_found(), "404"),
        ],
    )
    def test_a_failure_is_shown_and_ends_nothing(
        self, store: Store, scalingo: ScalingoApi, fault: faults.Fault, said: str
    ) -> None:
        operation = scalingo.operation().id
        scalingo.fault(fault, operation_id=operation)
        identity = tracked(store, operation)
        after = look(store, identity)
        assert after.state is State.TRACKING
        assert said in (after.last_error or "")
        assert look(store, identity).state is State.SUCCEEDED

    @pytest.mark.usefixtures("runtime")
    @pytest.mark.parametrize("shift", range(7))  # the cut is at another place of the text's escapes
    def test_an_answer_that_is_larger_than_we_like_still_has_a_status(
        self, store: Store, scalingo: ScalingoApi, shift: int
    ) -> None:
        operation = scalingo.operation().id
        text = "head\n" + "x" * shift + '\\"é\n' * 700_000 + "FATAL: the cause"
        fields = {"id": operation, "error": text, "status": "error", "message": text if shift % 2 else None}
        body = json.dumps({"operation": fields}).encode()
        assert len(body) > LARGEST_ANSWER
        scalingo.fault(lambda _: Reply(200, body), operation_id=operation)
        after = look(store, tracked(store, operation)).operation
        assert after is not None
        assert (after.status, after.error_truncated) == ("error", True)
        assert (after.error or "").startswith("head\n")
        assert (after.error or "").endswith("FATAL: the cause")

    @pytest.mark.usefixtures("runtime")
    @pytest.mark.parametrize(("status", "said"), [(429, "429"), (404, "no such app"), (500, "500: x"), (200, "200")])
    def test_so_has_a_large_refusal(self, store: Store, scalingo: ScalingoApi, status: int, said: str) -> None:
        operation = scalingo.operation().id
        body = json.dumps({"resource": "app", "error": "x" * LARGEST_ANSWER})
        scalingo.fault(lambda _: Reply(status, body), operation_id=operation)
        after = look(store, tracked(store, operation))
        assert said in (after.last_error or "")
        assert "larger" not in (after.last_error or "")

    @pytest.mark.usefixtures("runtime")
    def test_a_watch_past_its_time_ends_with_an_answer_that_says_it_still_runs(
        self, store: Store, scalingo: ScalingoApi
    ) -> None:
        long_ago = store.records.now() - timedelta(hours=2)
        operation = scalingo.operation(duration_s=None).id
        identity = tracked(store, operation, created_at=long_ago)
        scalingo.fault(faults.internal_error(), operation_id=operation)
        assert look(store, identity).state is State.TRACKING  # a missing answer is not a verdict
        after = look(store, identity)
        assert after.state is State.TIMED_OUT
        assert "running" in (after.reason or "")

    @pytest.mark.usefixtures("runtime")
    def test_a_watch_past_its_time_without_any_answer_says_that(self, store: Store, scalingo: ScalingoApi) -> None:
        now = store.records.now()
        operation = scalingo.operation().id
        scalingo.fault(faults.internal_error(), operation_id=operation)
        identity = tracked(
            store,
            operation,
            created_at=now - timedelta(hours=2),
            unanswered_since=now - timedelta(minutes=16),
        )
        after = look(store, identity)
        assert after.state is State.TIMED_OUT
        assert "no usable answer" in (after.reason or "")
        assert "500" in (after.reason or "")

    @pytest.mark.usefixtures("runtime")
    def test_three_documented_404_over_a_minute_are_a_loss(self, store: Store) -> None:
        identity = tracked(store, operation_id(404))
        assert look(store, identity).state is State.TRACKING
        backdate = timedelta(seconds=61)
        store.update(
            found(store, identity),
            lambda t: replace(t, missing_since=(t.missing_since or store.records.now()) - backdate),
        )
        assert look(store, identity).state is State.TRACKING
        after = look(store, identity)
        assert after.state is State.LOST
        assert "404" in (after.reason or "")

    def test_a_look_that_hangs_holds_up_neither_the_round_nor_another(
        self, runtime: Runtime, store: Store, scalingo: ScalingoApi
    ) -> None:
        signed_in(runtime, store, scalingo)
        hanging, well = scalingo.operation().id, scalingo.operation().id
        scalingo.fault(faults.hang(60), operation_id=hanging)
        stuck, fine = tracked(store, hanging), tracked(store, well)
        look_round()
        assert looked_at(store, fine).state is State.SUCCEEDED
        assert found(store, stuck).tracking.polls == 0
        assert store.records.due_trackings() == []  # claimed: no other worker looks
        scalingo.stop()  # this ends the look

    @pytest.mark.usefixtures("runtime")
    def test_rounds_at_once_look_only_once(self, store: Store, scalingo: ScalingoApi) -> None:
        operations = [scalingo.operation(duration_s=None).id for _ in range(10)]
        an_hour_ago = store.records.now() - timedelta(hours=1)  # the next looks come after half a minute
        identities = [tracked(store, operation, timeout_s=7200, created_at=an_hour_ago) for operation in operations]
        all_seen = all_looked_at(store, identities)
        with ThreadPoolExecutor(4) as pool:
            for rounds_held in [pool.submit(hold, look_round, all_seen) for _ in range(4)]:
                rounds_held.result()
        looks = [seen.operation_id for seen in scalingo.requests if seen.operation_id]
        assert sorted(looks) == sorted(operations)

    def test_a_short_budget_goes_to_those_unseen_for_longest(
        self, start_worker: Start, store: Store, scalingo: ScalingoApi
    ) -> None:
        running = start_worker(SCALINGO_REQUESTS_PER_MINUTE="60")
        signed_in(running, store, scalingo)
        now = store.records.now()
        identities = [
            tracked(
                store,
                scalingo.operation(duration_s=None).id,
                last_polled_at=now - timedelta(seconds=number),
                created_at=now - timedelta(minutes=5),
            )
            for number in range(12)
        ]
        look_round()  # five tokens: five looks are claimed
        now_known = [found(store, identity).tracking for identity in identities]
        assert [i for i, each in enumerate(now_known) if each.claim or each.polls] == [7, 8, 9, 10, 11]

    def test_a_short_budget_is_shared_by_callers_however_many_operations_one_has(
        self, start_worker: Start, store: Store, scalingo: ScalingoApi
    ) -> None:
        running = start_worker(SCALINGO_REQUESTS_PER_MINUTE="60")
        signed_in(running, store, scalingo)
        for number in range(WINDOW + 50):  # more than one window of them
            many = {"created_by": "many", "caller_counted": True, "id": f"osc-fr1-{operation_id(number)}"}
            tracked(store, operation_id(number), **many)
        one = tracked(store, scalingo.operation(duration_s=None).id, created_by="one", caller_counted=True)
        before = len(scalingo.requests)
        hold(look_round, lambda: found(store, one).tracking.polls >= 2, "two looks at the one")
        assert len(scalingo.requests) - before < 30  # not the thousand before it

    def test_a_429_slows_the_account_down(self, runtime: Runtime, store: Store, scalingo: ScalingoApi) -> None:
        operation = scalingo.operation().id
        scalingo.fault(faults.rate_limited(retry_after_s=30), operation_id=operation)
        look(store, tracked(store, operation))
        wait_until(lambda: runtime.budget.spend("default", 1)[1] > 25, what="the pause")
        assert runtime.budget.spend("other", 1)[0] == 1

    def test_a_late_answer_changes_nothing(self, settings: Settings, store: Store, scalingo: ScalingoApi) -> None:
        running = workers_runtime.start(settings)
        operation = scalingo.operation(outcome="error").id
        scalingo.fault(faults.slow(1), operation_id=operation)
        identity = tracked(store, operation)
        look_round()
        scalingo.wait_for(1, operation_id=operation)
        cancelled = store.update(found(store, identity), lambda t: looks.cancelled(t, store.records.now()))
        assert cancelled is not None
        running.finish(PATIENCE_S)  # this waits for the answer
        running.close()
        assert found(store, identity).tracking == cancelled.tracking

    def test_what_is_under_way_at_the_end_is_released(
        self, settings: Settings, store: Store, scalingo: ScalingoApi, receiver: Receiver
    ) -> None:
        running = workers_runtime.start(settings)
        identity, told = under_way(store, settings, scalingo, receiver)
        running.finish(0.2)
        running.close()
        released = found(store, identity).tracking
        assert (released.claim, released.polls) == (None, 0)
        assert [stored.tracking.id for stored in store.records.due_trackings()] == [identity]
        assert [stored.tracking.id for stored, _ in store.records.due_deliveries()] == [told]

    def test_nothing_is_spent_on_looks_that_could_only_wait_for_the_sign_in(
        self, start_worker: Start, store: Store, scalingo: ScalingoApi
    ) -> None:
        running = start_worker(SCALINGO_REQUESTS_PER_MINUTE="60")
        scalingo.fault(faults.slow(4), exchange=True)
        identities = [tracked(store, scalingo.operation().id) for _ in range(6)]
        for _ in range(3):
            look_round()
            scalingo.wait_for(1)  # the sign-in, which takes four seconds
        assert sum(found(store, identity).tracking.claim is not None for identity in identities) == 1
        assert running.budget.balance("default").tokens >= 3
        wait_until(lambda: running.client.sign_in.is_signed_in("default"), what="the bearer")
        look_round()
        claimed = [found(store, identity).tracking for identity in identities]
        assert sum(each.claim is not None or each.polls > 0 for each in claimed) >= 4

    def test_what_a_silent_worker_was_looking_at_is_looked_at_by_another(
        self, start_worker: Start, settings: Settings, store: Store, scalingo: ScalingoApi, receiver: Receiver
    ) -> None:
        silent = start_worker()
        identity, told = under_way(store, settings, scalingo, receiver)
        silent.heartbeat.beat(silent.name, store.records.now() - timedelta(seconds=4))
        other = start_worker()
        clock = Clock(other)
        clock.start()
        try:
            wait_until(lambda: found(store, identity).tracking.claim is None, what="the release of the look")
            look_round()
            assert looked_at(store, identity).state is State.SUCCEEDED
            # Its message may be on its way, so that lease has to run out.
            assert found(store, told).tracking.deliveries[0].claim is not None
        finally:
            clock.stop()

    @pytest.mark.parametrize("name", ["sign-in:default", "glance:other:osc-fr1"])
    def test_the_lock_of_a_silent_worker_is_anothers(self, start_worker: Start, store: Store, name: str) -> None:
        silent, other = start_worker(), start_worker()
        clock = Clock(other)
        try:
            assert silent.locks.acquire(name, silent.name, 60) is not None
            silent.heartbeat.beat(silent.name, store.records.now() - timedelta(seconds=4))
            assert other.locks.acquire(name, other.name, 60) is None
            clock.start()
            wait_until(lambda: other.locks.acquire(name, other.name, 60), what="the lock")
        finally:
            clock.stop()

    @pytest.mark.parametrize(("age_s", "spent"), [(0.0, 0), (GOOD_FOR_S + 0.1, 1), (float("inf"), 1)])
    def test_a_token_that_has_grown_old_is_not_used(
        self,
        start_worker: Start,
        store: Store,
        scalingo: ScalingoApi,
        age_s: float,
        spent: int,
    ) -> None:
        running = start_worker(SCALINGO_REQUESTS_PER_MINUTE="60")
        signed_in(running, store, scalingo)
        asked = found(store, tracked(store, scalingo.operation().id)).tracking
        ended: queue.Queue[str] = queue.Queue()

        async def ask() -> None:
            ended.put((await running.client.look(asked, granted_at_s=time.monotonic() - age_s, within_s=10.0)).status)

        before, began_s = running.budget.balance("default").tokens, time.monotonic()
        running.loop.submit(ask)
        assert ended.get(timeout=PATIENCE_S) == "done"
        gone = before - running.budget.balance("default").tokens
        refilled = (time.monotonic() - began_s) * running.budget.allowance.per_second
        assert max(0.0, spent - refilled) <= gone <= spent

    def test_a_worker_that_beats_keeps_what_it_looks_at(
        self, start_worker: Start, store: Store, scalingo: ScalingoApi
    ) -> None:
        operation = scalingo.operation().id
        scalingo.fault(faults.hang(60), operation_id=operation)
        identity = tracked(store, operation)
        silent, beating = start_worker(), start_worker()
        look_round()
        claim = found(store, identity).tracking.claim
        assert claim is not None
        assert release_looks_of(beating, frozenset({silent.name})) == 0
        assert found(store, identity).tracking.claim == claim

    @pytest.mark.usefixtures("runtime")
    @pytest.mark.parametrize("fault", [faults.reset(), faults.hang(0.2)])
    def test_a_broken_connection_is_not_tried_again_behind_the_budget(
        self, store: Store, scalingo: ScalingoApi, fault: faults.Fault
    ) -> None:
        operation = scalingo.operation(duration_s=None).id
        identity = tracked(store, operation)
        look(store, identity)  # from now on a connection is kept alive
        scalingo.fault(fault, operation_id=operation)
        after = look(store, identity)
        assert "no answer" in (after.last_error or "")
        assert after.polls == 2
        assert len([seen for seen in scalingo.requests if seen.operation_id == operation]) == 2

    @pytest.mark.usefixtures("runtime")
    def test_an_account_that_is_gone_from_the_settings_is_named(self, store: Store, scalingo: ScalingoApi) -> None:
        after = look(store, tracked(store, scalingo.operation().id, account="former"))
        assert after.state is State.TRACKING
        assert "former" in (after.last_error or "")

    @pytest.mark.usefixtures("runtime")
    def test_the_bearer_is_exchanged_once_for_many_looks(self, store: Store, scalingo: ScalingoApi) -> None:
        identities = [tracked(store, scalingo.operation().id) for _ in range(10)]
        hold(look_round, all_looked_at(store, identities))
        assert sum(seen.path == "/v1/tokens/exchange" for seen in scalingo.requests) == 1

    @pytest.mark.usefixtures("runtime")
    def test_a_failed_exchange_is_no_verdict(self, store: Store, scalingo: ScalingoApi) -> None:
        scalingo.fault(faults.internal_error(), exchange=True)
        after = look(store, tracked(store, scalingo.operation().id))
        assert after.state is State.TRACKING
        assert "signing in" in (after.last_error or "")


class TestDeliveries:
    """A delivery round."""

    @pytest.mark.usefixtures("runtime")
    def test_everybody_is_told_once(self, store: Store, settings: Settings, receiver: Receiver) -> None:
        identity = ended(store, settings)
        delivery_round()
        for target in ("slack", "webhook", "failures"):
            delivery(store, identity, target, "delivered")
        delivery_round()
        assert sorted(seen.path for seen in receiver.requests) == ["/failures", "/slack", "/webhook"]
        assert store.overview.size(OUTBOX) == 0

    @pytest.mark.usefixtures("runtime")
    def test_a_target_that_is_gone_from_the_settings_is_dead_and_says_so(
        self, store: Store, settings: Settings
    ) -> None:
        identity = ended(store, settings, notify=("former",))
        delivery_round()
        dead = delivery(store, identity, "former", "dead")
        assert "no longer configured" in (dead.last_error or "")

    @pytest.mark.usefixtures("runtime")
    def test_a_target_that_hangs_delays_no_other(self, store: Store, settings: Settings, receiver: Receiver) -> None:
        receiver.script("/webhook", Reply(hang_s=60))
        identity = ended(store, settings)
        delivery_round()
        delivery(store, identity, "slack", "delivered")
        delivery(store, identity, "failures", "delivered")
        assert delivery(store, identity, "webhook", "pending").claim is not None
        assert list(store.records.due_deliveries()) == []  # under its lease
        receiver.stop()  # this ends the attempt

    def test_whose_lease_ran_out_while_redis_was_away_may_record_first(
        self, runtime: Runtime, store: Store, settings: Settings, receiver: Receiver
    ) -> None:
        identity = ended(store, settings, notify=("webhook",))
        long_ago = store.records.now() - LEASE - timedelta(seconds=30)
        store.update(found(store, identity), lambda t: attempts.claimed(t, t.deliveries, "holder", long_ago))
        delivery_round()  # by a worker that has just started, or after an outage of Redis
        assert found(store, identity).tracking.deliveries[0].claim == "holder"
        clock = Clock(runtime)
        clock.start()
        try:
            wait_until(lambda: runtime.heartbeat.is_settled, what="Redis answering for a while")
            delivery_round()
            delivery(store, identity, "webhook", "delivered")
            assert len(receiver.requests) == 1
        finally:
            clock.stop()

    def test_a_worker_that_has_just_started_waits_for_the_heartbeats_of_others(
        self, store: Store, connection: redis.Redis
    ) -> None:
        heartbeat = Heartbeat(connection)
        assert not heartbeat.is_settled
        began_at_s = time.monotonic()
        heartbeat.beat("new", store.records.now())
        while not heartbeat.is_settled:
            heartbeat.beat("new", store.records.now())
        assert time.monotonic() - began_at_s >= 1  # others send theirs each second

    @pytest.mark.usefixtures("runtime")
    def test_rounds_at_once_tell_only_once(self, store: Store, settings: Settings, receiver: Receiver) -> None:
        identities = [ended(store, settings, notify=("webhook",)) for _ in range(8)]
        with ThreadPoolExecutor(4) as pool:
            for round_held in [pool.submit(delivery_round) for _ in range(8)]:
                round_held.result()
        for identity in identities:
            delivery(store, identity, "webhook", "delivered")
        told = [seen.headers["webhook-id"] for seen in receiver.requests]
        assert sorted(told) == sorted(f"{identity}_1_failed_webhook" for identity in identities)

    @pytest.mark.usefixtures("runtime")
    @pytest.mark.parametrize("code", ["no_service", "channel_is_archived", "invalid_token", "action_prohibited"])
    def test_slack_that_is_set_up_wrongly_is_dead_and_shows_the_code(
        self, store: Store, settings: Settings, receiver: Receiver, code: str
    ) -> None:
        receiver.script("/slack", Reply(403, code))
        identity = ended(store, settings, notify=("slack",))
        delivery_round()
        assert code in (delivery(store, identity, "slack", "dead").last_error or "")
        assert len(receiver.requests) == 1

    @pytest.mark.usefixtures("runtime")
    def test_a_message_that_slack_refuses_is_sent_as_plain_text(
        self, store: Store, settings: Settings, receiver: Receiver
    ) -> None:
        receiver.script("/slack", Reply(400, "invalid_blocks"), Reply())
        identity = ended(store, settings, notify=("slack",))
        delivery_round()
        assert delivery(store, identity, "slack", "delivered").attempts == 1
        first, second = (json.loads(seen.body) for seen in receiver.requests)
        assert "blocks" in first
        assert "blocks" not in second
        assert second["text"] == first["text"]

    @pytest.mark.usefixtures("runtime")
    @pytest.mark.parametrize(
        ("reply", "said"),
        [
            (Reply(500, "oops"), "500"),
            (Reply(200, "<html>a login page</html>", {"Content-Type": "text/html"}), "unexpected body"),
            (Reply(reset="after_read"), "no answer"),
            (Reply(429, "", {"Retry-After": "17"}), "429"),
        ],
    )
    def test_slack_that_stumbles_is_asked_again(
        self, store: Store, settings: Settings, receiver: Receiver, reply: Reply, said: str
    ) -> None:
        receiver.script("/slack", reply)
        identity = ended(store, settings, notify=("slack",))
        began = store.records.now()
        delivery_round()
        waiting = delivery(store, identity, "slack", "retrying")
        assert said in (waiting.last_error or "")
        assert waiting.next_attempt_at is not None
        assert waiting.claim is None
        least_s, most_s = (16.5, 17.5) if reply.status == 429 else (4.0, 6.0)  # our clock and the worker's may differ
        assert began + timedelta(seconds=least_s) <= waiting.next_attempt_at
        assert waiting.next_attempt_at <= store.records.now() + timedelta(seconds=most_s)

    @pytest.mark.usefixtures("runtime")
    @pytest.mark.parametrize("path", ["slack", "webhook"])
    def test_a_redirect_is_a_failure_and_is_not_followed(
        self, store: Store, settings: Settings, receiver: Receiver, path: str
    ) -> None:
        receiver.script(f"/{path}", Reply(302, "", {"Location": receiver.url("/elsewhere")}))
        identity = ended(store, settings, notify=(path,))
        delivery_round()
        delivery(store, identity, path, "retrying")
        assert [seen.path for seen in receiver.requests] == [f"/{path}"]

    @pytest.mark.usefixtures("runtime")
    def test_after_the_last_attempt_it_is_dead(self, store: Store, settings: Settings, receiver: Receiver) -> None:
        receiver.script("/webhook", Reply(503, "still down"))
        identity = ended(store, settings, notify=("webhook",))

        def due_for_the_last_time(tracking: Tracking) -> Tracking:
            (only,) = tracking.deliveries
            last = replace(
                only, attempts=11, failures=9, state=DeliveryState.RETRYING, next_attempt_at=store.records.now()
            )
            return replace(tracking, deliveries=(last,))

        store.update(found(store, identity), due_for_the_last_time)
        delivery_round()
        dead = delivery(store, identity, "webhook", "dead")
        assert dead.attempts == 12
        assert dead.last_error == "given up after 10 failed attempts; the last error: 503 Service Unavailable"

    @pytest.mark.usefixtures("runtime")
    @pytest.mark.parametrize(
        ("status", "state", "said"),
        [
            (410, "dead", "410 Gone"),
            (500, "retrying", "500 Internal Server Error"),
            (429, "retrying", "429 Too Many Requests"),
            (302, "retrying", "302 Found; redirects are refused: give its final URL"),
            (599, "retrying", "599"),
        ],
    )
    def test_what_a_webhook_answered_is_said_in_the_words_of_the_standard(
        self, store: Store, settings: Settings, receiver: Receiver, status: int, state: str, said: str
    ) -> None:
        receiver.script("/webhook", Reply(status, "no"))
        identity = ended(store, settings, notify=("webhook",))
        delivery_round()
        assert delivery(store, identity, "webhook", state).last_error == said

    @pytest.mark.usefixtures("runtime")
    def test_no_secret_shows_in_an_error(
        self, store: Store, settings: Settings, receiver: Receiver, caller: Caller
    ) -> None:
        receiver.stop()
        identity = ended(store, settings)
        delivery_round()
        for target in ("slack", "webhook", "failures"):
            assert "no answer" in (delivery(store, identity, target, "retrying").last_error or "")
        shown = json.dumps(caller.show(identity))
        for secret in (receiver.base_url, "/failures", "whsec_"):
            assert secret not in shown


class TestOtherSettings:
    """Other settings of targets."""

    def test_with_no_target_at_all_outcomes_are_printed(
        self, start_worker: Start, store: Store, capsys: pytest.CaptureFixture[str]
    ) -> None:
        identity = ended(store, start_worker(**NO_OTHER_TARGETS, OPWATCH_TARGETS_FILE="").settings)
        delivery_round()
        delivery(store, identity, "console", "delivered")
        assert "shop: restart failed" in capsys.readouterr().out

    def test_every_secret_signs_while_one_is_replaced(
        self, start_worker: Start, store: Store, receiver: Receiver
    ) -> None:
        new, old = (f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}" for _ in range(2))
        target = f'kind = "webhook"\nurl = "{receiver.url("/signed")}"\nsecret = ["{new}", "{old}"]'
        identity = ended(store, start_worker(f"[targets.signed]\n{target}", **NO_OTHER_TARGETS).settings)
        delivery_round()
        delivery(store, identity, "signed", "delivered")
        (request,) = receiver.requests
        signatures = request.headers["webhook-signature"].split()
        assert len(signatures) == 2
        assert all(signature.startswith("v1,") for signature in signatures)

    def test_somebody_is_mentioned_only_when_something_went_wrong(
        self, start_worker: Start, store: Store, scalingo: ScalingoApi, receiver: Receiver
    ) -> None:
        target = f'kind = "slack"\nwebhook_url = "{receiver.url("/loud")}"\nmention = "<!here>"'
        loaded = start_worker(f"[targets.loud]\n{target}", **NO_OTHER_TARGETS).settings
        failed = ended(store, loaded)
        delivery_round()
        delivery(store, failed, "loud", "delivered")
        well = tracked(store, scalingo.operation().id)
        look(store, well)
        tell_all(store)
        first, second = (json.loads(seen.body)["text"] for seen in receiver.requests)
        assert first.startswith("<!here> ")
        assert "<!here>" not in second


def test_a_round_plans_for_all_accounts_some_at_a_time(start_worker: Start, store: Store) -> None:
    accounts = [f"a{number}" for number in range(choice.ACCOUNTS_AT_ONCE + 1)]
    running = start_worker(**{f"SCALINGO_API_TOKEN_{account.upper()}": f"tk-us-{account}" for account in accounts})
    found_due = {}
    for number, account in enumerate(accounts):
        found_due[account] = [found(store, tracked(store, operation_id(number), account=account))]
    parts = list(choice.some_accounts_at_a_time(found_due))
    chosen = [choice.choose(running, part) for part in parts]
    assert sorted(map(len, parts)) == [1, choice.ACCOUNTS_AT_ONCE]
    assert sorted(look.stored.tracking.account for each in chosen for look in each.looks) == sorted(accounts)


def ended(store: Store, settings: Settings, notify: tuple[str, ...] = ()) -> str:
    """Store an operation that has just failed, with deliveries to all targets, or to those named."""
    identity = tracked(store, secrets.token_hex(12), notify=notify, notify_all=not notify)
    seen(store, identity, BROKEN, settings.rules)
    return identity
