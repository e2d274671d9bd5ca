"""Every answer of the API, and invalid ones."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from operations.errors import (
    AccessRefusedError,
    OperationMissingError,
    OpwatchError,
    RateLimitedError,
    TransientError,
)
from operations.kind import Kind
from operations.model import Operation, State, Verdict
from operations.storage.records import decode, encode
from operations.telling import view
from operations.telling.announcement import body_of
from operations.text import CUT_MARK, json_bytes
from scalingo.address import API_KINDS
from scalingo.answers import Answer, Hide, parse_answer
from scalingo.bearer import Bearer, parse_bearer
from tests.unit.strategies import NOW, OPERATION_ID, a_tracking

RUNNING = (
    b'{"operation":{"id":"5ed11f2c884fef000f5e502e","app_id":"5ed0fe5d884fef000f5e4fd1",'
    b'"created_at":"2020-05-29T14:41:48.360Z","status":"running","type":"restart","message":null}}'
)
PENDING = b"""{
  "operation": {
    "id": "54100930736f7563d5030000",
    "created_at": "2014-09-10T10:17:52.690+02:00",
    "finished_at": "2014-09-10T10:17:59.120+02:00",
    "status": "pending",
    "type": "restart"
  }
}"""
FAILED = PENDING.replace(b'"pending"', b'"error"').replace(
    b'"type": "restart"', b'"type": "restart",\n    "error": "container web-1 failed to restart"'
)
ID = OPERATION_ID.encode()
CREATED, FINISHED = datetime(2014, 9, 10, 8, 17, 52, 690_000, UTC), datetime(2014, 9, 10, 8, 17, 59, 120_000, UTC)


def read(
    status: int,
    body: bytes,
    thing_id: str = OPERATION_ID,
    retry_after_s: float | None = None,
    hide: Hide = str,
    kind: Kind = Kind.OPERATION,
) -> Operation:
    """Read an answer about the app `shop`."""
    return parse_answer(API_KINDS[kind], Answer(status, body, retry_after_s, hide), thing_id=thing_id, app="shop")


def ok(**fields: Any) -> bytes:
    """Write an operation as the API does, with these fields changed or added."""
    return json.dumps({"operation": {"id": OPERATION_ID, "status": "running", **fields}}).encode()


@pytest.mark.parametrize(
    ("body", "operation_id", "expected"),
    [
        (
            RUNNING,
            OPERATION_ID,
            Operation(status="running", type="restart", created_at=datetime(2020, 5, 29, 14, 41, 48, 360_000, UTC)),
        ),
        (
            PENDING,
            "54100930736f7563d5030000",
            Operation(status="pending", waiting=True, type="restart", created_at=CREATED, finished_at=FINISHED),
        ),
        (
            FAILED,
            "54100930736f7563d5030000",
            Operation(
                status="error",
                outcome=Verdict.FAILED,
                type="restart",
                created_at=CREATED,
                finished_at=FINISHED,
                error="container web-1 failed to restart",
            ),
        ),
    ],
)
def test_recorded_operations_are_read_as_they_stand(body: bytes, operation_id: str, expected: Operation) -> None:
    assert read(200, body, operation_id) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"status": "finished"}, {"status": "finished"}),
        ({"status": "DONE"}, {"status": "DONE"}),
        ({"type": "start-one-off", "start_one_off_data": {"id": 1}}, {"type": "start-one-off"}),
        ({"type": None, "created_at": None, "finished_at": None, "error": None}, {}),
        ({"type": 7, "created_at": 7, "finished_at": [], "error": {"a": 1}}, {}),
        ({"error": ""}, {}),
        ({"created_at": "2014-09-10T08:17:52.690"}, {}),
        ({"created_at": "2014-09-10"}, {}),
        ({"created_at": "0001-01-01T00:00:00Z"}, {}),
        ({"created_at": "9999-12-31T23:59:59-02:00"}, {}),
        ({"created_at": "soon", "finished_at": ""}, {}),
        ({"created_at": "2014-09-10T08:17:52.690+00:00"}, {"created_at": CREATED}),
        ({"created_at": "2014-09-10T10:17:52.690+02:00"}, {"created_at": CREATED}),
        ({"status": "do\x1b[31mne"}, {"status": "(done)"}),
        ({"status": " done"}, {"status": "(done)"}),
        ({"status": "done", "error": "of no account"}, {"status": "done", "outcome": Verdict.SUCCEEDED}),
        (
            {"status": "error", "error": "lone \ud800 surrogate", "type": "\udfff"},
            {"status": "error", "outcome": Verdict.FAILED, "error": "lone ? surrogate", "type": "?"},
        ),
    ],
)
def test_what_cannot_be_understood_is_left_out_and_the_rest_kept(
    fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert read(200, ok(**fields)) == Operation(**{"status": "running", **expected})


@pytest.mark.parametrize("fields", [{}, {"id": None}, {"id": ""}, {"id": OPERATION_ID.upper()}])
def test_an_absent_id_is_the_one_we_asked_for_and_capitals_do_not_matter(fields: dict[str, Any]) -> None:
    body = json.dumps({"operation": {"status": "done", **fields}}).encode()
    assert read(200, body) == Operation(status="done", outcome=Verdict.SUCCEEDED)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (b"D\xe9marrage impossible", "D\ufffdmarrage impossible"),
        (b"cut in a character \xf0\x9f", "cut in a character \ufffd"),
        (b"a line\nend, a\ttab and \x1b[31mred", "a line\nend, a\ttab and red"),
        (b"torn \\u001b]0;title\\nFATAL: the cause", "torn 0;title\nFATAL: the cause"),
        (b"torn \\u001b]8;;" + b"x" * 20_000 + b"\\nFATAL: the cause", CUT_MARK),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_status_counts_whatever_stands_in_the_text(mark: bytes, error: bytes, shown: str) -> None:
    found = read(200, mark + b'{"operation":{"id":"%s","error":"%s","status":"error"}}' % (ID, error))
    assert found.status == "error"
    assert found.error is not None
    assert found.error == shown or (shown == CUT_MARK and found.error.endswith("\nFATAL: the cause"))


NESTED = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"", b"Retry later", b"<html><body>502</body></html>", b"null", b"[]", b"7", b'"text"', b"{}", b"\xff\xfe",
        b"{",
        b'{"operation":null}', b'{"operation":[]}', b'{"operation":"done"}', b'{"operation":{}}', RUNNING + b"x",
        ok(id="54100930736f7563d5030000"), ok(id=7), ok(id=[]), ok(status=None), ok(status=""), ok(status=1),
        ok(status=["done"]),
        ok(status=" \n"), ok(status="\x1b[0m"), NESTED, b'{"operation":' + NESTED + b"}", b"1" * 10_000,
    ],
)  # fmt: skip
def test_a_200_that_is_no_operation_is_a_transient_failure(body: bytes) -> None:
    with pytest.raises(TransientError, match="200") as caught:
        read(200, body)
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (
            404,
            b'{"resource":"operation","error":"not found"}',
            OperationMissingError,
            "no such operation in the app shop",
        ),
        (404, b'{"resource":"app","error":"not found"}', OperationMissingError, "no such app: shop (404: not found)"),
        (404, b'{"message":"no route","url":"/v1/x"}', TransientError, "404"),
        (404, b'{"error":"not found","url":"/v1/x"}', TransientError, "404"),
        (404, b"<html>not found</html>", TransientError, "404"),
        (404, b"", TransientError, "404"),
        (404, b"[]", TransientError, "404"),
        (
            400,
            b'{"error":"no change in containers formation"}',
            TransientError,
            "400: no change in containers formation",
        ),
        (400, b'{"error":"unauthorized"}', TransientError, "400: unauthorized"),
        (401, b'{"error":"Invalid credentials"}', TransientError, "401"),
        (402, b'{"error":"payment","url":"https://pay.example"}', TransientError, "402"),
        (403, b'{"error":"forbidden","code":"no-access"}', AccessRefusedError, "invite"),
        (403, b"<html>blocked</html>", TransientError, "403"),
        (409, b'{"error":"conflict"}', TransientError, "409"),
        (422, b'{"errors":{"app":["is wrong"]}}', TransientError, "422"),
        (429, b"Retry later", RateLimitedError, "429"),
        (429, b'{"error":"slow"}', RateLimitedError, "429"),
        (500, b'{"error":"Internal error occured, we\'re on it!"}', TransientError, "500: Internal error"),
        (502, b"<html>bad gateway</html>", TransientError, "502"),
        (503, b"", TransientError, "503"),
        (302, b"", TransientError, "302"),
        (204, b"", TransientError, "204"),
        (202, RUNNING, TransientError, "202"),
        (500, RUNNING, TransientError, "500"),
        (500, NESTED, TransientError, "500"),
    ],
)
def test_every_other_answer_is_the_error_it_means(
    status: int, body: bytes, kind: type[OpwatchError], said: str
) -> None:
    with pytest.raises(OpwatchError) as caught:
        read(status, body)
    assert type(caught.value) is kind
    assert said in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("retry_after_s", [None, 7.0])
def test_a_pause_the_api_asks_for_is_kept(status: int, retry_after_s: float | None) -> None:
    with pytest.raises(TransientError) as caught:
        read(status, b"Retry later", retry_after_s=retry_after_s)
    assert caught.value.retry_after_s == retry_after_s


def test_a_long_error_is_cut_in_the_middle_and_says_so() -> None:
    cut = read(200, ok(status="error", error="head" + "🎉\n" * 100_000 + "tail"))
    assert cut.error is not None
    assert cut.error_truncated
    assert json_bytes(cut.error) <= 8_000
    assert (cut.error[:4], cut.error[-4:]) == ("head", "tail")


_words = st.sampled_from(
    ["operation", "id", "status", "type", "error", "errors", "created_at", "finished_at", "resource", "url"]
)
_dates = st.builds(
    "{}{}{}".format,
    st.sampled_from(["2014-09-10T10:17:52", "2014-W37-3T10", "19710101T000000", "9998-12-31 23:59:59.9999999"]),
    st.sampled_from(["", ".690", ",5", "\ud800"]),
    st.sampled_from(["", "Z", "+02:00", "+02:00:30", "-23:59:59.999999", "+24:00", "+00:00:00.000001"]),
)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text()
    | _dates
    | st.just(OPERATION_ID)
    | st.just("error"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words | st.text(), inner, max_size=5),
    max_leaves=12,
)
_operations = st.fixed_dictionaries(
    {"status": _values}, optional=dict.fromkeys(("id", "type", "error", "created_at", "finished_at"), _values)
).map(lambda found: {"operation": found})
_bodies = st.binary() | (_values | _operations).map(lambda document: json.dumps(document).encode())
_timed = st.fixed_dictionaries(
    {
        "status": st.just("done"),
        "created_at": _dates | st.datetimes(timezones=st.timezones()).map(str),
        "finished_at": _dates,
    }
).map(lambda found: json.dumps({"operation": found}).encode())


@given(
    st.sampled_from([200, 200, 200, 204, 302, 400, 401, 403, 404, 422, 429, 500, 503]) | st.integers(100, 599),
    _bodies | _timed,
)
@example(200, ok(created_at="2014-09-10T10:17:52+02:00:30"))
@example(200, ok(created_at="2014-09-10T10:17:52-23:59:59.999999"))
def test_any_answer_is_an_operation_that_can_be_kept_or_an_error_of_ours(status: int, body: bytes) -> None:
    try:
        found = read(status, body)
    except OpwatchError as error:
        assert 0 < len(str(error).encode()) <= 2_400  # noqa: PT017 - either way is good
        return
    assert status == 200
    tracking = a_tracking(operation=found, state=State.FAILED, ended_at=NOW)
    assert decode(encode(tracking)) == tracking
    assert len(body_of(tracking)) < 20_000
    assert (view.timestamp(found.created_at) or "Z").endswith("Z")


BEARER = f"eyJhbGciOiJIUzI1NiJ9.{base64.urlsafe_b64encode(bytes(range(200))).decode()}.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "written",
    [
        BEARER,
        "".join(f"\\u{ord(char):04x}" for char in BEARER),
        "".join(f"\\\\u{ord(char):04X}" for char in BEARER),
        "".join(f"%{ord(char):02x}" for char in BEARER),
        "".join(f"%25{ord(char):02X}" for char in BEARER),
        "".join(f"&#{ord(char)};" for char in BEARER),
        "".join(f"&#x{ord(char):x};" for char in BEARER),
        "".join(f"{char}\\u200b" for char in BEARER),
        f"{BEARER}{BEARER}",
        BEARER[:-50],
        BEARER[50:],
    ],
)
def test_no_escape_and_no_cut_lets_the_bearer_through(written: str) -> None:
    bearer = Bearer(SecretStr(BEARER), 0)
    texts = []
    for before in ("hdr ", "x" * 150, "x" * 3_900):
        said = (before + written + " end").encode()
        for field in ("error", "type", "status"):
            body = b'{"operation":{"status":"error","%s":"%s"}}' % (field.encode(), said)
            texts.append(str(read(200, body, hide=bearer.hide)))
        for status, body in (
            (400, b'{"error":"%s"}' % said),
            (404, b'{"resource":"%s","error":"x"}' % said),
            (502, said),
        ):
            with pytest.raises(OpwatchError) as caught:
                read(status, body, hide=bearer.hide)
            texts.append(str(caught.value))
    for text in texts:
        assert not [start for start in range(len(BEARER) - 16) if BEARER[start : start + 16] in text], text


def jwt(claims: bytes) -> str:
    """Write a bearer as Scalingo does."""
    return f"header.{base64.urlsafe_b64encode(claims).decode()}.signature"


@pytest.mark.parametrize(
    ("status", "body", "token"),
    [
        (200, json.dumps({"token": jwt(b"{}")}).encode(), jwt(b"{}")),
        (200, b'{"token":""}', None),
        (200, b'{"token":"a b"}', None),
        (200, b'{"token":"a\\nb"}', None),
        (200, b'{"token":"\\ud800"}', None),
        (200, b'{"token":7}', None),
        (200, b'{"token":null}', None),
        (200, b"{}", None),
        (200, b"[]", None),
        (200, b"<html>", None),
        (200, NESTED, None),
        (201, b'{"token":"a"}', None),
        (401, b'{"error":"Invalid credentials"}', None),
        (401, b'{"token":"a"}', None),
    ],
)
def test_a_bearer_is_taken_only_from_a_200_that_holds_a_usable_one(status: int, body: bytes, token: str | None) -> None:
    assert parse_bearer(status, body) == token


@given(st.integers(100, 599), _bodies)
def test_no_answer_whatever_makes_the_reader_of_bearers_fail(status: int, body: bytes) -> None:
    token = parse_bearer(status, body)
    assert token is None or (token.isascii() and token.isprintable())


UUID = "cabf82f2-1cb1-46d4-b09e-bfb6fe09bc18"


@pytest.mark.parametrize(
    ("kind", "succeeded", "failed", "waiting", "running"),
    [
        (Kind.OPERATION, "done", "error", "pending", "running finished success queued"),
        (
            Kind.DEPLOYMENT,
            "success",
            "build-error crashed-error timeout-error hook-error aborted odd-error",
            "queued",
            "building pushing starting done error Success",
        ),
        (Kind.DATABASE, "finished done", "error user-error cancelled", "pending", "running cancelling success"),
        (Kind.BACKUP, "done", "error cancelled", "scheduled pending", "running cancelling finished"),
    ],
)
def test_each_kind_has_its_words_and_any_other_is_unfinished(
    kind: Kind, succeeded: str, failed: str, waiting: str, running: str
) -> None:
    thing_id = UUID if kind is Kind.DEPLOYMENT else OPERATION_ID
    name = {Kind.DEPLOYMENT: "deployment", Kind.BACKUP: "database_backup"}.get(kind, "operation")
    for words, outcome in ((succeeded, Verdict.SUCCEEDED), (failed, Verdict.FAILED), (waiting, None), (running, None)):
        for word in words.split():
            body = json.dumps({name: {"id": thing_id, "status": word, "error": None}}).encode()
            seen = read(200, body, thing_id, kind=kind)
            assert (seen.status, seen.outcome, seen.waiting) == (word, outcome, words == waiting)
            assert seen.type == {Kind.DEPLOYMENT: "deployment", Kind.BACKUP: "backup"}.get(kind)
            says_status = outcome is Verdict.FAILED and kind in (Kind.DATABASE, Kind.BACKUP)
            assert seen.error == (word if says_status else None)


@pytest.mark.parametrize("fields", [{"id": "another"}, {"id": OPERATION_ID}, {"status": None}])
def test_another_deployments_answer_is_none_about_this_one(fields: dict[str, Any]) -> None:
    body = json.dumps({"deployment": {"id": UUID, "status": "success", **fields}}).encode()
    with pytest.raises(TransientError, match="a body that is not a deployment"):
        read(200, body, UUID, kind=Kind.DEPLOYMENT)
