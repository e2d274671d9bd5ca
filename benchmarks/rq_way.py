"""The usual way with RQ: a job per operation, which looks once and enqueues itself again.

It does the minimum: no budget, deadlines, verdicts or records. `python -m benchmarks.rq_way worker` is `rq worker`,
with everything imported before it forks.
"""

import os
import sys
from datetime import timedelta
from http import HTTPStatus

import redis
import requests
from rq import Queue, get_current_job
from rq.cli.cli import main
from rq.serializers import JSONSerializer

QUEUE = "looks"
_session = requests.Session()


def look(operation_id: str, wait_s: float) -> None:
    """Look once. While unfinished, enqueue the next look in `wait_s` seconds (0: at once)."""
    url = f"{os.environ['SCALINGO_API_URL']}/v1/apps/shop/operations/{operation_id}"
    headers = {"Authorization": f"Bearer {os.environ['BEARER']}", "Accept": "application/json"}
    answer = _session.get(url, headers=headers, timeout=10)
    if answer.status_code == HTTPStatus.OK and answer.json()["operation"]["status"] in ("done", "error"):
        return
    job = get_current_job()
    assert job is not None
    put(Queue(QUEUE, connection=job.connection, serializer=JSONSerializer), operation_id, wait_s)


def put(queue: Queue, operation_id: str, wait_s: float) -> None:
    """Enqueue a look, in `wait_s` seconds or at once."""
    if wait_s:
        queue.enqueue_in(timedelta(seconds=wait_s), look, operation_id, wait_s, result_ttl=0)
    else:
        queue.enqueue(look, operation_id, wait_s, result_ttl=0)


def fill(connection: redis.Redis, operations: list[str], wait_s: float) -> None:
    """Enqueue the first look at each."""
    queue = Queue(QUEUE, connection=connection, serializer=JSONSerializer)
    for operation_id in operations:
        put(queue, operation_id, wait_s)


if __name__ == "__main__":
    sys.exit(main())
