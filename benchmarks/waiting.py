"""Measures how soon callers that wait for an end (`Prefer: wait`) are answered, and their cost while they wait.

One `web` process, so many callers with a connection each, each of an operation of its own. The ends are recorded in
batches, as a worker does; a record counts as made when its script has returned.
"""

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import psutil

from benchmarks.service import TOKEN, Stage, run, wait_until
from benchmarks.table import Row, percentile, print_circumstances, print_goals
from local.http import responds
from local.processes import Child
from operations.model import Tracking
from operations.storage.store import Change, Store
from operations.watching import looks

CALLERS = 2_000
CONNECTED_PER_S = 50
SETTLE_S = 2.0
WATCHED_S = 10.0
BATCH = 20
PER_S = 100
P99_GOAL_MS, CPU_GOAL = 300.0, 0.10
SETTINGS = {"WEB_CONCURRENCY": "1", "OPWATCH_MAX_IN_FLIGHT": "100000"}


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--callers", type=int, default=CALLERS)
    options = parser.parse_args(arguments)
    print_circumstances("waiting")
    with Stage(settings=SETTINGS) as stage:
        web = stage.start("web")
        wait_until(lambda: responds(stage.url + "/healthz"), web)
        store = Store(stage.redis, retention=timedelta(days=1))
        identities = [_begin(store) for _ in range(options.callers)]
        rows = asyncio.run(_wait(stage, web, store, identities))
    print_goals(f"waiting: {options.callers} callers, one `web` process", rows)


def _begin(store: Store) -> str:
    operation_id, now = secrets.token_hex(12), store.records.now()
    fresh = Tracking(
        id=f"osc-fr1-{operation_id}",
        app="shop",
        operation_id=operation_id,
        region="osc-fr1",
        account="default",
        created_at=now,
        created_by="bench",
        timeout_s=3600,
        next_look_at=now + timedelta(hours=1),
    )
    store.add(fresh)
    return fresh.id


async def _wait(stage: Stage, web: Child, store: Store, identities: list[str]) -> list[Row]:
    (worker,) = psutil.Process(web.pid).children()
    before_mb = _pss_mb(worker.pid)
    answered: dict[str, float] = {}
    waiting = []
    for identity in identities:
        waiting.append(asyncio.create_task(_caller(stage.port, identity, answered)))
        await asyncio.sleep(1 / CONNECTED_PER_S)
    await asyncio.sleep(SETTLE_S)
    cpu_s, began_s = sum(worker.cpu_times()[:2]), time.monotonic()
    await asyncio.sleep(WATCHED_S)
    cpu = (sum(worker.cpu_times()[:2]) - cpu_s) / (time.monotonic() - began_s)
    each_kb = (_pss_mb(worker.pid) - before_mb) * 1000 / len(identities)
    assert not answered, "nothing has ended yet"
    recorded = await asyncio.to_thread(_end, store, identities)
    await asyncio.gather(*waiting)
    late_ms = [(answered[identity] - recorded[identity]) * 1000 for identity in identities]
    p99 = percentile(late_ms, 99)
    return [
        Row("from the record to the answer, p50", f"{percentile(late_ms, 50):.0f} ms"),
        Row("the same, p99", f"{p99:.0f} ms", f"< {P99_GOAL_MS:.0f} ms", p99 < P99_GOAL_MS),
        Row("the same, last", f"{max(late_ms):.0f} ms"),
        Row("CPU of the process while they wait", f"{cpu:.1%} of a core", f"< {CPU_GOAL:.0%}", cpu < CPU_GOAL),
        Row("memory of each waiting request (PSS)", f"{each_kb:.0f} kB"),
        Row("memory of the process (PSS)", f"{_pss_mb(worker.pid):.0f} MB"),
    ]


async def _caller(port: int, identity: str, answered: dict[str, float]) -> None:
    """Wait for the end, with repeated requests, as `bin/opwatch` does."""
    head = f"GET /v1/operations/{identity} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        writer.write(f"{head}Prefer: wait=25\r\n\r\n".encode())
        answer = await reader.readuntil(b"}\n")
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        if b'"state":"tracking"' not in answer:
            answered[identity] = time.monotonic()
            writer.close()
            return


def _end(store: Store, identities: list[str]) -> dict[str, float]:
    """Record all ends at a worker's pace. Returns the time of each."""
    recorded: dict[str, float] = {}
    began_s = time.monotonic()
    for start in range(0, len(identities), BATCH):
        batch = identities[start : start + BATCH]
        found = [stored for identity in batch if (stored := store.records.get(identity)) is not None]
        now = store.records.now()
        store.update_all([Change(stored, partial(looks.cancelled, now=now)) for stored in found])
        recorded.update(dict.fromkeys(batch, time.monotonic()))
        time.sleep(max(0.0, began_s + (start + BATCH) / PER_S - time.monotonic()))
    return recorded


def _pss_mb(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    return next(int(line.split()[1]) / 1000 for line in rollup.splitlines() if line.startswith("Pss:"))


if __name__ == "__main__":
    sys.exit(run({"waiting": lambda: main(sys.argv[1:])}))
