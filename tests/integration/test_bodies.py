"""Bodies that are too large or confusing: a clear problem, and nothing is tracked."""

import gzip
import json
from typing import Any

import pytest
from flask import Flask

from api.schemas import TrackRequest
from operations.storage.store import Store
from tests.integration.bench import OPERATION_ID, Caller, problem
from tests.support.running import CALLER_TOKEN

FORM = "application/x-www-form-urlencoded"
FIELDS = {"app": "shop", "operation_id": OPERATION_ID}
WHOLE = b"app=shop&operation_id=aaaaaaaaaaaaaaaaaaaaaaaa"


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (WHOLE + b"&context=x&context.actor=jane", FORM, 422),
        (WHOLE + b"&context.actor=jane&context=x", FORM, 422),
        (WHOLE + b"&app=blog", FORM, 422),
        (WHOLE + b"&group=%ff", FORM, 422),
        (WHOLE + b"&x" * 500, FORM, 422),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--", "multipart/form-data; boundary=x", 415),
        (WHOLE + b"&" * 80_000, FORM, 413),
        (b'{"app": "shop"}' + b" " * 80_000, "application/json", 413),
    ],
)
def test_odd_bodies_are_refused_and_nothing_is_tracked(
    app: Flask, store: Store, body: bytes, content_type: str, status: int
) -> None:
    answer = app.test_client().post(
        "/v1/operations",
        data=body,
        content_type=content_type,
        headers={"Authorization": f"Bearer {CALLER_TOKEN}"},
    )
    problem(answer, status)
    assert store.records.due_trackings() == []


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (WHOLE + b"&group=%ff", "group", "is not UTF-8"),
        (WHOLE + b"&context.actor=J\xe9r\xf4me", "context.actor", "is not UTF-8"),
        (WHOLE + b"&gr%ffoup=x", "gr\ufffdoup", "is not UTF-8"),
        (WHOLE + b"&group=x&group=y", "group", "is given more than once"),
        (WHOLE + b"&x" * 300, "", "the form has more than 200 fields"),
        (b"&".join(b"x%d=1" % number for number in range(201)), "", "the form has more than 200 fields"),
        (b'{"operation_url": "https://a.example/?a=b&c=d"}', "", "Content-Type: application/json"),
        (b'\xef\xbb\xbf \n{"app": "' + b"x" * 60_000 + b'"}', "", "Content-Type: application/json"),
        (b"%7B%22app%22%3A%22shop%22%7D=", "", "Content-Type: application/json"),
        (b'[{"app":"shop"}]', "", "Content-Type: application/json"),
    ],
)
def test_a_form_that_cannot_be_read_says_which_field_is_why(caller: Caller, body: bytes, field: str, said: str) -> None:
    answer = caller.request("POST", "/v1/operations", data=body, headers={"Content-Type": FORM})
    (error,) = problem(answer, 422)["errors"]
    assert error["field"] == field
    assert said in error["message"]
    assert len(answer.data) < 1_000


@pytest.mark.parametrize("content_type", [FORM, "application/json"])
@pytest.mark.parametrize("names", [["x" * 60_000], [f"name-{number}" for number in range(150)]])
def test_names_that_a_caller_made_up_are_not_repeated_at_length(
    caller: Caller, content_type: str, names: list[str]
) -> None:
    body = "&".join(f"{name}=1" for name in names) if content_type == FORM else json.dumps(dict.fromkeys(names, 1))
    answer = caller.request("POST", "/v1/operations", data=body.encode(), headers={"Content-Type": content_type})
    assert "context" not in problem(answer, 422)["detail"]
    assert len(answer.data) < 6_000


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "GZIP", "x-unknown"])
@pytest.mark.parametrize("content_type", [FORM, "application/json"])
def test_an_encoded_body_is_415_and_says_which_coding_is_taken(caller: Caller, content_type: str, coding: str) -> None:
    headers = {"Content-Type": content_type, "Content-Encoding": coding}
    answer = caller.request("POST", "/v1/operations", data=gzip.compress(WHOLE), headers=headers)
    assert "Content-Encoding" in problem(answer, 415)["detail"]
    assert answer.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
@pytest.mark.parametrize(("body", "content_type"), [(WHOLE, FORM), (json.dumps(FIELDS).encode(), "application/json")])
def test_a_byte_order_mark_and_the_coding_identity_change_nothing(
    caller: Caller, mark: bytes, coding: str, body: bytes, content_type: str
) -> None:
    headers = {"Content-Type": content_type, "Content-Encoding": coding}
    assert caller.request("POST", "/v1/operations", data=mark + body, headers=headers).status_code == 202


@pytest.mark.parametrize("field", sorted(set(TrackRequest.model_fields) - set(FIELDS)))
def test_null_means_that_an_optional_field_is_not_given(caller: Caller, field: str) -> None:
    first = caller.track(**{**FIELDS, field: None}) if field != "operation_url" else send_null_url(caller)
    assert first.status_code == 202, first.text
    assert caller.track().get_json() == first.get_json()


def send_null_url(caller: Caller) -> Any:
    """Track with app and id, and null in place of the URL."""
    return caller.request("POST", "/v1/operations", json={**FIELDS, "operation_url": None})
