"""POST /v1/operations: what is accepted, what is refused, and what a repeated request does."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis
from flask import Flask

from api import actions
from config.settings import Settings
from operations.errors import AccessRefusedError, OperationMissingError
from operations.model import Operation
from operations.storage import maintenance
from operations.storage.store import Store
from operations.watching import looks
from standin.api import ScalingoApi
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
    tracked,
)
from tests.support.running import CALLER_TOKEN

CALM_TOKEN = "a-token-of-a-calm-caller-0123"  # noqa: S105 - it opens nothing
MISSING, REFUSED = OperationMissingError("404"), AccessRefusedError("403")
IDENTITY = f"osc-fr1-{OPERATION_ID}"


class TestWhatIsTaken:
    """All fields, as JSON or as a form."""

    def test_app_and_id_are_enough(self, caller: Caller) -> None:
        answer = caller.track()
        assert answer.status_code == 202
        assert answer.headers["Location"] == f"/v1/operations/{IDENTITY}"
        assert answer.content_type == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        body = answer.json
        times = {name: body.pop(name) for name in ("created_at", "next_poll_at")}
        assert body == {
            "id": IDENTITY,
            "kind": "operation",
            "app": "shop",
            "operation_id": OPERATION_ID,
            "addon_id": None,
            "region": "osc-fr1",
            "account": "default",
            "context": {},
            "links": {"logs": None, "story": None},
            "state": "tracking",
            "operation": None,
            "ended_at": None,
            "duration_s": None,
            "usual_duration_s": None,
            "polls": 0,
            "last_polled_at": None,
            "last_error": None,
            "reason": None,
            "run": 1,
            "group": None,
            "created_by": "ci",
            "deliveries": [],
        }
        for text in times.values():
            assert text.endswith("Z")
            assert len(text) == len("2020-05-29T14:41:48.360Z")
            assert datetime.fromisoformat(text).utcoffset() == timedelta()
        assert caller.show(IDENTITY) == answer.json | times

    def test_the_location_header_is_enough(self, caller: Caller, scalingo: ScalingoApi) -> None:
        answer = caller.track(operation_url=scalingo.operation("shop", id=OPERATION_ID).url)
        assert answer.status_code == 202
        assert answer.json["id"] == IDENTITY

    def test_an_official_url_names_its_region(self, caller: Caller) -> None:
        url = f"http://api.osc-secnum-fr1.scalingo.com/v1/apps/shop/operations/{OPERATION_ID}"
        answer = caller.track(operation_url=url)
        assert answer.status_code == 202
        assert answer.json["region"] == "osc-secnum-fr1"
        assert answer.json["id"] == f"osc-secnum-fr1-{OPERATION_ID}"

    def test_all_fields_are_kept(self, caller: Caller, store: Store) -> None:
        context = {"actor": "jané", "commit": "abc123", "a.b_c-1": "x" * 500}
        answer = caller.track(
            region="osc-fr1", account="other", timeout=60, group="deploy 7", group_size=3, context=context, notify=[]
        )
        assert answer.status_code == 202
        assert answer.json["account"] == "other"
        assert answer.json["context"] == context
        assert answer.json["group"] == "deploy 7"
        kept = found(store, IDENTITY).tracking
        assert (kept.timeout_s, kept.group_size, kept.notify_all, kept.notify) == (60, 3, False, ())

    def test_a_form_says_the_same_as_json(self, caller: Caller, store: Store, scalingo: ScalingoApi) -> None:
        answer = caller.form(
            {
                "operation_url": scalingo.operation("shop", id=OPERATION_ID).url,
                "notify": "slack, webhook,",
                "timeout": "120",
                "group": "deploy 7",
                "group_size": "2",
                "context.actor": "jane",
                "context.environment": "production",
            }
        )
        assert answer.status_code == 202
        assert answer.json["context"] == {"actor": "jane", "environment": "production"}
        kept = found(store, IDENTITY).tracking
        assert (kept.timeout_s, kept.group_size, kept.notify) == (120, 2, ("slack", "webhook"))

    def test_an_empty_notify_in_a_form_tells_nobody(self, caller: Caller, store: Store) -> None:
        assert caller.form({"app": "shop", "operation_id": OPERATION_ID, "notify": ""}).status_code == 202
        assert seen(store, IDENTITY, DONE, {}).deliveries == ()

    def test_json_may_name_its_charset(self, caller: Caller) -> None:
        body = json.dumps({"app": "shop", "operation_id": OPERATION_ID}).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        assert caller.request("POST", "/v1/operations", data=body, headers=headers).status_code == 202


class TestWhatIsRefused:
    """No input causes a 500; every refusal says what to do."""

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"surprise": 1}, "surprise"),
            ({"app": "Shop"}, "app"),
            ({"app": "../admin"}, "app"),
            ({"app": 5}, "app"),
            ({"operation_id": OPERATION_ID.upper()}, "operation_id"),
            ({"operation_id": OPERATION_ID[:-1]}, "operation_id"),
            ({"operation_id": OPERATION_ID + "\n"}, "operation_id"),
            ({"timeout": 59}, "timeout"),
            ({"timeout": 86_401}, "timeout"),
            ({"timeout": "60"}, "timeout"),
            ({"timeout": 60.5}, "timeout"),
            ({"timeout": True}, "timeout"),
            ({"region": "mars"}, "region"),
            ({"account": "nobody"}, "account"),
            ({"notify": ["nobody"]}, "notify"),
            ({"notify": "slack"}, "notify"),
            ({"notify": ["Slack!"]}, "notify.0"),
            ({"group": ""}, "group"),
            ({"group": "g" * 201}, "group"),
            ({"group_size": 0}, "group_size"),
            ({"context": {"actor": 5}}, "context.actor"),
            ({"context": {"actor": "x" * 501}}, "context.actor"),
            ({"context": {f"name-{number}": "x" for number in range(21)}}, "context"),
            ({"context": {f"name-{number}": "x" * 400 for number in range(20)}}, "context"),
            ({"operation_url": "https://evil.example/v1/apps/shop/operations/" + OPERATION_ID}, "operation_url"),
            ({"operation_url": "javascript:alert(1)"}, "operation_url"),
            ({"operation_url": "x" * 501}, "operation_url"),
            ({"operation_url": 7}, "operation_url"),
        ],
    )
    def test_a_wrong_field_is_named(self, caller: Caller, change: dict[str, Any], field: str) -> None:
        request = {"app": "shop", "operation_id": OPERATION_ID, **change}
        assert faulty_fields(caller.request("POST", "/v1/operations", json=request)) == {field}

    def test_all_wrong_fields_are_named_at_once(self, caller: Caller) -> None:
        assert faulty_fields(caller.track(timeout=1, group_size=0, x=1)) == {"timeout", "group_size", "x"}

    @pytest.mark.parametrize("body", [{}, {"app": "shop"}, {"operation_id": OPERATION_ID}, {"operation_url": None}])
    def test_an_operation_has_to_be_named(self, caller: Caller, body: dict[str, Any]) -> None:
        assert "operation_url" in problem(caller.request("POST", "/v1/operations", json=body), 422)["detail"]

    @pytest.mark.parametrize(
        ("field", "value"),
        [("app", "other"), ("operation_id", operation_id(1)), ("region", "osc-secnum-fr1")],
    )
    def test_a_url_that_disagrees_is_refused(self, caller: Caller, field: str, value: str) -> None:
        url = f"https://api.osc-fr1.scalingo.com/v1/apps/shop/operations/{OPERATION_ID}"
        assert faulty_fields(caller.track(operation_url=url, **{field: value})) == {field}
        agreeing = {"app": "shop", "operation_id": OPERATION_ID, "region": "osc-fr1"}
        assert caller.track(operation_url=url, **agreeing).status_code == 202

    @pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"app": "\xff"}', b'{"app": "\\ud800"}', b"\x00"])
    def test_what_is_not_json_is_400(self, caller: Caller, body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        problem(caller.request("POST", "/v1/operations", data=body, headers=headers), 400)

    @pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"text"', b"[" * 1000 + b"]" * 1000])
    def test_json_that_is_no_object_is_422_or_400(self, caller: Caller, body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        answer = caller.request("POST", "/v1/operations", data=body, headers=headers)
        problem(answer, 400 if len(body) > 100 else 422)

    @pytest.mark.parametrize("content_type", ["text/plain", "application/xml", ""])
    def test_another_content_type_is_415(self, caller: Caller, content_type: str) -> None:
        headers = {"Content-Type": content_type} if content_type else {}
        problem(caller.request("POST", "/v1/operations", data=b"{}", headers=headers), 415)

    @pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
    def test_a_body_of_more_than_64_kb_is_413(self, caller: Caller, content_type: str) -> None:
        body = b"x" * (64 * 1024 + 1)
        headers = {"Content-Type": content_type}
        problem(caller.request("POST", "/v1/operations", data=body, headers=headers), 413)

    def test_a_field_given_twice_in_a_form_is_refused(self, caller: Caller) -> None:
        answer = caller.form({"app": ["shop", "other"], "operation_id": OPERATION_ID})
        assert faulty_fields(answer) == {"app"}

    @pytest.mark.parametrize(("name", "value"), [("surprise", "1"), ("timeout", "soon"), ("context.", "x")])
    def test_a_form_is_checked_as_json_is(self, caller: Caller, name: str, value: str) -> None:
        problem(caller.form({"app": "shop", "operation_id": OPERATION_ID, name: value}), 422)

    @pytest.mark.parametrize("path", ["/v1/operations", f"/v1/operations/{IDENTITY}", "/metrics"])
    @pytest.mark.parametrize(
        "authorization",
        [None, "", "Bearer", "Bearer wrong-token-of-some-length", f"Basic {CALLER_TOKEN}", CALLER_TOKEN, "Bearer é"],
    )
    def test_nobody_calls_without_a_token(self, caller: Caller, path: str, authorization: str | None) -> None:
        headers = {} if authorization is None else {"Authorization": authorization.encode().decode("latin-1")}
        answer = caller.get(path, token=None, headers=headers)
        problem(answer, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    def test_a_token_comes_before_everything_else(self, caller: Caller) -> None:
        headers = {"Content-Type": "text/plain"}
        problem(caller.request("POST", "/v1/operations", token=None, data=b"x" * 70_000, headers=headers), 401)

    def test_an_unknown_path_is_404(self, caller: Caller) -> None:
        for path in ("/nothing", "/v1", "/v1/nothing", "/v1/operations/"):
            problem(caller.get(path), 404)

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("PUT", "/v1/operations", {"GET", "HEAD", "POST"}),
            ("POST", f"/v1/operations/{IDENTITY}", {"GET", "HEAD", "DELETE"}),
            ("GET", f"/v1/operations/{IDENTITY}/deliveries/slack/retry", {"POST"}),
            ("DELETE", "/healthz", {"GET", "HEAD"}),
            ("OPTIONS", "/v1/operations", {"GET", "HEAD", "POST"}),
        ],
    )
    def test_a_wrong_method_is_405_and_says_the_right_ones(
        self, caller: Caller, method: str, path: str, allowed: set[str]
    ) -> None:
        answer = caller.request(method, path)
        problem(answer, 405)
        assert set(answer.headers["Allow"].split(", ")) == allowed


class TestTooMany:
    """The limit of operations in flight per account."""

    @pytest.fixture(autouse=True)
    def _room_for_two(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        assert settings.max_in_flight == 1000
        monkeypatch.setenv("OPWATCH_MAX_IN_FLIGHT", "2")
        monkeypatch.setenv("OPWATCH_TOKENS", f"ci:{CALLER_TOKEN},calm:{CALM_TOKEN}")

    def test_a_new_one_is_429_and_one_that_is_known_is_not(self, caller: Caller, store: Store) -> None:
        for number in range(2):
            assert caller.track(operation_id=operation_id(number)).status_code == 202
        refused = caller.track(operation_id=operation_id(2))
        detail = problem(refused, 429)["detail"]
        assert detail.startswith("2 operations of the account default are in flight, and the limit is 2")
        assert int(refused.headers["Retry-After"]) > 0
        assert len(store.records.due_trackings()) == 2
        assert caller.track(operation_id=operation_id(1)).status_code == 200
        assert caller.track(operation_id=operation_id(2), account="other").status_code == 202

    def test_another_caller_is_let_in_up_to_its_share(self, caller: Caller) -> None:
        statuses = [caller.track(operation_id=operation_id(number)).status_code for number in range(3)]
        calm = [
            caller.request(
                "POST", "/v1/operations", token=CALM_TOKEN, json={"app": "a-shop", "operation_id": operation_id(number)}
            ).status_code
            for number in range(3, 5)
        ]
        assert (statuses, calm) == ([202, 202, 429], [202, 429])


class TestAFlood:
    """A caller that creates and cancels without end does not fill Redis."""

    @pytest.mark.parametrize("is_new", [True, False])
    def test_little_of_it_is_stored_even_without_a_worker(
        self,
        caller: Caller,
        store: Store,
        connection: redis.Redis,
        monkeypatch: pytest.MonkeyPatch,
        is_new: bool,  # noqa: FBT001
    ) -> None:
        monkeypatch.setattr(maintenance, "KEPT_CANCELLED", 20)
        monkeypatch.setattr(actions, "SLACK", 5)
        other = tracked(store, OPERATION_ID, created_by="calm")
        assert caller.request("DELETE", f"/v1/operations/{other}").status_code == 200
        stored = set()
        for number in range(60):
            fields = {"operation_id": operation_id(number if is_new else 1), "group": f"deploy {number}"}
            identity = caller.track(**fields, context={"actor": "x" * 500}, notify=["slack"]).get_json()["id"]
            assert caller.request("DELETE", f"/v1/operations/{identity}").status_code == 200
            stored.add(len(connection.keys("opwatch:tracking:*")))
        assert max(stored) <= 27
        assert connection.keys("opwatch:announcement:*") == []
        assert len(connection.keys("opwatch:group:*")) <= 25
        assert caller.show(identity)["run"] == (1 if is_new else 60)
        assert caller.show(other)["state"] == "cancelled"


class TestTheSameAgain:
    """A repeated request is safe."""

    def test_it_is_answered_200_with_the_same_tracking(self, caller: Caller) -> None:
        first, second = caller.track(), caller.track()
        assert (first.status_code, second.status_code) == (202, 200)
        assert first.json == second.json
        assert second.headers["Location"] == first.headers["Location"]

    def test_at_once_from_many_threads_one_begins(self, app: Flask) -> None:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: Caller(app.test_client()).track(), range(32)))
        assert sorted(answer.status_code for answer in answers) == [200] * 31 + [202]

    def test_timeout_context_and_group_keep_their_first_values(self, caller: Caller, store: Store) -> None:
        caller.track(timeout=60, context={"actor": "jane"}, group="one")
        answer = caller.track(timeout=600, context={"actor": "joe"}, group="two")
        assert answer.json["context"] == {"actor": "jane"}
        assert answer.json["group"] == "one"
        assert found(store, IDENTITY).tracking.timeout_s == 60

    def test_another_account_is_409(self, caller: Caller) -> None:
        caller.track(account="other")
        assert caller.track(account="other").status_code == 200
        assert caller.track().status_code == 200  # names none
        assert "other" in problem(caller.track(account="default"), 409)["detail"]

    @pytest.mark.parametrize("way", ["json", "form"])
    @pytest.mark.parametrize(
        ("field", "values"),
        [
            ("region", (None, "osc-fr1")),
            ("account", ("", None, "default")),
            ("timeout", (None, 3600)),
            ("notify", (None,)),
            ("notify", ([],)),
            ("context", (None, {})),
            ("group", (None,)),
        ],
    )
    def test_a_default_is_the_same_however_it_is_given(
        self, caller: Caller, store: Store, way: str, field: str, values: tuple[Any, ...]
    ) -> None:
        where = {"app": "shop", "operation_id": OPERATION_ID}
        first: Any = None
        for value in (*values, *values, values[0]):
            if way == "json":
                answer = caller.request("POST", "/v1/operations", json={**where, field: value})
            else:
                answer = caller.form(where | {field: value or ("" if field != "context" else None)})
            assert answer.status_code == (202 if first is None else 200), answer.text
            first = first or answer.get_json()
            assert answer.get_json() == first
        assert found(store, IDENTITY).tracking.timeout_s == 3600

    @pytest.mark.parametrize(
        "looks_before", [[], [MISSING], [REFUSED], [Operation(status="running"), MISSING]], ids=str
    )
    def test_another_app_takes_the_place_of_one_where_the_operation_was_not_found(
        self, caller: Caller, store: Store, settings: Settings, looks_before: list[Any]
    ) -> None:
        first = caller.track(app="shpo", context={"actor": "jane"}).get_json()
        for look in looks_before:
            seen(store, IDENTITY, look, settings.rules)
        under_way = store.update(
            found(store, IDENTITY), lambda t: looks.claimed(t, "late", store.records.now() + timedelta(days=1))
        )
        assert under_way is not None
        answer = caller.track(notify=["slack"], context={"actor": "joe"})
        assert answer.status_code == 200
        told = answer.get_json()
        assert (told["app"], told["run"], told["last_error"]) == ("shop", 1, None)
        assert [told[name] for name in ("id", "context", "created_at")] == [
            first[name] for name in ("id", "context", "created_at")
        ]
        moved = found(store, IDENTITY).tracking
        assert (moved.claim, moved.missing_looks, moved.refused_looks, moved.notify) == (None, 0, 0, ("slack",))
        assert [stored.tracking.app for stored in store.records.due_trackings()] == ["shop"]
        assert seen(store, IDENTITY, DONE, settings.rules).state == "succeeded"

    @pytest.mark.parametrize(
        "looks_before",
        [[Operation(status="running")], [MISSING, Operation(status="running")], [DONE], [BROKEN]],
        ids=str,
    )
    def test_another_app_is_409_and_names_both_where_the_api_knows_the_operation(
        self, caller: Caller, store: Store, settings: Settings, looks_before: list[Any]
    ) -> None:
        caller.track(app="blog")
        for look in looks_before:
            seen(store, IDENTITY, look, settings.rules)
        before = found(store, IDENTITY)
        detail = problem(caller.track(notify=["slack"]), 409)["detail"]
        assert "the app blog, not of shop" in detail
        assert found(store, IDENTITY) == before
        assert caller.track(app="blog").status_code == 200

    def test_targets_newly_named_are_told_too(self, caller: Caller, store: Store, settings: Settings) -> None:
        caller.track(notify=["slack"])
        caller.track(notify=["webhook", "slack"])
        ended = seen(store, IDENTITY, DONE, settings.rules)
        assert [d.target for d in ended.deliveries] == ["slack", "webhook"]

    def test_without_notify_nobody_is_added(self, caller: Caller, store: Store, settings: Settings) -> None:
        caller.track(notify=["slack"])
        assert caller.track().status_code == 200
        assert [d.target for d in seen(store, IDENTITY, DONE, settings.rules).deliveries] == ["slack"]

    def test_targets_named_after_the_end_are_told_at_once(
        self, caller: Caller, store: Store, settings: Settings
    ) -> None:
        caller.track(notify=["slack"])
        seen(store, IDENTITY, DONE, settings.rules)
        answer = caller.track(notify=["webhook", "failures"])
        assert answer.status_code == 200
        states = {d["target"]: d["state"] for d in answer.json["deliveries"]}
        assert states == {"slack": "pending", "webhook": "pending", "failures": "skipped"}
        due = [member for _, members in store.records.due_deliveries() for member in members]
        assert f"{IDENTITY}_1_succeeded_webhook" in due
        again = caller.track(notify=["webhook"])
        assert again.json == answer.json
        without = caller.track()
        assert without.json == answer.json

    def test_one_that_was_cancelled_starts_anew(self, caller: Caller, store: Store) -> None:
        caller.track(timeout=60, context={"actor": "jane"})
        caller.request("DELETE", f"/v1/operations/{IDENTITY}")
        answer = caller.track(timeout=90, context={"actor": "joe"}, account="other")
        assert answer.status_code == 202
        assert answer.json["run"] == 2
        assert answer.json["state"] == "tracking"
        assert answer.json["context"] == {"actor": "joe"}
        assert answer.json["account"] == "other"
        assert found(store, IDENTITY).tracking.timeout_s == 90
        assert [stored.tracking.id for stored in store.records.due_trackings()] == [IDENTITY]

    def test_one_that_was_lost_or_timed_out_starts_anew(self, caller: Caller, store: Store, settings: Settings) -> None:
        caller.track(notify=["webhook"])
        push_back(store, timedelta(hours=2))
        timed_out = seen(store, IDENTITY, Operation(status="running"), settings.rules)
        assert timed_out.state == "timed_out"
        second = caller.track(notify=["webhook"])
        assert (second.status_code, second.json["run"], second.json["deliveries"]) == (202, 2, [])
        missing = OperationMissingError("404")
        for _ in range(2):
            assert seen(store, IDENTITY, missing, settings.rules).state == "tracking"
        push_back(store, timedelta(minutes=2))
        lost = seen(store, IDENTITY, missing, settings.rules)
        assert lost.state == "lost"
        third = caller.track()
        assert (third.status_code, third.json["run"]) == (202, 3)
        # Planned deliveries are still made, each with its own id.
        due = {member for _, members in store.records.due_deliveries() for member in members}
        assert due == {f"{IDENTITY}_1_timed_out_webhook", f"{IDENTITY}_2_lost_webhook"}

    @pytest.mark.parametrize("end", [DONE, BROKEN])
    def test_one_that_has_ended_stays_ended(
        self, caller: Caller, store: Store, settings: Settings, end: Operation
    ) -> None:
        caller.track()
        seen(store, IDENTITY, end, settings.rules)
        answer = caller.track()
        assert answer.status_code == 200
        assert answer.json["run"] == 1
        assert answer.json["state"] in ("succeeded", "failed")


def push_back(store: Store, by: timedelta) -> None:
    """Move all times of a tracking into the past."""
    stored = found(store, IDENTITY)
    times = ("created_at", "missing_since")
    earlier = {name: value - by for name in times if (value := getattr(stored.tracking, name)) is not None}
    changed = store.update(stored, lambda tracking: replace(tracking, **earlier))
    assert changed is not None


class TestWhoIsTold:
    """Rules, and requested targets."""

    def test_everybody_whose_rules_match(self, caller: Caller, store: Store, settings: Settings) -> None:
        caller.track(app="blog")
        assert told(caller, store, settings, BROKEN) == {
            "slack": "pending",
            "webhook": "pending",
            "failures": "pending",
            "shops": "skipped",
        }

    def test_a_verdict_that_a_rule_excludes_is_skipped(self, caller: Caller, store: Store, settings: Settings) -> None:
        caller.track(app="shop-1")
        assert told(caller, store, settings, DONE) == {
            "slack": "pending",
            "webhook": "pending",
            "failures": "skipped",
            "shops": "pending",
        }

    def test_a_named_target_ignores_its_apps_but_keeps_its_verdicts(
        self, caller: Caller, store: Store, settings: Settings
    ) -> None:
        caller.track(app="blog", notify=["shops", "failures"])
        assert told(caller, store, settings, DONE) == {"shops": "pending", "failures": "skipped"}

    def test_an_empty_list_tells_nobody(self, caller: Caller, store: Store, settings: Settings) -> None:
        caller.track(notify=[])
        assert told(caller, store, settings, BROKEN) == {}


def told(caller: Caller, store: Store, settings: Settings, end: Operation) -> dict[str, str]:
    """End the operation. Returns the state of each delivery, by target."""
    seen(store, IDENTITY, end, settings.rules)
    return {d["target"]: d["state"] for d in caller.show(IDENTITY)["deliveries"]}
