"""Events of Scalingo's notifier: they begin trackings and hurry looks, and can do no more."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from operations.model import DeliveryState, State
from operations.storage.store import Store
from operations.watching import looks
from scalingo.address import OFFICIAL_REGIONS
from standin.api import ScalingoApi
from tests.integration.bench import Caller, found, tracked
from tests.integration.rounds import hold, look
from tests.unit.strategies import NOW, a_tracking
from workers.look import look_round
from workers.runtime import Runtime

SECRET = "an-events-secret-of-0123456789"  # noqa: S105 - it opens nothing
UUID = "cabf82f2-1cb1-46d4-b09e-bfb6fe09bc18"
IDENTITY = f"osc-fr1-{UUID}"


@pytest.fixture
def app(make_app: Callable[[], Flask], monkeypatch: pytest.MonkeyPatch) -> Flask:
    """Build the app with the route open."""
    monkeypatch.setenv("OPWATCH_EVENTS_SECRET", SECRET)
    return make_app()


def event(**changes: Any) -> dict[str, Any]:
    """Return the event of a deployment, as Scalingo sends it."""
    data = {"deployment_id": "5ed0fe5f884fef000f5e4fd6", "deployment_uuid": UUID, "status": "success", "pusher": "jane"}
    return {"id": "5ed0fe5f884fef000f5e4fd7", "type": "deployment", "app_name": "shop", "type_data": data, **changes}


def send(caller: Caller, body: Any, secret: str = SECRET, query: str = "") -> TestResponse:
    """POST an event, without a bearer."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return caller.request("POST", f"/v1/scalingo/{secret}{query}", data=text, token=None)


def test_an_event_begins_a_tracking_as_its_query_says(caller: Caller, store: Store) -> None:
    answer = send(caller, event(), query="?notify=webhook&group=release&context.environment=prod&utm=x")
    assert (answer.status_code, answer.data) == (204, b"")
    tracking = found(store, IDENTITY).tracking
    assert (tracking.kind, tracking.app, tracking.created_by) == ("deployment", "shop", "scalingo")
    assert (tracking.notify, tracking.group, tracking.context) == (("webhook",), "release", {"environment": "prod"})
    assert tracking.by_event
    assert send(caller, event()).status_code == 204  # again
    assert caller.track(deployment_id=UUID, operation_id=None).status_code == 200
    assert not found(store, IDENTITY).tracking.by_event  # somebody vouches for it


@pytest.mark.parametrize(
    "body",
    [
        event(type_data={}),
        event(type_data=None),
        event(app_name=None),
        event(app_name="../x"),
        event(type_data={"deployment_uuid": "5ed0fe5f884fef000f5e4fd6"}),
        {"type": "restart", "app_name": "shop", "type_data": {}},
        [],
        None,
        "text",
    ],
)
def test_any_other_event_does_nothing(caller: Caller, store: Store, body: Any) -> None:
    assert send(caller, body).status_code == 204
    assert list(store.listing.recent()) == []


@pytest.mark.parametrize(
    ("secret", "body", "query", "status"),
    [
        ("", event(), "", 404),
        (SECRET[:-1], event(), "", 404),
        (SECRET + "x", event(), "", 404),
        ("\u00e9" * 24, event(), "", 404),
        (SECRET, b"<html>", "", 400),
        (SECRET, b"\xff\xfe", "", 400),
        (SECRET, b"[" * 20_000, "", 400),
        (SECRET, b" " * 70_000, "", 413),
        (SECRET, event(), "?notify=nobody", 422),
        (SECRET, event(), "?account=nobody", 422),
    ],
)
def test_what_is_wrong_is_refused_and_changes_nothing(
    caller: Caller, store: Store, secret: str, body: Any, query: str, status: int
) -> None:
    assert send(caller, body, secret, query).status_code == status
    assert list(store.listing.recent()) == []


def test_the_secret_opens_nothing_else_and_is_not_logged(caller: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    assert caller.request("GET", "/v1/operations", token=SECRET).status_code == 401
    assert send(caller, event()).status_code == 204
    assert caller.request("GET", f"/v1/scalingo/{SECRET}", token=None).status_code == 405
    assert SECRET not in "".join(capsys.readouterr())


def test_without_a_secret_the_route_is_not_there(make_app: Callable[[], Flask]) -> None:
    assert send(Caller(make_app().test_client()), event()).status_code == 404


def test_an_event_hurries_a_look_and_a_second_one_if_it_is_ahead_of_the_api(
    caller: Caller, store: Store, scalingo: ScalingoApi, runtime: Runtime
) -> None:
    begun = scalingo.operation(kind="deployment", duration_s=None)
    assert runtime.settings.targets
    identity = f"osc-fr1-{begun.id}"
    assert caller.track(operation_url=begun.url, app="shop").status_code == 202
    waits = look(store, identity).next_look_at
    assert send(caller, event(type_data={"deployment_uuid": begun.id})).status_code == 204
    due = found(store, identity).tracking.next_look_at
    assert waits is not None
    assert due is not None
    assert due < waits
    hold(look_round, lambda: found(store, identity).tracking.polls == 2)
    after = found(store, identity).tracking
    assert after.next_look_at is not None
    assert after.last_polled_at is not None
    assert after.next_look_at - after.last_polled_at <= looks.HURRIED_PAUSE
    scalingo.finish(begun.id)
    hold(look_round, lambda: found(store, identity).tracking.state is State.SUCCEEDED)
    assert send(caller, event(type_data={"deployment_uuid": begun.id})).status_code == 204
    assert found(store, identity).tracking.polls == 3


def test_a_hint_only_moves_a_look_forward() -> None:
    overdue = a_tracking(next_look_at=NOW - timedelta(seconds=9))
    for tracking, due in (
        (overdue, overdue.next_look_at),
        (replace(overdue, next_look_at=NOW + timedelta(seconds=9)), NOW),
        (replace(overdue, claim="a look", next_look_at=NOW + timedelta(seconds=9)), NOW + timedelta(seconds=9)),
    ):
        after = looks.hurried(tracking, NOW)
        assert after is not None
        assert after.next_look_at == due
        assert looks.hurried(after, NOW) is None


def test_an_app_that_takes_the_place_of_a_mistyped_one_brings_its_links(
    make_app: Callable[[], Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALINGO_API_URL", OFFICIAL_REGIONS["osc-fr1"])
    caller = Caller(make_app().test_client())
    url = f"{OFFICIAL_REGIONS['osc-fr1']}/v1/apps/{'a' * 24}/deployments/{UUID}/output"
    assert caller.track(app="shpo", deployment_id=UUID, operation_id=None).json["links"]["logs"].count("/shpo/") == 1
    moved = caller.track(operation_url=url, app="shop").json
    assert (moved["app"], moved["links"]["logs"].count("/shop/")) == ("shop", 1)


def test_a_forged_event_is_lost_in_silence(
    caller: Caller, store: Store, scalingo: ScalingoApi, runtime: Runtime
) -> None:
    assert runtime.settings.targets
    assert scalingo.url
    assert send(caller, event()).status_code == 204
    hold(look_round, lambda: found(store, IDENTITY).tracking.missing_looks)
    now = store.records.now()
    tracking = found(store, IDENTITY).tracking
    assert tracking.next_look_at is not None

    def later(each: Any) -> Any:
        return replace(each, missing_looks=9, missing_since=now - looks.LOST_AFTER_MISSING, next_look_at=now)

    store.update(found(store, IDENTITY), later)
    hold(look_round, lambda: found(store, IDENTITY).tracking.state is State.LOST)
    after = found(store, IDENTITY).tracking
    assert {delivery.state for delivery in after.deliveries} == {DeliveryState.SKIPPED}


def test_a_flood_is_bounded_and_delays_nobody(
    caller: Caller, store: Store, scalingo: ScalingoApi, runtime: Runtime
) -> None:
    most = runtime.settings.max_in_flight // 10
    answers = [
        send(caller, event(type_data={"deployment_uuid": f"{number:08x}{UUID[8:]}"})).status_code
        for number in range(most + 5)
    ]
    assert answers == [204] * most + [429] * 5
    mine = [tracked(store, scalingo.operation(duration_s=None).id) for _ in range(3)]
    hold(look_round, lambda: all(found(store, each).tracking.polls for each in mine))
    ours = {each.removeprefix("osc-fr1-") for each in mine}
    asked = [seen.operation_id in ours for seen in scalingo.requests if seen.operation_id]
    assert asked.index(True) < 3  # the next tokens were theirs
