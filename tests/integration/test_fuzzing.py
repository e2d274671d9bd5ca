"""Random inputs: no request is answered with a 500, and no damaged entry stops a round."""

import json
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest
import redis
from hypothesis import HealthCheck, example, given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from config.settings import Settings
from notifiers.targets import build
from operations.model import State, Tracking
from operations.storage.index import DUE, EXPIRING, OUTBOX, RECENT
from operations.storage.records import encode
from operations.storage.store import Store
from operations.telling import announcement
from standin import faults
from standin.api import ScalingoApi
from tests.integration.bench import BROKEN, OPERATION_ID, Caller, found, maintain, seen
from tests.support.receiver import Receiver, Reply
from tests.support.running import wait_until
from tests.support.stages import attempted
from tests.unit.strategies import a_tracking, trackings
from workers.deliver import delivery_round
from workers.look import look_round
from workers.runtime import Runtime

IDENTITY = f"osc-fr1-{OPERATION_ID}"
KINDS = ("application/json", "application/x-www-form-urlencoded")
FIELDS = (
    "operation_url", "app", "operation_id", "region", "account", "notify", "timeout", "group", "group_size", "context",
    "context.actor",
)  # fmt: skip
fuzzed = bounds(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150
)

jsons: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
good_values = st.sampled_from(["shop", OPERATION_ID, "osc-fr1", "default", ["slack"], 3600, {"actor": "jane"}, 10**400])
bodies = (
    st.binary(max_size=300)
    | jsons.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(FIELDS) | st.text(), good_values | jsons).map(lambda d: json.dumps(d).encode())
    | st.lists(st.tuples(st.sampled_from(FIELDS), st.binary() | st.just(b"shop"))).map(
        lambda pairs: b"&".join(f"{name}={quote_from_bytes(value)}".encode() for name, value in pairs)
    )
)
header_texts = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=60)


def well_answered(answer: TestResponse) -> None:
    """Check that an answer is a good one or a problem, and not a 500."""
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
        assert answer.get_json(force=True)["status"] == answer.status_code
    else:
        assert answer.content_type == "application/json"
        assert isinstance(answer.get_json(), dict)


@fuzzed
@given(bodies, st.sampled_from(KINDS) | header_texts)
@example(b'{"app":"\xff"}', KINDS[0])
@example(b'{"app":"\\ud800"}', KINDS[0])
@example(b'{"timeout":1e400}', KINDS[0])
@example(b'{"timeout":' + b"9" * 5000 + b"}", KINDS[0])
@example(b"[" * 60_000, KINDS[0])
@example(b'{"app":' * 10_000, KINDS[0])
@example(b'\xef\xbb\xbf{"app":"shop"}', KINDS[0])
@example('{"app":"shop"}'.encode("utf-16"), KINDS[0])
@example(b"&" * 60_000, KINDS[1])
@example(b"context.=x", KINDS[1])
@example(b"app=shop", "application/json; charset=\xff")
@example(b"app=shop", "application/x-www-form-urlencoded; charset=utf-7")
def test_no_body_is_a_fault_of_ours(caller: Caller, body: bytes, content_type: str) -> None:
    well_answered(caller.request("POST", "/v1/operations", data=body, headers={"Content-Type": content_type}))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"app":"shop","operation_id":"%s","app":"shop"}', "app"),
        (b'{"app":"blog","operation_id":"%s","app":"shop"}', "app"),
        (b'{"app":"shop","operation_id":"%s","context":{"actor":"jane","actor":"joe"}}', "actor"),
        (b'{"app":"shop","operation_id":"%s","context":{},"context":{}}', "context"),
        (b'{"app":[[[1e999,NaN]]],"operation_id":"%s","app":"shop"}', "app"),
        (b'{"timeout":' + b"9" * 4000 + b',"app":"shop","operation_id":"%s","timeout":60}', "timeout"),
        (b'{"app":"shop","operation_id":"%s","\\u0061pp":"shop"}', "app"),
    ],
)
def test_a_name_given_twice_is_refused_and_nothing_is_tracked(
    caller: Caller, store: Store, body: bytes, field: str
) -> None:
    answer = caller.request("POST", "/v1/operations", data=body % OPERATION_ID.encode(), content_type=KINDS[0])
    assert answer.status_code == 422
    assert answer.get_json(force=True)["errors"] == [{"field": field, "message": "is given more than once"}]
    assert store.records.due_trackings() == []


def test_a_name_given_six_thousand_times_is_refused_at_once(caller: Caller) -> None:
    many = ",".join(f'"{number}":1' for number in range(6_000))
    body = f'{{"context":{{{many}}},"app":"shop","operation_id":"{OPERATION_ID}","context":{{}}}}'
    answer = caller.request("POST", "/v1/operations", data=body.encode(), content_type=KINDS[0])
    assert answer.get_json(force=True)["errors"][0]["field"] == "context"


@fuzzed
@given(
    st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH", "TRACE", "x"]),
    st.lists(st.text(max_size=30) | st.sampled_from(["v1", "operations", IDENTITY, "deliveries", "retry", ".."])),
    st.text(max_size=30) | st.sampled_from(["limit=1", "cursor=1_a", "cursor=999999999999999_zz", "state=x&state=y"]),
    st.fixed_dictionaries({}, optional=dict.fromkeys(("Prefer", "Accept", "Content-Length", "Host"), header_texts)),
)
@example("GET", [""], "", {})
@example("GET", ["", ""], "", {})
@example("GET", ["v1", "operations"], "cursor=000000000000000_-&limit=1", {})
@example("GET", ["v1", "operations"], "limit=%EF%BC%91", {})
@example("GET", ["v1", "operations", "\x00" * 30], "", {})
@example("GET", ["v1", "operations", IDENTITY], "", {"Prefer": "wait=" + "9" * 5000})
@example("GET", ["v1", "operations", IDENTITY], "", {"Prefer": "wait=\xb2"})
def test_no_path_query_or_header_is_a_fault_of_ours(
    caller: Caller, method: str, path: list[str], query: str, headers: dict[str, str]
) -> None:
    caller.track()
    caller.request("DELETE", f"/v1/operations/{IDENTITY}")  # an ended one is answered at once
    raw = {
        "PATH_INFO": "/".join(["", *path]).encode("utf-8", "replace").decode("latin-1"),
        "QUERY_STRING": quote(query, safe="=&%_"),
    }
    answer = caller.request(method, "/", headers=headers, environ_overrides=raw)
    if answer.status_code in (303, 308):  # the pages, which redirect to the sign-in
        assert raw["PATH_INFO"].strip("/").partition("/")[0] in ("", "operations")
    elif method != "HEAD":
        well_answered(answer)
    assert answer.status_code < 500


@fuzzed
@given(header_texts | header_texts.map("Bearer ".__add__))
@example("Bearer \xff")
@example("Bearer")
@example("bearer  ")
@example("Basic Og==")
def test_no_authorization_but_a_good_one_opens_anything(caller: Caller, authorization: str) -> None:
    answer = caller.get("/v1/operations", token=None, headers={"Authorization": authorization})
    assert answer.status_code == 401
    well_answered(answer)


raw_records = (
    st.binary(max_size=60)
    | jsons.map(lambda value: json.dumps(value).encode())
    | trackings().map(encode)
    | st.tuples(st.sampled_from(sorted(json.loads(encode(a_tracking())))), jsons).map(
        lambda change: json.dumps({**json.loads(encode(a_tracking())), change[0]: change[1]}).encode()
    )
)
OLD = b"2020-01-01T00:00:00"


@bounds(fuzzed, max_examples=40)
@given(st.binary(min_size=1, max_size=20), raw_records, st.binary(max_size=60))
@example(b"\xff\xfe", b"", b"")
@example(b"x", encode(a_tracking()).replace(b"2026-03-01T12:00:00Z", OLD), b"")
@example(b"x", encode(a_tracking(timeout_s=10**30)), b"")
@example(b"x", encode(a_tracking()).replace(b"2026-03-01T12:00:00Z", b"0001-01-01T00:00:00+14:00"), b"")
@example(b"x", b"[" * 5000, b"[" * 100_000)
def test_damaged_entries_stop_nobody_elses_work(  # noqa: PLR0913, PLR0917 - it takes all of the stage
    caller: Caller,
    store: Store,
    scalingo: ScalingoApi,
    runtime: Runtime,
    connection: redis.Redis,
    name: bytes,
    record: bytes,
    body: bytes,
) -> None:
    connection.flushall()
    scalingo.configure(limit=None)
    for index in (DUE, OUTBOX, RECENT, EXPIRING):
        connection.zadd(index, {name: 1, name + b"_1_failed_slack": 2})
    connection.set(b"opwatch:tracking:" + name, record)
    own = _named(record)
    if own is not None:  # and again at its own place
        connection.set(f"opwatch:tracking:{own}", record)
        connection.set(f"opwatch:announcement:{own}:1", body)
        connection.zadd(DUE, {own: 1})
        connection.zadd(OUTBOX, {f"{own}_1_failed_slack": 1})
    operation = scalingo.operation(outcome="error")
    caller.track(operation_url=operation.url, notify=["webhook"])
    identity = f"osc-fr1-{operation.id}"
    caller.track(notify=["webhook"])
    seen(store, IDENTITY, BROKEN, runtime.settings.rules)
    connection.set(f"opwatch:announcement:{IDENTITY}:1", body)  # the record is good, its announcement is damaged

    def all_done() -> bool:
        look_round()
        delivery_round()
        maintain(connection, store)
        others = [found(store, each).tracking for each in (identity, IDENTITY)]
        return (
            all(d.state in ("delivered", "dead") for t in others for d in t.deliveries) and others[0].state == "failed"
        )

    wait_until(all_done, what="the other's verdict and message")
    assert [d.state.value for d in found(store, identity).tracking.deliveries] == ["delivered"]
    assert caller.get("/v1/operations").status_code == 200
    assert caller.get(f"/v1/operations/{quote(name)}").status_code in (200, 404, 503)
    assert caller.get("/metrics").status_code == 200


def _named(record: bytes) -> str | None:
    try:
        identity = json.loads(record)["id"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return identity if isinstance(identity, str) and identity.isascii() and identity not in ("", IDENTITY) else None


statuses = st.sampled_from([200, 201, 204, 302, 400, 401, 403, 404, 408, 410, 429, 500, 502, 503, 504, 599])
replies = st.builds(
    Reply,
    status=statuses,
    body=st.binary(max_size=300)
    | jsons.map(lambda value: json.dumps(value).encode())
    | st.sampled_from(
        [b"ok", b" ok\n", b'{"ok":true}', b'{"ok":1}', b'{"ok":false,"error":"x"}', b'{"ok":false}', b"[]"]
    ),
    headers=st.fixed_dictionaries(
        {},
        optional={
            "Content-Type": st.sampled_from(
                [
                    "application/json",
                    "text/html; charset=nonsense",
                    "application/json; charset=utf-16",
                    "x",
                    "gzip/gzip",
                ]
            ),
            "Content-Encoding": st.sampled_from(["gzip", "br", "nonsense"]),
            "Retry-After": st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
            "Location": st.just("//[::"),
        },
    ),
)


@bounds(fuzzed, max_examples=100)
@given(replies, st.sampled_from(["slack", "webhook", "bot"]))
@example(Reply(200, b"[]", {"Content-Type": "application/json"}), "slack")
@example(Reply(200, b"\xff\xfe", {"Content-Type": "text/plain; charset=nonsense"}), "slack")
@example(Reply(302, b"ok", {"Location": "//[::"}), "slack")
@example(Reply(200, b"ok"), "bot")
@example(Reply(200, b"[]", {"Content-Type": "application/json"}), "bot")
@example(Reply(200, b'{"ok": false, "error": ["x"]}', {"Content-Type": "application/json"}), "bot")
@example(Reply(200, b'{"ok": true}', {"Content-Type": "application/json"}), "bot")
@example(Reply(500, b"[" * 100_000, {"Content-Type": "application/json"}), "bot")
@example(Reply(200, b"ok", {"Content-Encoding": "br"}), "webhook")
@example(Reply(200, b"ok", {"Content-Encoding": "gzip"}), "webhook")
def test_whatever_a_receiver_answers_it_took_it_or_there_is_a_reason(
    runtime: Runtime, receiver: Receiver, settings: Settings, reply: Reply, kind: str
) -> None:
    receiver.script(f"/{kind}" + ("/chat.postMessage" if kind == "bot" else ""), reply)
    bot = {"kind": "slack", "bot_token": "xoxb-1", "channel": "C1", "api_url": receiver.url("/bot")}
    targets = {**settings.targets, "bot": build("bot", bot, {}, plain_http=True)}
    tracking = a_tracking(state=State.FAILED, operation=BROKEN, ended_at=a_tracking().created_at)
    announced = announcement.read(f"{tracking.id}_1_failed_{kind}", announcement.body_of(tracking))
    error = attempted(runtime.loop, lambda: targets[kind].notifier.send(announced, runtime.loop.targets))
    assert (error is None) == _took(kind, reply)
    assert error is None or len(str(error)) < 200


def _took(kind: str, reply: Reply) -> bool:
    """Tell whether an answer takes the message: a 2xx, unless a Slack says no in its body, or it is not Slack's."""
    assert isinstance(reply.body, bytes)
    body = b"" if reply.headers.get("Content-Encoding") in ("gzip", "br") else reply.body.strip()  # it cannot be read
    if kind == "webhook" or reply.status // 100 != 2 or reply.status == 204 or b"ok".startswith(body):
        return reply.status // 100 == 2
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body.startswith(b"{") and b'"ok"' not in body  # it may have broken off
    return isinstance(document, dict) and document.get("ok") is True


@bounds(fuzzed, max_examples=60)
@given(
    status=statuses,
    body=st.binary(max_size=200) | jsons.map(lambda value: json.dumps(value).encode()),
    exchange=st.booleans(),
)
@example(status=200, body=b'{"token":"a.' + b"e" * 3000 + b'.b"}', exchange=True)
def test_whatever_the_api_answers_the_watch_goes_on(  # noqa: PLR0913, PLR0917 - it takes all of the stage
    caller: Caller,
    store: Store,
    scalingo: ScalingoApi,
    runtime: Runtime,
    connection: redis.Redis,
    status: int,
    body: bytes,
    exchange: bool,  # noqa: FBT001
) -> None:
    connection.flushall()
    scalingo.configure(limit=None)
    runtime.client.sign_in._failures.clear()  # noqa: SLF001 - a failed sign-in pauses all looks; the next example waits for none
    runtime.client.sign_in._bearers.clear()  # noqa: SLF001
    operation = scalingo.operation(duration_s=None)
    fault = faults._instead(Reply(status, body, {"Content-Type": "application/json"}))  # noqa: SLF001
    scalingo.fault(fault, exchange=exchange, operation_id=None if exchange else operation.id)
    caller.track(operation_url=operation.url)

    def looked_at() -> Tracking | None:
        look_round()
        tracking = found(store, f"osc-fr1-{operation.id}").tracking
        return tracking if tracking.polls else None

    tracking = wait_until(looked_at, what="the look")
    scalingo.clear_faults()
    assert tracking is not None
    assert tracking.state == "tracking"
    assert tracking.last_error or tracking.operation
