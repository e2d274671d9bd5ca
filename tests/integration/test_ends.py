"""A request that waits for an end is woken by its message, and also if the message is lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from flask import Flask

from api import ends
from operations.storage.index import ENDED
from operations.storage.store import Store
from operations.telling import audience
from operations.watching import looks
from tests.integration.bench import DONE, Caller, found, operation_id, seen, tracked
from tests.support.running import wait_until

FOREVER_S = 1000.0
PREFER = {"Prefer": "wait=20"}


@pytest.fixture
def no_channels(connection: redis.Redis) -> Iterator[None]:
    """Make Redis refuse to publish and subscribe."""
    connection.execute_command("ACL", "SETUSER", "default", "resetchannels")  # type: ignore[no-untyped-call]
    yield
    connection.execute_command("ACL", "SETUSER", "default", "allchannels")  # type: ignore[no-untyped-call]


@pytest.fixture
def messages(connection: redis.Redis) -> Iterator[Any]:
    """Listen to the channel."""
    with connection.pubsub(ignore_subscribe_messages=True) as subscription:  # type: ignore[no-untyped-call]
        subscription.subscribe(ENDED)
        wait_until(lambda: connection.pubsub_numsub(ENDED)[0][1] == 1, what="the subscription")
        yield subscription


def heard(messages: Any) -> list[str]:
    """Read the messages so far."""
    found = []
    while True:
        message = messages.get_message(timeout=0.2)
        if message is not None and message["type"] == "message":
            found.append(message["data"].decode())
        elif message is None and not messages.connection.can_read(timeout=0.2):
            return found


def test_each_end_is_published_once_with_its_group(store: Store, messages: Any) -> None:
    alone, member, stopped = (
        tracked(store, operation_id(number), group=group) for number, group in ((1, None), (2, "build 7"), (3, None))
    )
    for identity in (alone, member):
        seen(store, identity, DONE, {})
    now = store.records.now()
    store.update(found(store, stopped), lambda tracking: looks.cancelled(tracking, now))
    store.update(found(store, alone), lambda tracking: audience.also_told(tracking, ("late",), {}, now))
    assert heard(messages) == [alone, f"{member} build 7", stopped]


@pytest.mark.parametrize("path", ["/v1/operations/{identity}", "/v1/groups/build%207"])
def test_a_waiting_request_is_woken_by_the_message(
    app: Flask, store: Store, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(ends, "LOOKS_S", FOREVER_S)
    identity = tracked(store, operation_id(1), group="build 7", group_size=1)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(Caller(app.test_client()).get, path.format(identity=identity), headers=PREFER)
        wait_until(lambda: connection.pubsub_numsub(ENDED)[0][1] == 1, what="the subscription")
        seen(store, identity, DONE, {})
        assert answer.result(15).json["state"] == "succeeded"


@pytest.mark.usefixtures("no_channels")
def test_a_waiting_request_looks_by_itself_where_the_message_is_lost(
    app: Flask, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "LOOKS_S", 0.2)
    identity = tracked(store, operation_id(1))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(Caller(app.test_client()).get, f"/v1/operations/{identity}", headers=PREFER)
        seen(store, identity, DONE, {})
        assert answer.result(15).json["state"] == "succeeded"


def test_a_subscription_that_breaks_begins_anew_and_wakes_those_who_wait(
    app: Flask, store: Store, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "LOOKS_S", FOREVER_S)
    identity = tracked(store, operation_id(1))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(Caller(app.test_client()).get, f"/v1/operations/{identity}", headers=PREFER)
        wait_until(lambda: connection.pubsub_numsub(ENDED)[0][1] == 1, what="the subscription")
        connection.client_kill_filter(_type="pubsub")
        seen(store, identity, DONE, {})
        assert answer.result(15).json["state"] == "succeeded"
