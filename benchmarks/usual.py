"""Measures the usual way with RQ: a job per operation, which looks once and enqueues itself again."""

import secrets
import time
from dataclasses import dataclass
from functools import partial

from benchmarks import rq_way
from benchmarks.counts import Counts, start_api
from benchmarks.service import Stage, call, wait_until
from local.service import ROOT

RQ_OPERATIONS, RQ_MEASURED_S = 200, 15.0


@dataclass(frozen=True, slots=True)
class Usual:
    """The results of the usual way."""

    name: str
    looks_per_s: float
    cpu_us: float
    commands: float


_OPTIONS = "--url {url} --serializer rq.serializers.JSONSerializer --logging_level WARNING"
_RQ = f"exec python -m benchmarks.rq_way worker {_OPTIONS}"
RQ_WORKERS = (
    ("RQ, a job a look, forked (its default)", _RQ, 0.0),
    ("RQ, a job a look, SimpleWorker", _RQ + " --worker-class rq.SimpleWorker", 0.0),
    ("the same, enqueue_in(1 s) and its scheduler", _RQ + " --worker-class rq.SimpleWorker --with-scheduler", 1.0),
)


def usual_way(name: str, command: str, wait_s: float) -> Usual:
    """Let one RQ worker look at 200 operations for a while."""
    with Stage() as stage:
        start_api(stage)
        bearer = _bearer(stage.api)
        operations = [secrets.token_hex(12) for _ in range(RQ_OPERATIONS)]
        rq_way.fill(stage.redis, operations, wait_s)
        settings = {"BEARER": bearer, "PYTHONPATH": str(ROOT)}
        worker = stage.start("rq", f"{command.format(url=stage.redis_url)} {rq_way.QUEUE}", settings)
        wait_until(partial(_has_looked, stage), worker)
        time.sleep(2.0)
        before = Counts.read(stage, [worker])
        time.sleep(RQ_MEASURED_S)
        after = Counts.read(stage, [worker])
        worker.check()
        looks = call("GET", f"{stage.api}/_report?since={before.at}")["looks"]
    return Usual(
        name=name,
        looks_per_s=looks / (after.at - before.at),
        cpu_us=(after.workers_s - before.workers_s) / max(1, looks) * 1e6,
        commands=(after.commands - before.commands) / max(1, looks),
    )


def _bearer(api: str) -> str:
    login = {"Authorization": "Basic OnRrLXVzLXVzdWFs"}  # no user, and the token tk-us-usual
    return str(call("POST", f"{api}/v1/tokens/exchange", headers=login)["token"])


def _has_looked(stage: Stage) -> bool:
    return bool(call("GET", f"{stage.api}/_report?since=0")["looks"])
