"""Rounds of deliveries when Redis fails in the middle of one."""

import pytest
import redis

from config.settings import Settings
from operations.storage.store import Store
from tests.integration.bench import BROKEN, OPERATION_ID, Caller, seen
from tests.support.receiver import Receiver, Reply
from tests.support.running import wait_until
from workers.deliver import delivery_round
from workers.runtime import Runtime


@pytest.mark.usefixtures("runtime")
def test_a_claim_that_redis_refused_does_not_silence_the_target(
    caller: Caller, store: Store, settings: Settings, connection: redis.Redis, receiver: Receiver
) -> None:
    caller.track(notify=["slack"])
    seen(store, f"osc-fr1-{OPERATION_ID}", BROKEN, settings.rules)
    connection.config_set("maxmemory", "1")  # reads work, writes are refused
    try:
        with pytest.raises(redis.RedisError):
            delivery_round()
    finally:
        connection.config_set("maxmemory", "0")
    assert receiver.requests == ()
    delivery_round()
    receiver.wait_for(1)


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(204), "ok"),
        (Reply(404), "refused"),
        (Reply(410), "gone"),
        (Reply(429), "rate_limited"),
        (Reply(502), "server_error"),
        (Reply(reset="after_read"), "unreachable"),
    ],
    ids=str,
)
def test_each_attempt_is_counted_by_how_it_ended(
    caller: Caller, store: Store, settings: Settings, receiver: Receiver, reply: Reply, reason: str
) -> None:
    receiver.script("/webhook", reply)
    caller.track(notify=["webhook"])
    seen(store, f"osc-fr1-{OPERATION_ID}", BROKEN, settings.rules)
    delivery_round()

    def counted() -> dict[str, int]:
        return {name: count for name, count in store.overview.counters().items() if name.startswith("attempts:")}

    assert wait_until(counted, what="the attempt") == {f"attempts:webhook:{reason}": 1}


def test_a_place_is_free_again_after_each_attempt(runtime: Runtime) -> None:
    assert runtime.slots.take("slack", 1)
    assert not runtime.slots.take("slack", 1)
    assert runtime.slots.free("slack"), "a slot was refused"
    assert runtime.slots.take("slack", 1)
    assert not runtime.slots.free("slack")
