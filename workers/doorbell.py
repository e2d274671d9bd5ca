"""The doorbell: an RQ job that says "something may be due", and starts a round.

A lost doorbell costs at most a second, since every worker's clock rings again. A second one finds nothing to do. So
ringing is best effort, in a thread that does not delay the caller and folds rings that are close together.
"""

import json
import threading
from enum import StrEnum
from typing import Any

import redis
import structlog
from rq import Queue
from rq.exceptions import DuplicateJobError
from rq.job import Job
from rq.registry import clean_registries
from rq.serializers import JSONSerializer

from operations.storage.health import explain

log = structlog.get_logger()


class Round(StrEnum):
    """The kinds of rounds. Each has a queue of its name and a function in the worker."""

    LOOK = "opwatch-look"
    DELIVER = "opwatch-deliver"


ORDER = (Round.DELIVER, Round.LOOK)
"""Deliveries first: people wait for them. (With several queues RQ uses BLPOP, which cannot strand a job.)"""

_JOBS = {Round.LOOK: "workers.look.look_round", Round.DELIVER: "workers.deliver.delivery_round"}
_PAYLOADS = frozenset(json.dumps((name, None, (), {})).encode() for name in _JOBS.values())
"""As RQ's JSONSerializer writes these jobs: function, instance, arguments."""

_JOB_LASTS_S = 60
_FAILED_JOB_LASTS_S = 1  # the log has the error, and the clock rings again
_SHUT_DOWN_S = 1.0


class Ring(Job):
    """A job as it is read from Redis, where others may write too."""

    @property
    def is_ours(self) -> bool:
        """Whether it asks for one of our rounds, and for nothing else."""
        return self.data in _PAYLOADS

    def restore(self, raw_data: Any) -> None:
        """Read the job without its callbacks and webhooks: RQ would import and call any function that they name."""
        super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []


def queue_of(connection: redis.Redis, wanted: Round) -> Queue:
    """Return the queue of a kind of rounds. Nothing in it is unpickled."""
    return Queue(wanted.value, connection=connection, serializer=JSONSerializer, job_class=Ring)


def enqueue(connection: redis.Redis, wanted: Round, job_id: str | None = None) -> None:
    """Enqueue one round; with a `job_id`, only if no job has it."""
    try:
        queue_of(connection, wanted).enqueue(
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
    """Remove the jobs of killed workers from RQ's registries.

    RQ does that every ten minutes, or every fifteen if a worker was killed while it did.
    """
    for each in ORDER:
        clean_registries(queue_of(connection, each))


class Doorbell:
    """Rings from any thread without delaying it: at once, but not again within `fold_s` seconds."""

    def __init__(self, connection: redis.Redis, wanted: Round, *, fold_s: float) -> None:
        self._connection = connection
        self._round = wanted
        self._fold_s = fold_s
        self._rung = threading.Event()
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def ring(self) -> None:
        """Ask for a round soon. The thread starts with the first ring, after gunicorn has forked."""
        self._rung.set()
        self._woken.set()
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name=f"doorbell-{self._round}", daemon=True)
                    self._thread.start()

    def stop(self) -> None:
        """Send a pending ring, and end the thread."""
        self._stopped.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(_SHUT_DOWN_S)

    def _run(self) -> None:
        stopped = False
        while not stopped:
            self._woken.wait()
            stopped = self._stopped.is_set()
            self._woken.clear()
            if self._rung.is_set():
                self._rung.clear()
                self._enqueue()
            self._stopped.wait(self._fold_s)

    def _enqueue(self) -> None:
        try:
            enqueue(self._connection, self._round)
        except redis.RedisError as error:
            log.warning("doorbell not rung; the clock will ring", round=self._round, error=explain(error))
