"""Measures the dwell time of healthy targets, alone and while three other targets hang."""

import base64
import json
import secrets
import statistics
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from benchmarks.service import Stage, run, wait_until
from benchmarks.table import Row, percentile, print_circumstances, print_goals, print_table
from standin.replies import Reply
from tests.support.receiver import Receiver, RequestReceived

OPERATIONS = 50
SHORTEST_S, LONGEST_S = 1.0, 10.0
ROUNDS = 2
HANG_S = 60.0
HEALTHY = ("/healthy-1", "/healthy-2")
OTHERS = ("/other-1", "/other-2", "/other-3")
ALL_TOLD_WITHIN_S = 90.0
MEDIAN_GOAL_MS, P99_GOAL_MS = 100.0, 1000.0
NO_SLOWER = 1.25
"""Up to this ratio, two medians count as equal: they are a few milliseconds, on a busy machine."""

SETTINGS = {"SCALINGO_REQUESTS_PER_MINUTE": "6000"}


def main() -> None:
    """Measure and print."""
    print_circumstances("dwell")
    alone_ms: list[float] = []
    beside_ms: list[float] = []
    lines = []
    for number in range(1, ROUNDS + 1):
        for hang, into in ((False, alone_ms), (True, beside_ms)):
            dwells_ms = _round(hang=hang)
            into.extend(dwells_ms)
            name = f"round {number}, the other three {'hang' if hang else 'answer'}"
            lines.append((name, str(len(dwells_ms)), *_described(dwells_ms)))
    columns = ("end observed -> healthy target has the request", "deliveries", "median", "p99", "longest")
    print_table(f"dwell: {OPERATIONS} operations of up to {LONGEST_S:g} s, five webhook targets", columns, lines)
    _print_goals(alone_ms, beside_ms)


def _print_goals(alone_ms: list[float], beside_ms: list[float]) -> None:
    median_ms, p99_ms = statistics.median(beside_ms), percentile(beside_ms, 99)
    ratio = median_ms / statistics.median(alone_ms)
    print_goals(
        "dwell: all rounds together",
        [
            Row("median, three others hang", _ms(median_ms), f"< {MEDIAN_GOAL_MS:g} ms", median_ms < MEDIAN_GOAL_MS),
            Row("p99, three others hang", _ms(p99_ms), f"< {P99_GOAL_MS:g} ms", p99_ms < P99_GOAL_MS),
            Row("median, none hangs", _ms(statistics.median(alone_ms))),
            Row("p99, none hangs", _ms(percentile(alone_ms, 99))),
            Row("median, three hang / none hangs", f"{ratio:.2f}", f"<= {NO_SLOWER:g}", ratio <= NO_SLOWER),
        ],
    )


def _round(*, hang: bool) -> list[float]:
    """Return the milliseconds from each observed end to each request at a healthy target."""
    with Receiver() as receiver:
        for path in OTHERS if hang else ():
            receiver.script(path, Reply(hang_s=HANG_S))
        with Stage(targets=_targets(receiver), settings=SETTINGS) as stage:
            stage.start_api()
            processes = stage.start_service()
            span_s = LONGEST_S - SHORTEST_S
            durations_s = [SHORTEST_S + span_s * number / (OPERATIONS - 1) for number in range(OPERATIONS)]
            for url in [stage.begin("shop", duration_s=duration_s) for duration_s in durations_s]:
                stage.track(url)
            expected = OPERATIONS * len(HEALTHY)
            wait_until(
                lambda: len(_first(receiver.requests)) >= expected, *processes, timeout_s=ALL_TOLD_WITHIN_S, every_s=0.2
            )
            trackings = stage.ask("GET", "/v1/operations?limit=100")["operations"]
            return _dwells_ms(trackings, receiver.requests)


def _dwells_ms(trackings: list[dict[str, Any]], requests: Iterable[RequestReceived]) -> list[float]:
    ended_s = {each["id"]: datetime.fromisoformat(each["ended_at"]).timestamp() for each in trackings}
    return [(at_s - ended_s[identity]) * 1000 for (_, identity), at_s in _first(requests).items()]


def _first(requests: Iterable[RequestReceived]) -> dict[tuple[str, str], float]:
    """Find the time of the first request for each tracking at each healthy path."""
    first: dict[tuple[str, str], float] = {}
    for each in requests:
        if each.path in HEALTHY:
            first.setdefault((each.path, json.loads(each.body)["data"]["id"]), each.received_at)
    return first


def _targets(receiver: Receiver) -> str:
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    return "\n".join(
        f'[targets.{path.strip("/")}]\nkind = "webhook"\nurl = "{receiver.url(path)}"\nsecret = "{secret}"'
        for path in (*OTHERS, *HEALTHY)
    )


def _described(values_ms: list[float]) -> tuple[str, str, str]:
    return _ms(statistics.median(values_ms)), _ms(percentile(values_ms, 99)), _ms(max(values_ms))


def _ms(value_ms: float) -> str:
    return f"{value_ms:.0f} ms"


if __name__ == "__main__":
    sys.exit(run({"dwell": main}))
