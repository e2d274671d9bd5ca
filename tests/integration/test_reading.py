"""Reading and listing trackings, and waiting for their end."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis
from flask import Flask

from config.settings import Settings
from operations.errors import SignInRejectedError
from operations.model import Delivery, DeliveryState, Operation, Tracking, Verdict
from operations.storage.index import RECENT
from operations.storage.records import with_ids
from operations.storage.store import Store
from tests.integration.bench import (
    BROKEN,
    DONE,
    OPERATION_ID,
    Caller,
    faulty_fields,
    found,
    operation_id,
    problem,
    seen,
)
from tests.support.running import PATIENCE_S

IDENTITY = f"osc-fr1-{OPERATION_ID}"


class TestOne:
    """GET /v1/operations/<id>."""

    def test_what_the_api_said_is_shown_in_its_words(self, caller: Caller, store: Store, settings: Settings) -> None:
        caller.track(notify=["webhook"])
        now = store.records.now()
        operation = Operation(
            status="error",
            outcome=Verdict.FAILED,
            type="start-one-off",
            created_at=now - timedelta(seconds=90),
            finished_at=now - timedelta(seconds=20),
            error="exit 1",
        )
        seen(store, IDENTITY, operation, settings.rules)
        shown = caller.show(IDENTITY)
        assert shown["state"] == "failed"
        assert shown["operation"]["type"] == "start-one-off"
        assert shown["operation"]["error"] == "exit 1"
        assert shown["duration_s"] == 70
        assert shown["polls"] == 1
        assert shown["next_poll_at"] is None
        assert shown["deliveries"] == [
            {
                "target": "webhook",
                "state": "pending",
                "attempts": 0,
                "last_error": None,
                "next_attempt_at": shown["ended_at"],
                "delivered_at": None,
            }
        ]

    def test_why_a_look_failed_is_shown_while_tracking(self, caller: Caller, store: Store, settings: Settings) -> None:
        caller.track()
        seen(store, IDENTITY, SignInRejectedError("the API token is rejected"), settings.rules)
        shown = caller.show(IDENTITY)
        assert (shown["state"], shown["last_error"]) == ("tracking", "the API token is rejected")
        assert shown["next_poll_at"] > shown["last_polled_at"]

    @pytest.mark.parametrize(
        "identity", [f"osc-fr1-{operation_id(9)}", "x", "x" * 101, "..%2F..", "%00", "é", "osc-fr1-%0a"]
    )
    def test_an_unknown_one_is_404(self, caller: Caller, identity: str) -> None:
        problem(caller.get(f"/v1/operations/{identity}"), 404)
        problem(caller.request("DELETE", f"/v1/operations/{identity}"), 404)
        problem(caller.request("POST", f"/v1/operations/{identity}/deliveries/slack/retry"), 404)

    def test_waiting_ends_when_the_operation_does(
        self, app: Flask, caller: Caller, store: Store, settings: Settings
    ) -> None:
        caller.track()
        with ThreadPoolExecutor(1) as pool:
            other = Caller(app.test_client())
            waiting = pool.submit(other.get, f"/v1/operations/{IDENTITY}", headers={"Prefer": "wait=20"})
            began_s = time.monotonic()
            seen(store, IDENTITY, DONE, settings.rules)
            answer = waiting.result(PATIENCE_S)
        assert answer.json["state"] == "succeeded"
        assert time.monotonic() - began_s < 20

    def test_waiting_lasts_as_long_as_asked_for_at_most(self, caller: Caller) -> None:
        caller.track()
        began_s = time.monotonic()
        answer = caller.get(f"/v1/operations/{IDENTITY}", headers={"Prefer": 'respond-async, wait="1"'})
        assert time.monotonic() - began_s >= 1
        assert answer.json["state"] == "tracking"
        assert answer.headers["Preference-Applied"] == "wait=1"

    @pytest.mark.parametrize("prefer", ["", "wait", "wait=", "wait=-1", "wait=soon", "wait=²", "return=minimal", ",;="])
    def test_a_preference_that_cannot_be_read_is_passed_over(self, caller: Caller, prefer: str) -> None:
        caller.track()
        answer = caller.get(f"/v1/operations/{IDENTITY}", headers={"Prefer": prefer})
        assert answer.status_code == 200
        assert "Preference-Applied" not in answer.headers  # there was no wait

    def test_one_that_has_ended_is_shown_at_once(self, caller: Caller, store: Store, settings: Settings) -> None:
        caller.track()
        seen(store, IDENTITY, DONE, settings.rules)
        answer = caller.get(f"/v1/operations/{IDENTITY}", headers={"Prefer": "wait=25"})
        assert answer.json["state"] == "succeeded"
        assert "Preference-Applied" not in answer.headers  # there was no wait


class TestMany:
    """GET /v1/operations."""

    def test_there_are_none_at_first(self, caller: Caller) -> None:
        assert caller.get("/v1/operations").json == {"operations": [], "next_cursor": None}

    def test_the_newest_come_first(self, caller: Caller, store: Store) -> None:
        add(store, 3)
        assert listed(caller) == [operation_id(2), operation_id(1), operation_id(0)]

    def test_they_look_as_they_do_alone(self, caller: Caller) -> None:
        caller.track(context={"actor": "jane"})
        assert caller.get("/v1/operations").json["operations"] == [caller.show(IDENTITY)]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, 50])
    @pytest.mark.parametrize("apart_ms", [0, 1])
    def test_walking_through_all_pages_loses_and_repeats_nothing(
        self, caller: Caller, store: Store, limit: int, apart_ms: int
    ) -> None:
        add(store, 10, apart_ms=apart_ms)
        pages = list(walk(caller, f"limit={limit}"))
        assert [number for page in pages for number in page] == [operation_id(n) for n in reversed(range(10))]
        assert all(0 < len(page) <= limit for page in pages)

    def test_walking_goes_on_where_it_was_while_newer_ones_come(self, caller: Caller, store: Store) -> None:
        add(store, 6, apart_ms=0)
        first = caller.get("/v1/operations?limit=2").json
        add(store, 300, start=100)
        rest = listed(caller, f"cursor={first['next_cursor']}&limit=100")
        assert rest == [operation_id(n) for n in (3, 2, 1, 0)]

    def test_filters_apply_to_every_page(self, caller: Caller, store: Store, settings: Settings) -> None:
        add(store, 12, apps=("shop", "blog"))
        for number in (0, 4, 8):
            seen(store, f"osc-fr1-{operation_id(number)}", BROKEN, settings.rules)
        both = [number for page in walk(caller, "app=shop&state=failed&limit=1") for number in page]
        assert both == [operation_id(n) for n in (8, 4, 0)]
        assert listed(caller, "state=succeeded") == []
        assert len(listed(caller, "app=blog")) == 6
        assert len(listed(caller, "state=tracking&app=blog&limit=100")) == 6

    @pytest.mark.parametrize("state", DeliveryState)
    def test_those_with_a_delivery_of_the_current_run_in_a_state_are_found(
        self, caller: Caller, store: Store, state: DeliveryState
    ) -> None:
        deliveries = [
            Delivery(target=each.value, run=1, verdict=Verdict.FAILED, state=each, next_attempt_at=store.records.now())
            for each in DeliveryState
        ]
        one, other, both, earlier, _ = add(store, 5, apps=("shop", "blog"))
        (its,) = (d for d in deliveries if d.state is state)
        (next_one, *_) = (d for d in deliveries if d.state is not state)
        for tracking, told in ((one, (its,)), (other, (next_one,)), (both, (next_one, its))):
            change(store, tracking, deliveries=told)
        change(store, earlier, deliveries=(its,), run=2)
        assert listed(caller, f"delivery={state}") == [both.operation_id, one.operation_id]
        assert list(walk(caller, f"delivery={state}&limit=1")) == [[both.operation_id], [one.operation_id]]
        assert listed(caller, f"delivery={state}&app=blog") == []
        assert listed(caller, f"delivery={state}&state=failed") == []

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("delivery=lost", "delivery"),
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=many", "limit"),
            ("state=gone", "state"),
            ("app=Shop!", "app"),
            ("cursor=x", "cursor"),
            ("cursor=1_é", "cursor"),
            ("page=2", "page"),
        ],
    )
    def test_a_wrong_query_is_422(self, caller: Caller, query: str, field: str) -> None:
        assert faulty_fields(caller.get(f"/v1/operations?{query}")) == {field}

    def test_there_are_fifty_on_a_page(self, caller: Caller, store: Store) -> None:
        add(store, 51)
        answer = caller.get("/v1/operations").json
        assert len(answer["operations"]) == 50
        assert answer["next_cursor"] is not None

    def test_a_rare_filter_finds_the_oldest_among_thousands(self, caller: Caller, store: Store) -> None:
        add(store, 1, apps=("rare",))
        add(store, 5_100, start=1)
        pages = list(walk(caller, "app=rare"))
        assert [number for page in pages for number in page] == [operation_id(0)]

    def test_one_that_is_gone_is_passed_over(self, caller: Caller, store: Store, connection: redis.Redis) -> None:
        add(store, 3)
        connection.delete(f"opwatch:tracking:osc-fr1-{operation_id(1)}")
        assert listed(caller) == [operation_id(2), operation_id(0)]
        assert connection.zcard(RECENT) == 3

    def test_one_of_a_newer_version_is_left_alone(self, caller: Caller, store: Store, connection: redis.Redis) -> None:
        add(store, 2)
        newer = (
            found(store, f"osc-fr1-{operation_id(1)}").record.replace(b'"run":1', b'"run":1').rstrip(b"}") + b',"v":9}'
        )
        connection.set(f"opwatch:tracking:osc-fr1-{operation_id(1)}", newer)
        assert listed(caller) == [operation_id(0)]
        answer = caller.get(f"/v1/operations/osc-fr1-{operation_id(1)}")
        assert "newer" in problem(answer, 503)["detail"]
        assert int(answer.headers["Retry-After"]) > 0


def add(
    store: Store, count: int, *, start: int = 0, apart_ms: int = 1, apps: tuple[str, ...] = ("shop",)
) -> list[Tracking]:
    """Store trackings, numbered from `start`, each newer than the one before."""
    now = store.records.now()
    first = Tracking(
        id="",
        app="",
        operation_id="",
        region="osc-fr1",
        account="default",
        created_at=now,
        created_by="ci",
        timeout_s=3600,
        next_look_at=now,
    )
    made = [
        replace(
            first,
            id=f"osc-fr1-{operation_id(number)}",
            app=apps[number % len(apps)],
            operation_id=operation_id(number),
            created_at=now + timedelta(milliseconds=number * apart_ms),
        )
        for number in range(start, start + count)
    ]
    assert all(store.add(tracking) is None for tracking in made)
    return made


def change(store: Store, tracking: Tracking, **changes: Any) -> None:
    """Store a tracking with changes."""
    assert store.update(found(store, tracking.id), lambda known: with_ids(replace(known, **changes))) is not None


def listed(caller: Caller, query: str = "") -> list[str]:
    """Return the operation ids of one page."""
    answer = caller.get(f"/v1/operations?{query}")
    assert answer.status_code == 200, answer.text
    return [each["operation_id"] for each in answer.json["operations"]]


def walk(caller: Caller, query: str) -> Any:
    """Return all pages with a match."""
    cursor = ""
    for _ in range(100):
        answer = caller.get(f"/v1/operations?{query}{cursor}").json
        if page := [each["operation_id"] for each in answer["operations"]]:
            yield page
        if answer["next_cursor"] is None:
            return
        cursor = f"&cursor={answer['next_cursor']}"
    pytest.fail("there is no end to the pages")
