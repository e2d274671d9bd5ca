"""Failures in a row with a real server: counted once each by many workers, and told."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import redis

from operations.model import DeliveryState, Operation, Tracking
from operations.storage.records import decode, encode
from operations.storage.store import Store
from operations.telling.announcement import announce
from standin.api import ScalingoApi
from tests.integration.bench import BROKEN, DONE, NO_OTHER_TARGETS, RETENTION, found, operation_id, seen, tracked
from tests.integration.rounds import look, tell_all
from tests.support.receiver import Receiver
from workers.runtime import Runtime

KEY = "opwatch:failures:default:osc-fr1:shop:restart"


def after(store: Store, number: int, what: Operation, app: str = "shop") -> Tracking:
    """End an operation of an app, as a worker does."""
    return seen(store, tracked(store, operation_id(number), app=app), what, {})


def test_workers_that_record_failures_at_once_count_each_once(store: Store, connection: redis.Redis) -> None:
    workers = [Store(connection, retention=RETENTION) for _ in range(4)]
    with ThreadPoolExecutor(12) as pool:
        ends = list(pool.map(lambda number: after(workers[number % 4], number, BROKEN), range(24)))
    assert sorted(end.failures_in_a_row or 0 for end in ends) == list(range(1, 25))
    for end in ends:
        told = announce(found(store, end.id).tracking).failures_in_a_row
        assert told == (0 if end.failures_in_a_row == 1 else end.failures_in_a_row)
    assert 89 * 86_400 < connection.ttl(KEY) <= 90 * 86_400
    assert after(store, 30, BROKEN, app="blog").failures_in_a_row == 1
    with ThreadPoolExecutor(12) as pool:  # of many successes at once, one ends the row
        again = list(pool.map(lambda number: after(workers[number % 4], number, DONE), range(31, 39)))
    assert sorted(end.failures_in_a_row or 0 for end in again) == [0] * 7 + [24]
    assert connection.exists(KEY) == 0


def test_what_another_version_or_another_program_left_keeps_no_outcome_back(
    store: Store, connection: redis.Redis
) -> None:
    first = after(store, 1, BROKEN)
    document = json.loads(encode(first))
    assert document.pop("failures_in_a_row") == 1
    assert decode(json.dumps(document).encode()).failures_in_a_row is None, "as an older version writes it"
    for number, left in enumerate((connection.rpush, connection.set), 2):
        connection.delete(KEY)
        left(KEY, "many")
        assert after(store, number, BROKEN).failures_in_a_row == 1
        assert connection.get(KEY) == b"1"


def test_a_channel_hears_of_failures_and_of_the_success_that_ends_them(
    start_worker: Callable[..., Runtime], store: Store, scalingo: ScalingoApi, receiver: Receiver
) -> None:
    start_worker(
        """
        [targets.news]
        kind = "slack"
        webhook_url = "${RECEIVER_URL}/news"
        on = ["failed", "recovered"]
        mention = "actor"

        [people]
        JANE = "<@U7>"
        """,
        **NO_OTHER_TARGETS,
    )
    states = []
    for error in ("no memory", "no memory", "", ""):
        operation = scalingo.operation(outcome="error", error=error) if error else scalingo.operation()
        identity = tracked(store, operation.id, context={"actor": "jane"})
        look(store, identity)
        tell_all(store)
        states.append([d.state for d in found(store, identity).tracking.deliveries])
    assert states == [[DeliveryState.DELIVERED]] * 3 + [[DeliveryState.SKIPPED]]
    said = [json.loads(request.body)["text"].partition(" after ") for request in receiver.requests]
    assert [text[0] for text in said] == ["<@U7> ❌ shop: restart failed"] * 2 + ["✅ shop: restart succeeded again"]
    assert [" in a row)" in said[0][2], "(2nd in a row)" in said[1][2], said[2][2][:12]] == [
        False,
        True,
        "2 failures, ",
    ]
