"""Glances at all apps of an account: what they reveal is looked at first, and nothing is ever believed."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import redis

from operations.kind import Kind
from operations.model import Operation, State
from operations.storage.clock import milliseconds
from operations.storage.glances import EVIDENCE, Glanced, Place, glances_counter, hints_counter
from operations.storage.store import Store
from operations.watching.glances import Sight, Source, Word
from page.timeline import events
from standin import faults
from standin.api import OperationHandle, ScalingoApi
from standin.apps import APPS, LIARS
from standin.faults import Fault
from standin.operations import new_uuid
from tests.integration.bench import found, tracked
from tests.integration.rounds import hold
from workers import choice
from workers.look import look_round
from workers.runtime import Runtime

AS_SCALINGO = {"SCALINGO_REQUESTS_PER_MINUTE": "60"}
RUNNING = Operation(status="running", type="restart")
HERE = Place("default", "osc-fr1")


def in_flight(
    scalingo: ScalingoApi, store: Store, count: int, kind: Kind = Kind.OPERATION, **script: object
) -> list[OperationHandle]:
    """Begin operations, each of an app of its own, last looked at up to half a minute ago, the last one latest."""
    now = store.records.now()
    script = script | {"kind": kind.value}
    begun = [scalingo.operation(f"shop-{n}", duration_s=None, **script) for n in range(count)]
    for number, each in enumerate(begun):
        tracked(
            store,
            each.id,
            id=f"osc-fr1-{each.id}",
            kind=kind,
            app=each.app,
            created_at=now - timedelta(seconds=40),
            operation=replace(RUNNING, created_at=now - timedelta(seconds=40)),
            polls=1,
            last_polled_at=now - timedelta(seconds=30 - number),
        )
    return begun


def glances(scalingo: ScalingoApi, path: str = APPS) -> int:
    """Count the requests for a list."""
    return sum(seen.path == path for seen in scalingo.requests)


def signed_in(start_worker: Callable[..., Runtime], store: Store, scalingo: ScalingoApi) -> Runtime:
    """Start a worker whose bearer is there, so that its next rounds can choose."""
    running = start_worker(**AS_SCALINGO)
    first = tracked(store, scalingo.operation("first", duration_s=0).id, app="first")
    hold(look_round, lambda: found(store, first).tracking.state is State.SUCCEEDED, "the first look")
    scalingo.clear_requests()
    return running


def has_glanced(running: Runtime, result: str = "answered") -> bool:
    """Tell whether a glance was stored with this result."""
    return running.overview.counters().get(glances_counter("default", result), 0) > 0


@pytest.mark.parametrize(
    ("kind", "evidence", "told"),
    [
        (Kind.OPERATION, "operation:restart", "seen by a glance: the app is running"),
        (Kind.DEPLOYMENT, "deployment:deployment", "seen by a glance: the deployment is build-error"),
    ],
)
def test_what_a_glance_reveals_is_looked_at_first_and_its_story_says_so(
    start_worker: Callable[..., Runtime],
    store: Store,
    connection: redis.Redis,
    scalingo: ScalingoApi,
    kind: Kind,
    evidence: str,
    told: str,
) -> None:
    running = signed_in(start_worker, store, scalingo)
    earned = [f"{milliseconds(store.records.now())} {word} 1 {evidence}" for word in Word] * 20
    source = Source.EVENTS if kind is Kind.DEPLOYMENT else Source.APPS
    connection.lpush(f"{EVIDENCE}:{Place('default', 'osc-fr1', source)}", *earned)
    begun = in_flight(scalingo, store, 20, kind)
    hold(look_round, lambda: has_glanced(running), "a glance")
    assert glances(scalingo, f"/v1/{source}") == 1
    ended = begun[-1]  # it would be the last to be looked at
    scalingo.finish(ended.id, "build-error" if kind is Kind.DEPLOYMENT else "")
    hold(look_round, lambda: found(store, f"osc-fr1-{ended.id}").tracking.ended_at, "the end")
    seen = [each.operation_id for each in scalingo.requests if each.operation_id in {one.id for one in begun}]
    assert ended.id in seen[-2:]  # the last may be for the output
    assert len(seen) < 15  # round-robin would need 20
    assert told in [event.text for event in events(found(store, f"osc-fr1-{ended.id}").tracking)]
    assert running.overview.counters()[hints_counter("default", Word.TURNED, right=True)] == 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.forbidden(),
        faults.operation_not_found(),
        faults.internal_error(),
        faults.rate_limited(),
        faults.html(),
        faults.not_json(),
        faults.wrong_shape(),
        faults.wrong_shape({"apps": [None, {"name": 7, "status": {}}, {"id": "x"}], "meta": []}),
        faults.answer(200, '{"apps": [' + '{"name": "padding", "status": "running"},' * 500_000 + "{}]}"),  # 20 MB
        faults.reset(),
    ],
    ids=["403", "404", "500", "429", "html", "cut", "list", "odd", "20 MB", "reset"],
)
def test_where_glances_fail_they_rest_and_looks_go_on(
    start_worker: Callable[..., Runtime], store: Store, scalingo: ScalingoApi, fault: Fault
) -> None:
    running = signed_in(start_worker, store, scalingo)
    scalingo.fault(fault, times=None, app=APPS)
    begun = in_flight(scalingo, store, 4)
    hold(look_round, lambda: has_glanced(running, "failed") or has_glanced(running), "a glance")
    scalingo.finish(begun[2].id, "error", "it broke")
    ended = hold(look_round, lambda: found(store, f"osc-fr1-{begun[2].id}").tracking.ended_at, "the end")
    assert ended is not None
    assert found(store, f"osc-fr1-{begun[2].id}").tracking.state is State.FAILED
    known = running.glances.read([HERE], store.records.now())[HERE]
    assert known.may_glance(store.records.now()) is has_glanced(running)
    assert glances(scalingo) <= 2


@pytest.mark.parametrize(
    "stored",
    [
        b"\xff",
        b"[" * 100_000,
        {"cost": "dear"},
        {"cost": None},
        {"failures": "many"},
        {"apps": {"shop-0": [7, 1, 0]}},
        {"apps": {"shop-0": [{}, 1, 2]}},
        {"apps": [1]},
        {"at": 1e300},
        {"at": 9_000_000_000_000, "apps": {f"shop-{n}": ["running", 1, 9_000_000_000_000] for n in range(4)}},
        {"rests_until": 9_000_000_000_000},
    ],
)
def test_whatever_is_stored_of_glances_looks_go_on(
    start_worker: Callable[..., Runtime],
    store: Store,
    connection: redis.Redis,
    scalingo: ScalingoApi,
    stored: bytes | dict[str, object],
) -> None:
    running = signed_in(start_worker, store, scalingo)
    sound = {"at": 1, "cost": 1.0, "failures": 0, "rests_until": 0, "apps": {}}
    raw = stored if isinstance(stored, bytes) else json.dumps(sound | stored)
    connection.set("opwatch:glance:default:osc-fr1", raw)
    connection.lpush(f"{EVIDENCE}:default:osc-fr1", b"\xff", "", "1 busy", "x turned 1 a", "9" * 20 + " odd 1 a b c")
    begun = in_flight(scalingo, store, 4)
    hold(look_round, lambda: has_glanced(running), "a glance")
    scalingo.finish(begun[0].id)
    hold(look_round, lambda: found(store, f"osc-fr1-{begun[0].id}").tracking.ended_at, "the end")


def test_a_region_that_is_no_longer_configured_is_not_glanced_at(
    start_worker: Callable[..., Runtime], store: Store, scalingo: ScalingoApi, capsys: pytest.CaptureFixture[str]
) -> None:
    signed_in(start_worker, store, scalingo)
    begun = [each.id for each in in_flight(scalingo, store, 4)]
    for each in begun:
        store.update(found(store, f"osc-fr1-{each}"), lambda tracking: replace(tracking, region="gone"))
    hold(look_round, lambda: all(found(store, f"osc-fr1-{one}").tracking.polls > 1 for one in begun), "looks")
    assert "a task failed" not in capsys.readouterr().out
    assert glances(scalingo) == 0


def test_all_pages_of_the_list_are_read_each_for_a_token(
    start_worker: Callable[..., Runtime], store: Store, scalingo: ScalingoApi
) -> None:
    running = signed_in(start_worker, store, scalingo)
    scalingo.configure(apps_on_a_page=8)
    in_flight(scalingo, store, 20)  # and the first one: three pages
    hold(look_round, lambda: has_glanced(running), "a glance")
    known = running.glances.read([HERE], store.records.now())[HERE].glanced
    assert (len(known.sights), glances(scalingo), int(known.cost)) == (42, 3, 3)  # each by its name and its id


@pytest.mark.parametrize("kind", [Kind.OPERATION, Kind.DEPLOYMENT])
@pytest.mark.parametrize("liar", sorted(set(LIARS) - {""}))
def test_whatever_a_glance_says_the_verdict_is_that_of_a_look(
    start_worker: Callable[..., Runtime], store: Store, scalingo: ScalingoApi, liar: str, kind: Kind
) -> None:
    running = start_worker(SCALINGO_REQUESTS_PER_MINUTE="600")
    scalingo.configure(liar=liar, limit=None)
    begun = in_flight(scalingo, store, 6, kind)
    hold(look_round, lambda: has_glanced(running), "a glance")
    wrong = "error" if kind is Kind.OPERATION else "crashed-error"
    for number, each in enumerate(begun):
        scalingo.finish(each.id, wrong if number % 2 else "")
    hold(look_round, lambda: all(found(store, f"osc-fr1-{one.id}").tracking.ended_at for one in begun), "all ends")
    verdicts = [found(store, f"osc-fr1-{one.id}").tracking.state for one in begun]
    assert verdicts == [State.SUCCEEDED, State.FAILED] * 3


def test_one_worker_at_a_time_glances(
    start_worker: Callable[..., Runtime], store: Store, scalingo: ScalingoApi
) -> None:
    running = signed_in(start_worker, store, scalingo)
    held = running.locks.acquire("glance:default:osc-fr1", "another-worker", 60)
    begun = in_flight(scalingo, store, 12)
    hold(look_round, lambda: any(found(store, f"osc-fr1-{one.id}").tracking.polls > 1 for one in begun), "a look")
    assert held is not None
    assert glances(scalingo) == 0
    running.locks.release("glance:default:osc-fr1", held)
    hold(look_round, lambda: has_glanced(running), "a glance")


def test_a_busy_app_does_not_put_off_an_operation_before_a_newer_deployment(
    start_worker: Callable[..., Runtime], store: Store, scalingo: ScalingoApi
) -> None:
    running = signed_in(start_worker, store, scalingo)
    (older,) = in_flight(scalingo, store, 1)
    newer = tracked(store, new_uuid(), kind=Kind.DEPLOYMENT, app=older.app)
    now = store.records.now()
    running.glances.save(HERE, Glanced({older.app: Sight("booting", busy_at=now)}, now), {})
    due = [found(store, each) for each in (f"osc-fr1-{older.id}", newer)]
    words = {look.stored.tracking.id: look.hint.word for look in choice.choose(running, {"default": due}).looks}
    assert words[f"osc-fr1-{older.id}"] is None
