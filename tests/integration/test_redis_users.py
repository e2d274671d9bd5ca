"""A user of Redis who may not do everything: what is needed is said to be missing, and what is not is not."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import redis

from admin.__main__ import main
from app import create_app
from config.settings import Settings
from local.valkey import Valkey
from operations.storage.heartbeat import Heartbeat
from operations.storage.store import Store
from tests.integration.bench import Caller

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
    connection: redis.Redis, capsys: pytest.CaptureFixture[str], rules: str, said: str
) -> None:
    granted(connection, *rules.split())
    connection.script_flush()
    caller = Caller(create_app().test_client())
    answer = caller.get("/readyz", token=None)
    assert (answer.status_code, said in answer.text) == (503 if said else 200, True), answer.text
    code = main(["check"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line[6:].startswith("redis:")]
    assert (code, [line[:4] for line in lines]) == ((1, ["FAIL"]) if said else (0, ["ok  "])), lines
    assert said in lines[0]
    assert (caller.track().status_code == 202) or said
