"""The protective headers of every answer."""

import re
from collections.abc import Callable
from typing import Never

import pytest
from flask import Flask, Response

from local.valkey import Valkey
from tests.integration.bench import OPERATION_ID, Caller

PROTECTIVE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
IDENTITY = f"osc-fr1-{OPERATION_ID}"


def test_every_answer_forbids_to_keep_run_or_frame_it(
    make_app: Callable[[], Flask], monkeypatch: pytest.MonkeyPatch, own_valkey: Valkey
) -> None:
    def fail() -> Never:
        message = "a fault of ours"
        raise RuntimeError(message)

    monkeypatch.setenv("REDIS_URL", own_valkey.url)
    app = make_app()
    app.add_url_rule("/fails", view_func=fail)
    caller = Caller(app.test_client())
    answers = [
        caller.track(),
        caller.track(),
        caller.get(f"/v1/operations/{IDENTITY}"),
        caller.get("/v1/operations"),
        caller.get("/healthz", token=None),
        caller.get("/readyz", token=None),
        caller.get("/metrics"),
        caller.get("/openapi.json", token=None),
        caller.request("POST", "/v1/operations", data=b"{", content_type="application/json"),
        caller.get("/v1/operations", token="wrong"),  # noqa: S106 - it opens nothing
        caller.get("/nowhere"),
        caller.get("//v1/operations"),
        caller.request("PUT", "/v1/operations"),
        caller.request("TRACE", "/v1/operations"),
        caller.request("OPTIONS", "/v1/operations"),
        caller.request("HEAD", "/v1/operations"),
        caller.track(account="other"),
        caller.request("POST", "/v1/operations", data=b"x" * 70_000, content_type="application/json"),
        caller.request("POST", "/v1/operations", data=b"x", content_type="text/plain"),
        caller.track(timeout=1),
        caller.get("/fails"),
    ]
    own_valkey.kill()
    answers.append(caller.track())
    assert {answer.status_code for answer in answers} == {
        200, 202, 400, 401, 404, 405, 409, 413, 415, 422, 500, 503,
    }  # fmt: skip
    for answer in answers:
        assert {name: answer.headers.get(name) for name in PROTECTIVE} == PROTECTIVE, answer
        assert "Strict-Transport-Security" not in answer.headers
        assert "Set-Cookie" not in answer.headers
        assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["X-Request-ID"]), answer
        if answer.content_type == "application/problem+json" and answer.request.method != "HEAD":
            assert answer.json["request_id"] == answer.headers["X-Request-ID"]
        assert len(answer.headers) == len({name.lower() for name, _ in answer.headers}), answer
        if answer.request.method != "HEAD":
            assert answer.headers["Content-Length"] == str(len(answer.data)), answer


def test_over_tls_browsers_are_told_to_stay_with_it(caller: Caller) -> None:
    answer = caller.get("/healthz", token=None, headers={"X-Forwarded-Proto": "https"})
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")


def test_a_page_may_bring_a_policy_of_its_own(app: Flask) -> None:
    policy = "default-src 'self'"
    app.add_url_rule("/page", view_func=lambda: Response("page", headers={"Content-Security-Policy": policy}))
    answer = app.test_client().get("/page")
    assert answer.headers["Content-Security-Policy"] == policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_may_bring_a_policy_in_other_letters(app: Flask) -> None:
    app.add_url_rule("/page", view_func=lambda: Response("page", headers={"cache-control": "max-age=60"}))
    answer = app.test_client().get("/page")
    assert answer.headers.getlist("Cache-Control") == ["max-age=60"]
