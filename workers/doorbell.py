"""Rings for a round: an RQ job that says "something may be due", and nothing more.

A doorbell that is lost costs at most a second, since every worker's clock rings again; one rung twice finds nothing
to do. So ringing is best effort and off the caller's path: a thread does it, which folds rings close together.
"""

import threading
from enum import StrEnum

import redis
import structlog
from rq import Queue
from rq.exceptions import DuplicateJobError
from rq.registry import clean_registries
from rq.serializers import JSONSerializer

log = structlog.get_logger()


class Round(StrEnum):
    """The kinds of rounds: each has a queue of its name and a function of the worker."""

    LOOK = "opwatch-look"
    DELIVER = "opwatch-deliver"


ORDER = (Round.DELIVER, Round.LOOK)
"""Deliveries first: somebody waits for them. (With several queues RQ takes jobs by BLPOP, which cannot strand one.)"""

_JOBS = {Round.LOOK: "workers.look.look_round", Round.DELIVER: "workers.deliver.delivery_round"}
_JOB_LASTS_S = 60
_FAILED_JOB_LASTS_S = 1  # the log says what failed; the next second rings again
_SHUT_DOWN_S = 1.0


def enqueue(connection: redis.Redis, wanted: Round, job_id: str | None = None) -> None:
    """Enqueue one round; with a `job_id`, only where none of that id is there."""
    queue = Queue(wanted.value, connection=connection, serializer=JSONSerializer)
    try:
        queue.enqueue(
            _JOBS[wanted],
            job_id=job_id,
            unique=job_id is not None,
            ttl=_JOB_LASTS_S,
            result_ttl=0,
            failure_ttl=_FAILED_JOB_LASTS_S,
        )
    except DuplicateJobError:
        return


def tidy(connection: redis.Redis) -> None:
    """Remove what killed workers have left in RQ's registries.

    RQ does it itself, but only every ten minutes, and not for fifteen when a worker was killed while it did.
    """
    for each in ORDER:
        clean_registries(Queue(each.value, connection=connection, serializer=JSONSerializer))


class Doorbell:
    """Rings from any thread without making it wait: at once, but not again within `fold_s` seconds."""

    def __init__(self, connection: redis.Redis, wanted: Round, *, fold_s: float) -> None:
        self._connection = connection
        self._round = wanted
        self._fold_s = fold_s
        self._rung = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def ring(self) -> None:
        """Ask for a round soon. The thread starts with the first ring: gunicorn forks before."""
        self._rung.set()
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name=f"doorbell-{self._round}", daemon=True)
                    self._thread.start()

    def stop(self) -> None:
        """Let a last ring out and end the thread."""
        self._stopped.set()
        self._rung.set()
        if self._thread is not None:
            self._thread.join(_SHUT_DOWN_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._rung.wait()
            self._rung.clear()
            try:
                enqueue(self._connection, self._round)
            except redis.RedisError as error:
                log.warning("doorbell not rung; the clock will ring", round=self._round, error=type(error).__name__)
            self._stopped.wait(self._fold_s)
