"""The worker process: `python -m workers`, as the Procfile says."""

import gc
import os
import signal
import sys
import time
from types import FrameType

import redis
import structlog
from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer

from config import logs, streams
from config.redis import connect, say_storage_faults
from config.settings import Settings, load
from operations.errors import ConfigError
from operations.storage.health import explain
from workers import runtime
from workers.clock import Clock
from workers.doorbell import ORDER, Ring, Round, queue_of

log = structlog.get_logger()

DRAIN_S = 22.0
"""A PaaS kills a process 30 s after SIGTERM."""

SWITCH_S = 0.0002
"""How long the HTTP thread may wait for a computing thread, in seconds.

The HTTP thread releases the GIL at each send. With Python's 5 ms it would make only a few hundred requests a second.
"""

COLLECT_AFTER = (10_000, 10, 20)
"""Python's lower thresholds cost a sixth of the time while thousands of trackings are in memory."""

_RQ_TTL_S = 17  # RQ waits 15 s less than this for a job
_ROUND_LASTS_S = 20
_RQ_TIMEOUT_S = 7.0
_PAUSE_S = 1.0
_LONGEST_ID = 100


class Stop:
    """Tells whether this process was asked to stop."""

    def __init__(self) -> None:
        self.requested = False

    def request(self, _signal: int, _frame: FrameType | None) -> None:
        """Handle SIGTERM or SIGINT while no RQ worker runs."""
        self.requested = True


class RoundWorker(SimpleWorker):
    """Runs rounds in this process, not in a fork: the event loop and its connections outlive each round."""

    max_connection_wait_time = 2.0
    stop = Stop()

    @property
    def connection_timeout(self) -> int:
        """How long an answer may take; RQ's own 10 s more than a wait for a job are too long for a dead connection."""
        return int(_RQ_TIMEOUT_S)

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        """Run a round, and store that it was done."""
        done = super().perform_job(job, queue, execution)
        if done:
            runtime.current().round_done(Round(queue.name))
        return done

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a round. Any other job is refused and deleted: who can write to Redis cannot run code here."""
        if isinstance(job, Ring) and job.is_ours:
            super().execute_job(job, queue)
        else:
            log.error("job refused", queue=queue.name, job=job.id[:_LONGEST_ID])
            self.connection.delete(job.key)

    def subscribe(self) -> None:
        """Take no commands of RQ. They would need rights for channels, and could stop the worker."""

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002 - RQ's signature
        """Make RQ treat a round as abandoned after 20 s, not 4 minutes, so that `doorbell.tidy` can remove it."""
        return _ROUND_LASTS_S

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Stop as RQ does, and start no other RQ worker."""
        self.stop.requested = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]


def main() -> None:
    """Run until told to stop. Then finish current work within 22 s, and release the rest."""
    streams.hold()
    try:
        settings = load(os.environ)
    except ConfigError as error:
        sys.exit(
            "Opwatch cannot start. Correct these settings:\n" + "\n".join(f"  - {fault}" for fault in error.faults)
        )
    logs.configure(settings)
    signal.signal(signal.SIGTERM, RoundWorker.stop.request)
    signal.signal(signal.SIGINT, RoundWorker.stop.request)
    sys.setswitchinterval(SWITCH_S)
    running = runtime.start(settings)
    gc.freeze()  # imported modules stay: no collection has to walk through them
    gc.set_threshold(*COLLECT_AFTER)
    _say_start(running)
    clock = Clock(running)
    clock.start()
    _work(settings)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    clock.silence()
    running.finish(DRAIN_S)
    clock.stop()
    running.close()
    log.info("worker stopped")


def _work(settings: Settings) -> None:
    """Run RQ's worker, and restart it if it ends: an outage of Redis ends it in several ways."""
    while not RoundWorker.stop.requested:
        try:
            connection = connect(settings, timeout_s=_RQ_TIMEOUT_S)
            worker = RoundWorker(
                [queue_of(connection, each) for each in ORDER],
                connection=connection,
                serializer=JSONSerializer,
                job_class=Ring,
                worker_ttl=_RQ_TTL_S,
            )
            worker.work(logging_level="WARNING")
        except redis.RedisError as error:
            log.warning("RQ's worker lost Redis; starting it again", error=explain(error))
        if not RoundWorker.stop.requested:
            time.sleep(_PAUSE_S)


def _say_start(running: runtime.Runtime) -> None:
    log.info("worker started", targets=sorted(running.targets), accounts=sorted(running.settings.accounts))
    say_storage_faults(running.connection)


if __name__ == "__main__":
    main()
