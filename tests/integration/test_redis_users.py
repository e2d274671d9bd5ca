"""A user of Redis who may not do everything: what is needed is said to be missing, and what is not is not."""

import os
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from urllib.parse import urlsplit

import pytest
import redis
from flask import Flask
from pydantic import SecretStr

from admin.__main__ import main
from config.redis import connect
from config.settings import Settings, load
from local.valkey import Valkey
from operations.model import Operation, State
from operations.storage.health import Health
from operations.storage.heartbeat import Heartbeat
from operations.storage.store import Store
from operations.telling.audience import Rule
from tests.integration.bench import DONE, OPERATION_ID, RETENTION, Caller, seen, tracked

RUNNING = Operation(status="running", type="restart")
PASSWORD = "a-password"  # noqa: S105 - it opens nothing
EVERYTHING = "+@all ~* &*"


@pytest.fixture
def user(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, connection: redis.Redis, valkey: Valkey, store: Store
) -> Iterator[None]:
    """Configure a user of Redis with all rights; a test takes some. A worker has just sent a heartbeat."""
    assert settings.redis_url
    granted(connection, "reset", "on", f">{PASSWORD}", *EVERYTHING.split())
    monkeypatch.setenv("REDIS_URL", f"unix://limited:{PASSWORD}@{urlsplit(valkey.url).path}?db=0")
    monkeypatch.delenv("SCALINGO_API_TOKEN_OTHER")
    Heartbeat(connection).beat("a-worker", store.records.now())
    yield
    connection.acl_deluser("limited")


def granted(connection: redis.Redis, *rules: str) -> None:
    """Change what the user may do."""
    connection.execute_command("ACL", "SETUSER", "limited", *rules)  # type: ignore[no-untyped-call]


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("-@scripting", "NOPERM: evalsha"),
        ("-evalsha", "NOPERM: evalsha"),
        ("resetkeys ~opwatch:*", "NOPERM"),
        ("resetkeys ~rq:*", "NOPERM"),
        ("-@write", "NOPERM: set"),
        ("-info", ""),
        ("-@dangerous", ""),
        ("-@admin -@dangerous -@pubsub", ""),
        ("resetchannels", ""),
    ],
)
def test_readiness_and_check_name_what_is_missing(
    make_app: Callable[[], Flask],
    connection: redis.Redis,
    rules: str,
    said: str,
) -> None:
    granted(connection, *rules.split())
    connection.script_flush()
    caller = Caller(make_app().test_client())
    answer = caller.get("/readyz", token=None)
    assert (answer.status_code, said in answer.text) == (503 if said else 200, True), answer.text
    with redirect_stdout(StringIO()) as printed:
        code = main(["check"])
    lines = [line for line in printed.getvalue().splitlines() if line[6:].startswith("redis:")]
    assert (code, [line[:4] for line in lines]) == ((1, ["FAIL"]) if said else (0, ["ok  "])), lines
    assert said in lines[0]
    assert (caller.track().status_code == 202) or said


def test_options_of_the_url_do_not_change_how_opwatch_talks_to_redis(settings: Settings, valkey: Valkey) -> None:
    options = "decode_responses=true&encoding=utf-16&max_connections=1&socket_timeout=0.000001&retry_on_timeout=true"
    odd = settings.model_copy(update={"redis_url": SecretStr(f"{valkey.url}&{options}")})
    with connect(odd, timeout_s=10) as connection:
        first, second = (connection.connection_pool.get_connection() for _ in range(2))
        assert first is not second
        store = Store(connection, retention=RETENTION)
        identity = tracked(store, OPERATION_ID)
        assert [each.tracking.id for each in store.records.due_trackings()] == [identity]
        assert Health(connection).refusals() == []


@pytest.mark.usefixtures("user")
def test_a_write_that_is_refused_halfway_loses_nothing(
    make_app: Callable[[], Flask], connection: redis.Redis, store: Store
) -> None:
    caller = Caller(make_app().test_client())
    granted(connection, "-zadd")
    refused = caller.track()
    assert refused.status_code == 503
    assert refused.json is not None
    assert "NOPERM: zadd" in refused.json["detail"]
    granted(connection, "+zadd")
    assert caller.track().status_code == 202  # the same request again, as the answer says
    assert [stored.tracking.operation_id for stored in store.records.due_trackings()] == [OPERATION_ID]
    seen(store, f"osc-fr1-{OPERATION_ID}", RUNNING, {})
    granted(connection, "-unlink", "-hincrby")
    limited = Store(connect(load(os.environ), timeout_s=1.0), retention=RETENTION)
    with pytest.raises(redis.ResponseError):
        seen(limited, f"osc-fr1-{OPERATION_ID}", DONE, {"slack": Rule()})
    granted(connection, *EVERYTHING.split())
    assert [stored.tracking.state for stored, _ in store.records.due_deliveries()] == [State.SUCCEEDED]
