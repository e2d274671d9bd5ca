"""Groups: what is stored, and GET /v1/groups/<group>."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
import redis
from flask import Flask

from config.settings import Settings
from operations.model import State
from operations.storage import index
from operations.storage.store import Store
from operations.telling.groups import LARGEST, SETTLE
from operations.watching import looks
from tests.integration.bench import (
    BROKEN,
    DONE,
    Caller,
    connected,
    faulty_fields,
    found,
    maintain,
    operation_id,
    problem,
    seen,
    tracked,
)

BUILD = "build 7"


def shown(caller: Caller, name: str = BUILD) -> dict[str, Any]:
    """Return a group as it stands."""
    answer = caller.get(f"/v1/groups/{quote(name, safe='')}")
    assert answer.status_code == 200, answer.text
    group: dict[str, Any] = answer.get_json()
    return group


def members(caller: Caller, name: str = BUILD) -> list[str]:
    """Return the operation ids of a group's members."""
    return [each["operation_id"] for each in shown(caller, name)["members"]]


def joined(caller: Caller, count: int, **fields: Any) -> list[str]:
    """Track operations as members of one group. Returns the trackings' ids."""
    answers = [
        caller.track(operation_id=operation_id(number), **{"group": BUILD, "group_size": count, **fields})
        for number in range(count)
    ]
    return [answer.json["id"] for answer in answers]


class TestShowing:
    """GET /v1/groups/<group>."""

    def test_it_is_final_when_the_last_of_so_many_has_ended(
        self, caller: Caller, store: Store, settings: Settings
    ) -> None:
        first, second = joined(caller, 2)
        seen(store, first, DONE, settings.rules)
        group = shown(caller)
        assert (group["state"], group["final"], group["size"], group["settles_at"]) == ("tracking", False, 2, None)
        assert group["counts"] == {**dict.fromkeys(map(str, State), 0), "succeeded": 1, "tracking": 1}
        assert [group["ended_at"], group["duration_s"], group["reopened_at"]] == [None, None, None]
        seen(store, second, BROKEN, settings.rules)
        group = shown(caller)
        assert (group["state"], group["final"]) == ("failed", True)
        assert group["members"] == [caller.show(first), caller.show(second)]
        assert group["created_at"] == group["members"][0]["created_at"]
        assert group["ended_at"] == group["members"][1]["ended_at"]

    def test_without_a_size_it_says_when_it_will_be_final(
        self, caller: Caller, store: Store, settings: Settings
    ) -> None:
        (identity,) = joined(caller, 1, group_size=None)
        ended = seen(store, identity, DONE, settings.rules)
        assert ended.ended_at is not None
        group = shown(caller)
        assert (group["state"], group["final"]) == ("tracking", False)
        assert group["settles_at"] == (ended.ended_at + SETTLE).isoformat(timespec="milliseconds")[:-6] + "Z"
        store.update(found(store, identity), lambda known: replace(known, ended_at=store.records.now() - SETTLE))
        assert shown(caller)["state"] == "succeeded"

    def test_one_that_joins_a_final_group_reopens_it(self, caller: Caller, store: Store, settings: Settings) -> None:
        (identity,) = joined(caller, 1)
        seen(store, identity, DONE, settings.rules)
        assert shown(caller)["final"]
        late = caller.track(operation_id=operation_id(9), group=BUILD).json
        group = shown(caller)
        assert (group["final"], group["reopened_at"]) == (False, late["created_at"])
        assert members(caller) == [operation_id(0), operation_id(9)]

    @pytest.mark.parametrize(
        "name", ["a/b", "/a//b/", "a b+c", "100 %", "?x=1#y", "Ärger ✅", "\x00\n\x7f", "..a", "a" * 200, "✅" * 200]
    )
    def test_a_name_is_any_text_percent_encoded(self, caller: Caller, name: str) -> None:
        joined(caller, 1, group=name)
        assert shown(caller, name)["group"] == name
        listed = caller.get("/v1/operations", query_string={"group": name}).json["operations"]
        assert [each["group"] for each in listed] == [name]

    def test_names_that_look_alike_are_two_groups(self, caller: Caller) -> None:
        alike = ["main", "Main", "main/", "ma%69n", "main ", "ma\u0301in", "m\u00e1in"]
        for number, name in enumerate(alike):
            caller.track(operation_id=operation_id(number), group=name)
        assert [members(caller, name) for name in alike] == [[operation_id(number)] for number in range(len(alike))]

    @pytest.mark.parametrize("name", ["nobody", "a" * 201, "a" * 3000, "%FF", "*", "build", "build 77", "Build 7"])
    def test_one_that_nobody_is_in_is_404(self, caller: Caller, name: str) -> None:
        joined(caller, 1)
        problem(caller.get(f"/v1/groups/{name}"), 404)

    def test_no_name_is_404_and_a_group_takes_nothing(self, caller: Caller) -> None:
        problem(caller.get("/v1/groups/"), 404)
        problem(caller.request("DELETE", "/v1/groups/x"), 405)
        problem(caller.get("/v1/groups/x", token=None), 401)
        assert faulty_fields(caller.get("/v1/operations", query_string={"group": "a" * 201})) == {"group"}


class TestWaiting:
    """With `Prefer: wait=N`."""

    def test_waiting_ends_when_the_group_is_final(
        self, app: Flask, caller: Caller, store: Store, settings: Settings
    ) -> None:
        first, second = joined(caller, 2)
        seen(store, first, DONE, settings.rules)
        with ThreadPoolExecutor(1) as pool:
            other = Caller(app.test_client())
            waiting = pool.submit(other.get, f"/v1/groups/{BUILD}", headers={"Prefer": "wait=25"})
            seen(store, second, DONE, settings.rules)
            answer = waiting.result(30)
        assert answer.json["state"] == "succeeded"

    def test_one_that_is_final_is_shown_at_once(self, caller: Caller, store: Store, settings: Settings) -> None:
        (identity,) = joined(caller, 1)
        seen(store, identity, DONE, settings.rules)
        answer = caller.get(f"/v1/groups/{BUILD}", headers={"Prefer": "wait=25"})
        assert answer.json["state"] == "succeeded"
        assert "Preference-Applied" not in answer.headers  # there was no wait

    def test_one_that_is_not_is_shown_when_the_time_is_over(self, caller: Caller) -> None:
        joined(caller, 1)
        answer = caller.get(f"/v1/groups/{BUILD}", headers={"Prefer": "wait=1"})
        assert (answer.json["final"], answer.headers["Preference-Applied"]) == (False, "wait=1")


class TestMembership:
    """The members of a group follow from the records."""

    def test_what_is_sent_again_stays_in_its_first_group(self, caller: Caller) -> None:
        joined(caller, 1)
        caller.track(operation_id=operation_id(0), group="another")
        assert members(caller) == [operation_id(0)]
        problem(caller.get("/v1/groups/another"), 404)

    def test_what_begins_anew_joins_anew_and_maybe_elsewhere(self, caller: Caller, store: Store) -> None:
        (identity,) = joined(caller, 1)
        assert caller.request("DELETE", f"/v1/operations/{identity}").status_code == 200
        assert shown(caller)["state"] == "cancelled"
        caller.track(operation_id=operation_id(0), group=BUILD)
        assert shown(caller)["state"] == "tracking"
        assert caller.request("DELETE", f"/v1/operations/{identity}").status_code == 200
        caller.track(operation_id=operation_id(0), group="another")
        assert members(caller, "another") == [operation_id(0)]
        problem(caller.get(f"/v1/groups/{BUILD}"), 404)
        assert store.records.group(BUILD) == []

    def test_what_is_deleted_leaves_its_group_and_the_name_is_free_again(
        self, caller: Caller, connection: redis.Redis, settings: Settings
    ) -> None:
        store = Store(connection, retention=timedelta())
        first, second = joined(caller, 2, notify=[])
        seen(store, first, BROKEN, settings.rules)
        maintain(connection, store)
        assert members(caller) == [operation_id(1)]
        store.update(found(store, second), lambda known: looks.cancelled(known, store.records.now()))
        maintain(connection, store)
        problem(caller.get(f"/v1/groups/{BUILD}"), 404)
        assert connection.exists(index.group_key(BUILD)) == 0
        assert caller.track(operation_id=operation_id(2), group=BUILD).status_code == 202
        assert members(caller) == [operation_id(2)]

    def test_a_record_that_an_older_version_stored_lives_and_is_deleted_as_ever(
        self, caller: Caller, connection: redis.Redis, settings: Settings
    ) -> None:
        (identity,) = joined(caller, 1, notify=[])
        connection.delete(index.group_key(BUILD))  # as if it had never been written
        store = Store(connection, retention=timedelta())
        assert seen(store, identity, DONE, settings.rules).state is State.SUCCEEDED
        problem(caller.get(f"/v1/groups/{BUILD}"), 404)
        maintain(connection, store)
        assert store.records.get(identity) is None

    def test_what_an_older_version_left_behind_counts_for_nothing(
        self, caller: Caller, store: Store, connection: redis.Redis
    ) -> None:
        joined(caller, 3)
        gone, elsewhere, _ = (f"osc-fr1-{operation_id(number)}" for number in range(3))
        connection.delete(f"opwatch:tracking:{gone}")
        moved = found(store, elsewhere).record.replace(b'"build 7"', b'"another"')
        connection.set(f"opwatch:tracking:{elsewhere}", moved)
        connection.zadd(index.group_key(BUILD), {b"\xff": 1})
        assert members(caller) == [operation_id(2)]

    def test_of_more_members_than_count_the_newest_do(self, store: Store, connection: redis.Redis) -> None:
        newest, oldest = (tracked(store, operation_id(number), group=BUILD) for number in range(2))
        others = {f"osc-fr1-{operation_id(number)}": number for number in range(2, LARGEST + 1)}
        connection.zadd(index.group_key(BUILD), {oldest: 1, **others})
        assert [each.id for each in store.records.group(BUILD)] == [newest]

    def test_members_that_join_and_end_together_are_all_there(
        self, app: Flask, caller: Caller, settings: Settings
    ) -> None:
        def one(number: int) -> None:
            Caller(app.test_client()).track(operation_id=operation_id(number), group=BUILD, group_size=12)
            with connected(settings.redis_url.get_secret_value()) as connection:
                own = Store(connection, retention=timedelta(days=7))
                seen(own, f"osc-fr1-{operation_id(number)}", DONE, settings.rules)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, range(12)))
        group = shown(caller)
        assert (group["state"], len(group["members"])) == ("succeeded", 12)
