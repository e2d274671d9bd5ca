"""Counts what a stage's processes have used so far; and starts a cheap stand-in API for frequent looks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from benchmarks.service import Stage, wait_until
from local.http import responds
from local.processes import Child
from local.service import free_port


@dataclass(frozen=True, slots=True)
class Counts:
    """The CPU seconds and commands used so far."""

    at: float
    workers_s: float
    redis_s: float
    commands: int
    reads: int

    @classmethod
    def read(cls, stage: Stage, workers: Sequence[Child]) -> "Counts":
        """Read them now."""
        info = stage.redis.info("all")
        return cls(
            at=time.time(),
            workers_s=sum(_cpu_s(worker.pid) for worker in workers),
            redis_s=_cpu_s(info["process_id"]),
            commands=sum(info[name]["calls"] for name in info if name.startswith("cmdstat_")),
            reads=info["total_reads_processed"],
        )


def start_api(stage: Stage) -> None:
    """Start the cheap stand-in API, and let the stage's processes use it."""
    port = free_port()
    stage.use_api(f"http://127.0.0.1:{port}")
    api = stage.start("api", f"exec python -m benchmarks.fast_api {port}")
    wait_until(lambda: responds(f"{stage.api}/_report?since=0"), api)


def _cpu_s(pid: int) -> float:
    """Add up the CPU time of a process and its children, also of ended ones."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    times = [each.cpu_times() for each in family]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)
