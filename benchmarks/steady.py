"""Measures how soon new operations are answered at a constant rate, while a worker is busy.

Each request is sent at its planned time, even if earlier ones are unanswered, and its duration counts from that time.
So if the service stalls for a second, all requests of that second count as delayed (wrk waits for answers, and would
count one per connection). Each run begins with nothing in flight, and ends with 2,400 operations of one account, more
than twice the default of OPWATCH_MAX_IN_FLIGHT.
"""

import asyncio
import json
import re
import secrets
import statistics
import sys
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from benchmarks.service import TOKEN, BenchmarkError, Stage, run
from benchmarks.table import Row, percentile, print_circumstances, print_goals, print_table

PER_S = 200
RUN_S = 10
WARM_UP_S = 2
ROUNDS = 6
GOAL_MS = 25.0
LOOKS_PER_MINUTE = 600
"""Ten times Scalingo's limit, so that the worker looks all the time."""

IDLE_S = 2.0
"""The server closes a connection that is idle for 5 s."""

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Run:
    """The results of one run. `late_ms` is how late each request was sent; `refused` counts answers other than 202."""

    took_ms: list[float]
    late_ms: list[float]
    refused: int
    looks_per_s: float


def main() -> None:
    """Measure and print."""
    print_circumstances("steady")
    settings = {"SCALINGO_REQUESTS_PER_MINUTE": str(LOOKS_PER_MINUTE), "OPWATCH_MAX_IN_FLIGHT": "100000"}
    with Stage(settings=settings) as stage:
        stage.start_api()
        stage.start_service()
        operation = stage.begin("shop", duration_s=3600.0).rpartition("/")[0]
        runs = [_run(stage, operation) for _ in range(ROUNDS)]
    _print(runs)


def _run(stage: Stage, operation: str) -> Run:
    stage.redis.flushall()
    asyncio.run(Client(stage.url, operation).run(WARM_UP_S))
    looks_before = _looks(stage)
    client = Client(stage.url, operation)
    asyncio.run(client.run(RUN_S))
    looks = _looks(stage) - looks_before
    if not looks:
        message = "the worker made no look, so it was not busy"
        raise BenchmarkError(message)
    return Run(client.took_ms, client.late_ms, client.refused, looks / RUN_S)


def _looks(stage: Stage) -> int:
    counters = stage.redis.hgetall("opwatch:counters")
    return sum(int(count) for name, count in counters.items() if name.startswith(b"looks:"))


class Client:
    """Posts new operations, PER_S a second. `operations` is the base of their URLs."""

    def __init__(self, url: str, operations: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._operations = operations
        self._prefix = secrets.token_hex(6)
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.took_ms: list[float] = []
        self.late_ms: list[float] = []
        self.refused = 0

    async def run(self, seconds: int) -> None:
        """Send for so long, and wait for all answers. Raises BenchmarkError if one fails."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            async with asyncio.TaskGroup() as sending:
                for number in range(seconds * PER_S):
                    due_s = began_s + number / PER_S
                    await asyncio.sleep(due_s - loop.time())
                    sending.create_task(self._post(number, due_s))
        except* (OSError, EOFError) as failed:
            message = f"a request failed: {failed.exceptions[0]}"
            raise BenchmarkError(message) from None
        self._close()

    async def _post(self, number: int, due_s: float) -> None:
        loop = asyncio.get_running_loop()
        self.late_ms.append((loop.time() - due_s) * 1000)
        reader, writer = await self._connection()
        writer.write(self._request(number))
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        await reader.readexactly(int(length[1]) if length else 0)
        self.took_ms.append((loop.time() - due_s) * 1000)
        self.refused += int(head.split(None, 2)[1]) != HTTPStatus.ACCEPTED
        if b"\r\nconnection: close\r\n" in head.lower():
            writer.close()
        else:
            self._idle.append((loop.time(), reader, writer))

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return the last used connection, unless the server may close it soon."""
        if self._idle:
            since_s, reader, writer = self._idle.pop()
            if asyncio.get_running_loop().time() - since_s < IDLE_S:
                return reader, writer
            self._close()
            writer.close()
        return await asyncio.open_connection(self._host, self._port)

    def _close(self) -> None:
        for _, _, writer in self._idle:
            writer.close()
        self._idle.clear()

    def _request(self, number: int) -> bytes:
        context = {"environment": "production", "actor": "jane", "commit": "4f2a9c1"}
        url = f"{self._operations}/{self._prefix}{number:012x}"
        body = json.dumps({"operation_url": url, "context": context})
        head = (
            f"POST /v1/operations HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()


def _print(runs: list[Run]) -> None:
    lines = [
        (
            f"run {number}",
            str(len(each.took_ms)),
            str(each.refused),
            _ms(statistics.median(each.took_ms)),
            _ms(percentile(each.took_ms, 99)),
            _ms(max(each.took_ms)),
            _ms(percentile(each.late_ms, 99)),
            f"{each.looks_per_s:.1f}",
        )
        for number, each in enumerate(runs, 1)
    ]
    columns = (
        "scheduled -> answered",
        "requests",
        "not 202",
        "p50",
        "p99",
        "longest",
        "p99 of sent late",
        "looks a second",
    )
    print_table(f"steady: {PER_S} new operations a second, web and worker as the Procfile starts them", columns, lines)
    p99s_ms = [percentile(each.took_ms, 99) for each in runs]
    median_ms = statistics.median(p99s_ms)
    refused = sum(each.refused for each in runs)
    print_goals(
        "steady: over all runs",
        [
            Row("median of the p99s", _ms(median_ms), f"< {GOAL_MS:g} ms", median_ms < GOAL_MS),
            Row("not answered with 202", str(refused), "0", refused == 0),
            Row("lowest and highest p99", f"{min(p99s_ms):.1f}-{max(p99s_ms):.1f} ms"),
        ],
    )


def _ms(value_ms: float) -> str:
    return f"{value_ms:.1f} ms"


if __name__ == "__main__":
    sys.exit(run({"steady": main}))
