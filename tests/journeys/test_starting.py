"""Wrong settings: what the processes print, and how they end."""

import os
import secrets
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import redis
from rq import Callback, Queue, Retry
from rq.serializers import JSONSerializer, PickleSerializer

from local.valkey import Valkey
from standin.api import ScalingoApi
from tests.journeys.stage import staged
from tests.support.receiver import Receiver
from tests.support.running import CALLER_TOKEN, ROOT, WEBHOOK_SECRET, Opwatch, wait_until


@pytest.mark.parametrize("streams", [">/dev/full 2>&1", "<&- >&- 2>&-", ">{log} 2>&1"])
def test_a_log_that_cannot_be_written_changes_nothing_else(tmp_path: Path, streams: str) -> None:
    """The last of them can be written at first: it is a FIFO whose reader leaves."""
    os.mkfifo(log := tmp_path / "log")
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    with staged(tmp_path, wrapped=f"{{}} {streams.format(log=log)}", settings={"LOG_LEVEL": "DEBUG"}) as stage:
        os.close(reader)
        opwatch = stage.opwatch
        fields = {"operation_url": stage.scalingo.operation("shop", outcome="error").url}
        assert [opwatch.post(fields).status for _ in range(2)] == [202, 200]
        assert opwatch.get("/v1/operations").status == 200
        assert opwatch.get("/nothing").json()["status"] == 404
        stage.receiver.wait_for(1, path="/slack")
        for name in ("web", "worker"):
            opwatch.terminate(name)
            assert opwatch.wait_for_exit(name) == 0


def test_a_command_says_that_its_output_cannot_be_written() -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "admin", "preview", "console"],
            cwd=ROOT,
            stdout=full,
            stderr=PIPE,
            text=True,
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (1, "the output could not be written: No space left on device\n")


@pytest.mark.parametrize("process", ["web", "worker"])
def test_a_process_with_wrong_settings_ends_and_names_every_fault(
    valkey: Valkey, scalingo: ScalingoApi, receiver: Receiver, process: str
) -> None:
    too_short = "sh0rt-secret"
    settings = {
        "REDIS_URL": "",
        "OPWATCH_TOKENS": f"ci:{too_short}",
        "SCALINGO_API_TOKEN": "",
        "SCALINGO_REQUESTS_PER_MINUTE": "many",
        "WEBHOOK_SECRET": "whsec_not-base64-at-all",
        "SLACK_WEBHOOK_URL": "ftp://secret-host/T000/B000/secret",
        "OPWATCH_RETENTION_DAYS": "-1",
        "PORT": "99999",
        "WEB_CONCURRENCY": "2.5",
    }
    opwatch = Opwatch(valkey.url, scalingo, receiver, settings=settings)
    try:
        opwatch.start(process)
        code = opwatch.wait_for_exit(process)
        printed = opwatch.output(process)
    finally:
        opwatch.stop()
    assert code != 0
    for name in settings:
        if name not in ("WEBHOOK_SECRET", "SLACK_WEBHOOK_URL"):
            assert printed.count(f"- {name}") == 1, name
    assert printed.count("target 'webhook'") == 1
    assert printed.count("target 'slack'") == 1
    assert "Traceback" not in printed
    for secret in (too_short, "not-base64", "secret-host", "B000", CALLER_TOKEN, WEBHOOK_SECRET):
        assert secret not in printed
    assert scalingo.requests == ()


def test_a_target_on_a_private_address_is_refused_and_says_so(tmp_path: Path) -> None:
    key = f"whsec_{secrets.token_hex(16)}"
    settings = {
        "OPWATCH_ALLOW_PRIVATE_TARGETS": "",
        "SLACK_WEBHOOK_URL": "",
        "WEBHOOK_URL": "https://localhost/secret-path",  # a name that resolves to loopback
        "WEBHOOK_SECRET": key,
    }
    targets = f"""
        [targets.literal]
        kind = "webhook"
        url = "https://[::1]:9/secret-path"
        secret = "{key}"
        """
    with staged(tmp_path, settings=settings, targets=targets) as stage:
        identity = stage.opwatch.track(stage.scalingo.operation("shop", outcome="error").url)
        for target in ("webhook", "literal"):
            waiting = stage.opwatch.wait_for_delivery(identity, target, "retrying")
            assert "refused by Opwatch" in waiting["last_error"]
            assert "OPWATCH_ALLOW_PRIVATE_TARGETS" in waiting["last_error"]
        assert "secret-path" not in stage.opwatch.output("worker") + str(stage.opwatch.show(identity))


def test_two_services_on_one_machine_do_not_meet(tmp_path: Path) -> None:
    with staged(tmp_path / "one") as one, staged(tmp_path / "two") as two:
        identity = one.opwatch.track(one.scalingo.operation("shop").url)
        one.opwatch.wait_for_delivery(identity, "slack", "delivered")
        assert two.opwatch.get(f"/v1/operations/{identity}").status == 404
        assert two.receiver.requests == ()


@pytest.mark.parametrize(
    ("setting", "value", "said"), [("appendonly", "no", "AOF"), ("maxmemory-policy", "allkeys-lru", "evict")]
)
def test_both_processes_say_at_start_what_redis_lacks(
    own_valkey: Valkey, scalingo: ScalingoApi, receiver: Receiver, setting: str, value: str, said: str
) -> None:
    with redis.Redis.from_url(own_valkey.url) as connection:
        connection.config_set(setting, value)
    opwatch = Opwatch(own_valkey.url, scalingo, receiver, settings={"WEB_CONCURRENCY": "2"})
    event = "Redis may lose acknowledged writes"
    try:
        for name in ("web", "worker"):
            opwatch.start(name)
        opwatch.wait_until_alive()
        for name in ("web", "worker"):
            wait_until(lambda name=name: opwatch.events(name, event), what=f"the word of {name}")  # type: ignore[misc]
        faults = {name: [line["fault"] for line in opwatch.events(name, event)] for name in ("web", "worker")}
        assert opwatch.get("/healthz", token=None).headers["Server"] == "gunicorn"  # no version
        wait_until(lambda: said in opwatch.get("/readyz", token=None).text, what="/readyz saying so")
    finally:
        opwatch.stop()
    assert {name: len(lines) for name, lines in faults.items()} == {"web": 1, "worker": 1}
    assert all(said in fault for lines in faults.values() for fault in lines)


def test_without_redis_both_start_and_only_a_worker_with_redis_pings_the_dead_mans_switch(
    own_valkey: Valkey, scalingo: ScalingoApi, receiver: Receiver
) -> None:
    own_valkey.kill()
    settings = {"OPWATCH_HEARTBEAT_URL": receiver.url("/alive")}
    opwatch = Opwatch(own_valkey.url, scalingo, receiver, settings=settings)
    try:
        opwatch.start("web")
        opwatch.wait_until_alive()
        wait_until(lambda: opwatch.events("web", "Redis is away"), what="the web process' word")
        assert len(opwatch.events("web", "Redis is away")) == 1
        opwatch.start("worker")
        wait_until(lambda: opwatch.events("worker", "Redis is away; waiting for it"), what="the worker's clock")
        assert receiver.requests == ()
        own_valkey.start()
        receiver.wait_for(1, path="/alive")
        opwatch.kill("worker")
        assert len(receiver.requests) == 1
    finally:
        opwatch.stop()


class Pickled:
    """Runs a function when it is unpickled."""

    def __reduce__(self) -> Any:
        return print, ("unpickled",)


def test_a_worker_carries_out_only_its_own_two_jobs_and_needs_no_channels(tmp_path: Path) -> None:
    """All others would print, and each line of the log is JSON."""
    ours, look, says = "workers.look.look_round", "opwatch-look", Callback("builtins.print")
    with staged(tmp_path) as stage, redis.Redis.from_url(stage.valkey.url) as connection:
        connection.execute_command("ACL", "SETUSER", "default", "-@pubsub")
        stage.opwatch.terminate("worker")
        assert stage.opwatch.wait_for_exit("worker") == 0
        stage.opwatch.start("worker")
        other, deliver, pickling, their_own = (
            Queue(name, connection=connection, serializer=serializer)
            for name, serializer in (
                (look, JSONSerializer),
                ("opwatch-deliver", JSONSerializer),
                (look, PickleSerializer),
                ("poll", JSONSerializer),
            )
        )
        refused = [
            other.enqueue("builtins.print", "carried out", on_failure=says),
            deliver.enqueue("builtins.print", "carried out", on_success=says, retry=Retry(3)),
            pickling.enqueue("builtins.print", Pickled(), on_failure=says),
            other.enqueue(ours, "an argument"),
            other.enqueue("workers.look.release_looks_of"),
        ]
        untouched = their_own.enqueue("builtins.print", "carried out")
        rung = other.enqueue(ours, result_ttl=0, on_success=says, on_failure=says)
        wait_until(lambda: len(stage.opwatch.events("worker", "job refused")) == len(refused), what="the refusals")
        wait_until(lambda: not connection.exists(rung.key), what="the end of our own job")
        assert {line["job"] for line in stage.opwatch.events("worker", "job refused")} == {job.id for job in refused}
        assert not connection.exists(*(job.key for job in refused))
        assert their_own.job_ids == [untouched.id]
        identity = stage.opwatch.track(stage.scalingo.operation("shop").url)
        stage.opwatch.wait_for_delivery(identity, "slack", "delivered")
        assert [line for line in stage.opwatch.output("worker").splitlines() if not line.startswith("{")] == []
