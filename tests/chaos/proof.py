"""The promises that must hold after the faults, and the figures of a journey."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from http.client import HTTPException
from itertools import pairwise
from typing import Any

from operations.storage.index import DUE, IN_FLIGHT, OUTBOX
from tests.chaos.handed import CAUSE, Handed
from tests.chaos.journey import REQUESTS_PER_MINUTE, WORKERS, Journey, faults_in, unix_time
from tests.chaos.targets import Receipt

TOLD = {"/slack": "slack", "/webhook": "webhook", "/ledger": "ledger"}
ALL_TOLD_WITHIN_S = 150.0
ALL_TIDY_WITHIN_S = 120.0
WINDOW_S = 60.0
CLOCKS_DIFFER_S = 0.5
LINGERING = ("hang", "slow", "drip")
LINGERS_S = 10.0
_SUMMED = (
    "faults", "refused", "trackings", "deployments", "by_event", "failed_deployments", "causes", "lost", "duplicates",
    "hurried",
)  # fmt: skip
_ROW = (
    "| {seed} | {appendfsync} | {faults} | {refused} | {trackings} | {deployments} ({by_event}) |"
    " {failed_deployments} ({causes}) | {lost} | {duplicates} | {hurried} | {busiest_minute} |"
    " {longest_recovery_s:.1f} s |"
)


@dataclass(frozen=True)
class Findings:
    """The figures of one journey, and every broken promise.

    `causes` are the failed deployments whose message says why: the others had an empty output, or it was read during a
    fault.
    """

    seed: int
    appendfsync: str
    faults: int
    refused: int
    trackings: int
    deployments: int
    by_event: int
    failed_deployments: int
    causes: int
    lost: int
    duplicates: int
    hurried: int
    busiest_minute: int
    longest_recovery_s: float
    wrong: tuple[str, ...]


def prove(journey: Journey) -> Findings:
    """Wait until everything is delivered and tidy, and check all promises."""
    shown = _all_told(journey)
    wrong = [*_outcomes(journey, shown), *_left_behind(journey)]
    receipts = _by_delivery(journey.targets.receipts)
    lost, duplicates = 0, 0
    for each in journey.handed:
        for path, target in TOLD.items():
            received = receipts[each.app, path]
            lost += not received
            duplicates += max(0, len(received) - 1)
            wrong += _one_delivery(journey, each, path, received)
            wrong += told_after_the_record(shown.get(each.app, {}), target, received)
    busiest = _busiest_minute([seen.at for seen in journey.scalingo.requests])
    if busiest > REQUESTS_PER_MINUTE:
        wrong.append(f"{busiest} requests within {WINDOW_S:.0f} s")
    return Findings(
        seed=journey.seed,
        appendfsync=journey.appendfsync,
        faults=len(faults_in(journey)),
        refused=journey.targets.refused,
        trackings=len(journey.handed),
        deployments=sum(each.deploys for each in journey.handed),
        by_event=sum(each.thing.by_event for each in journey.handed),
        failed_deployments=sum(each.deploys and each.state == "failed" for each in journey.handed),
        causes=sum(CAUSE in (tracking["operation"]["error"] or "") for tracking in shown.values()),
        lost=lost,
        duplicates=duplicates,
        hurried=journey.hurried,
        busiest_minute=busiest,
        longest_recovery_s=_longest_recovery_s(journey),
        wrong=tuple(wrong),
    )


def _all_told(journey: Journey) -> dict[str, dict[str, Any]]:
    """Wait for the end of every tracking and of every delivery; returns the trackings by app."""
    shown: dict[str, dict[str, Any]] = {}
    until_s = time.monotonic() + ALL_TOLD_WITHIN_S
    while time.monotonic() < until_s and len(shown) < len(journey.handed):
        journey.keep_running()
        for each in journey.handed:
            if each.identity and each.app not in shown:
                with suppress(OSError, HTTPException):
                    tracking = json.loads(journey.opwatch.get(f"/v1/operations/{each.identity}").text)
                    if "deliveries" in tracking:
                        journey.hurry(tracking)
                        if _finished(tracking):
                            shown[each.app] = tracking
        time.sleep(0.5)
    return shown


def _finished(tracking: dict[str, Any]) -> bool:
    open_ones = any(each["state"] in ("pending", "retrying") for each in tracking["deliveries"])
    return tracking["state"] != "tracking" and not open_ones


def _outcomes(journey: Journey, shown: dict[str, dict[str, Any]]) -> Iterator[str]:
    for each in journey.handed:
        tracking = shown.get(each.app)
        if tracking is None:
            yield f"{each.app} ({each.identity or 'never accepted'}) did not come to its end"
            continue
        if (tracking["state"], tracking["run"]) != (each.state, 1):
            yield f"{each.app} should be {each.state}: {tracking}"
        elif not each.is_explained(tracking):
            yield f"{each.app} ({each.thing}) does not say why: {tracking}"
        states = {delivery["target"]: delivery["state"] for delivery in tracking["deliveries"]}
        if states != dict.fromkeys(TOLD.values(), "delivered"):
            yield f"{each.app}: {states}"


def _by_delivery(receipts: list[Receipt]) -> dict[tuple[str, str], list[Receipt]]:
    found: dict[tuple[str, str], list[Receipt]] = defaultdict(list)
    for receipt in receipts:
        found[receipt.app, receipt.path].append(receipt)
    return found


def _one_delivery(journey: Journey, each: Handed, path: str, received: list[Receipt]) -> Iterator[str]:
    """Check the messages of one operation to one target: right, byte for byte the same, recorded once.

    In a chat, one that comes late says so, too.
    """
    target = TOLD[path]
    if not received:
        yield f"{each.app}: {target} was told nothing"
        return
    if path == "/slack":
        if any(each.state.encode() not in receipt.body for receipt in received):
            yield f"{each.app}: {target} was told something else than {each.state}"
    else:
        if {json.loads(receipt.body)["type"] for receipt in received} != {f"operation.{each.state}"}:
            yield f"{each.app}: {target} was told something else than {each.state}"
        if {receipt.webhook_id for receipt in received} != {f"{each.identity}_1_{each.state}_{target}"}:
            yield f"{each.app}: {target} was told under other ids"
    if len({receipt.body for receipt in received if path != "/slack" or b" late" not in receipt.body}) > 1:
        yield f"{each.app}: {target} was told in different bytes"
    recorded = sum(
        event["delivery"] == f"{each.identity}_1_{each.state}_{target}"
        for name in WORKERS
        for event in journey.opwatch.events(name, "delivered")
    )
    if recorded > 1:
        yield f"{each.app}: the delivery to {target} was recorded {recorded} times"


def told_after_the_record(shown: dict[str, Any], target: str, received: list[Receipt]) -> Iterator[str]:
    """Check that nothing came once a delivery was recorded as made: a duplicate's first answer was never recorded."""
    for delivery in shown.get("deliveries", ()):
        if delivery["target"] == target and delivery["delivered_at"] is not None:
            recorded_at = unix_time(delivery["delivered_at"])
            for receipt in received:
                if (late_s := receipt.at - recorded_at) > CLOCKS_DIFFER_S:
                    yield f"{receipt.app}: {target} was told again, {late_s:.1f} s after the delivery was recorded"


def _left_behind(journey: Journey) -> list[str]:
    """Wait until no leftovers are in Redis. Returns those that stay."""
    until_s = time.monotonic() + ALL_TIDY_WITHIN_S
    while (left := _in_redis(journey)) and time.monotonic() < until_s:
        journey.keep_running()
        time.sleep(1)
    return left


def _in_redis(journey: Journey) -> list[str]:
    with journey.redis() as connection:
        left = [f"{key}: {connection.zrange(key, 0, -1)}" for key in (DUE, OUTBOX) if connection.zcard(key)]
        in_flight = connection.hgetall(IN_FLIGHT)
        left += [f"in flight: {in_flight}"] if any(int(count) for count in in_flight.values()) else []
        for key in connection.scan_iter("opwatch:tracking:*", count=1000):
            record = json.loads(connection.get(key))
            claims = [record.get("claim"), *(each.get("claim") for each in record.get("deliveries", ()))]
            left += [f"{key} is claimed"] if any(claims) else []
        for key in connection.scan_iter("rq:*", count=1000):
            name = key.decode()
            kind = connection.type(key).decode()
            if kind in ("list", "zset"):
                left.append(f"{name}: {connection.sort(key, by='nosort', alpha=True)}")
            elif name.startswith("rq:job:") and connection.ttl(key) == -1:
                left.append(f"{name}: {connection.hgetall(key)}")
    return left


def _busiest_minute(times: list[float]) -> int:
    busiest, start = 0, 0
    for end, at in enumerate(times):
        while times[start] <= at - WINDOW_S:
            start += 1
        busiest = max(busiest, end - start + 1)
    return busiest


def _longest_recovery_s(journey: Journey) -> float:
    """Find the longest time without a look, outside of faults, while operations were in flight."""
    looks = [seen.at for seen in journey.scalingo.requests]
    longest = 0.0
    for end, following in pairwise([*_spells(journey), (float("inf"), float("inf"))]):
        until = min([look for look in looks if look >= end[1]], default=end[1])
        longest = max(longest, min(until, following[0]) - end[1])
    return longest


def _spells(journey: Journey) -> list[tuple[float, float]]:
    """Merge the times of all faults."""
    spells: list[tuple[float, float]] = []
    for at, event in faults_in(journey):
        lingers_s = LINGERS_S if event.what in LINGERING else 0.0  # requests that already hang continue to
        end = at + event.lasts_s + lingers_s
        if spells and at <= spells[-1][1]:
            spells[-1] = (spells[-1][0], max(spells[-1][1], end))
        else:
            spells.append((at, end))
    return spells


def table(findings: list[Findings]) -> str:
    """Write the findings as a Markdown table, one row per seed."""
    columns = (
        "seed", "appendfsync", "faults", "refused by targets", "trackings", "deployments (by events)",
        "failed ones (that say why)", "lost", "duplicates", "retried by hand",
        f"busiest 60 s (budget {REQUESTS_PER_MINUTE})", "longest recovery",
    )  # fmt: skip
    total: dict[str, Any] = {"seed": "all", "appendfsync": ""}
    total |= {name: sum(getattr(each, name) for each in findings) for name in _SUMMED}
    total |= {name: max(getattr(each, name) for each in findings) for name in ("busiest_minute", "longest_recovery_s")}
    rows = [_ROW.format(**each) for each in (*map(asdict, findings), total)]
    return "\n".join([f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *rows])
