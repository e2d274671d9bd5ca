"""`Accept: text/plain`: one line instead of JSON, for trackings, groups and problems."""

import pytest

from config.settings import Settings
from operations.model import Operation, Verdict
from operations.storage.store import Store
from tests.integration.bench import BROKEN, DONE, OPERATION_ID, Caller, problem, seen

IDENTITY = f"osc-fr1-{OPERATION_ID}"
PATH = f"/v1/operations/{IDENTITY}"
TEXT = {"Accept": "text/plain"}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/json, text/plain", "application/json"),
        ("text/plain;q=0.5, application/json", "application/json"),
        ("text/html,*/*;q=0.8", "application/json"),
        ("text/html", "application/json"),
        ("text/plain;q=0", "application/json"),
        ("nonsense;;q=text/,", "application/json"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("TEXT/Plain", "text/plain; charset=utf-8"),
        ("text/*", "text/plain; charset=utf-8"),
        ("text/plain, */*;q=0.1", "text/plain; charset=utf-8"),
    ],
)
def test_json_is_the_answer_unless_text_is_asked_for(caller: Caller, accept: str, content_type: str) -> None:
    caller.track()
    answer = caller.get(PATH, headers={"Accept": accept})
    assert (answer.status_code, answer.content_type) == (200, content_type)


def test_a_script_reads_one_line_from_acceptance_to_the_end(caller: Caller, store: Store, settings: Settings) -> None:
    form = {"app": "shop", "operation_id": OPERATION_ID}
    accepted = caller.request("POST", "/v1/operations", data=form, headers=TEXT)
    assert (accepted.status_code, accepted.headers["Location"]) == (202, PATH)
    assert accepted.text == f"tracking {IDENTITY} shop: operation not seen yet\n"
    again = caller.request("POST", "/v1/operations", json=form, headers=TEXT)
    assert (again.status_code, again.text) == (200, accepted.text)
    waited = caller.get(PATH, headers={**TEXT, "Prefer": "wait=1"})
    assert (waited.text, waited.headers["Preference-Applied"]) == (accepted.text, "wait=1")
    seen(store, IDENTITY, BROKEN, settings.rules)
    assert caller.get(PATH, headers={**TEXT, "Prefer": "wait=25"}).text.startswith(f"failed {IDENTITY} shop: restart ")
    retried = caller.request("POST", f"{PATH}/deliveries/slack/retry", headers=TEXT)
    assert (retried.status_code, retried.text.split()[0]) == (202, "failed")


def test_a_group_is_one_line_and_its_name_one_word(caller: Caller, store: Store, settings: Settings) -> None:
    name, path = "build 7/\nerror 500", "/v1/groups/build%207%2F%0Aerror%20500"
    caller.track(group=name, group_size=2)
    waiting = "tracking build%207%2F%0Aerror%20500 0 of 2 ended after "
    assert caller.get(path, headers=TEXT).text.startswith(waiting)
    caller.track(operation_id="0" * 24, group=name)
    seen(store, f"osc-fr1-{'0' * 24}", DONE, settings.rules)
    seen(store, IDENTITY, BROKEN, settings.rules)
    answer = caller.get(path, headers={**TEXT, "Prefer": "wait=25"})
    state, word, *_ = answer.text.split()
    assert (state, f"/v1/groups/{word}", answer.text.count("\n")) == ("failed", path, 1)
    assert "(1 failed, 1 succeeded); shop: restart failed after " in answer.text


def test_a_problem_is_one_line_for_who_asks_for_text(caller: Caller) -> None:
    lines = [
        caller.get(PATH, headers=TEXT).text,
        caller.get("/nowhere", headers=TEXT).text,
        caller.get(PATH, token="wrong", headers=TEXT).text,  # noqa: S106 - it opens nothing
        caller.request("POST", "/v1/operations", json={"timeout": 5}, headers=TEXT).text,
    ]
    assert [line.split()[:2] for line in lines] == [["error", status] for status in ("404", "404", "401", "422")]
    assert all(line.count("\n") == 1 for line in lines)
    assert "timeout: Input should be greater than or equal to 60" in lines[3]
    problem(caller.get(PATH), 404)


def test_the_whole_error_text_has_an_address_of_its_own(caller: Caller, store: Store, settings: Settings) -> None:
    assert caller.get(f"{PATH}/error").status_code == 404
    caller.track()
    assert caller.get(f"{PATH}/error").text == ""
    seen(
        store,
        IDENTITY,
        Operation(status="error", outcome=Verdict.FAILED, error="first\r\n\x1b[31msecond ☠\x1b[0m\n"),
        settings.rules,
    )
    answer = caller.get(f"{PATH}/error")
    assert (answer.text, answer.content_type) == ("first\nsecond ☠\n", "text/plain; charset=utf-8")


def test_there_is_no_error_text_where_all_went_well(caller: Caller, store: Store, settings: Settings) -> None:
    caller.track()
    seen(store, IDENTITY, DONE, settings.rules)
    assert caller.get(f"{PATH}/error").text == ""
    caller.track(app="blog", operation_id="0" * 24)
    assert caller.request("DELETE", f"/v1/operations/osc-fr1-{'0' * 24}", headers=TEXT).text.startswith("cancelled ")
    assert caller.get(f"/v1/operations/osc-fr1-{'0' * 24}/error").text == ""
