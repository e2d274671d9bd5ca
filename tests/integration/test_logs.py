"""One log line for each request, round, look and attempt, with the tracking's id; none at rest."""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from config import logs
from config.settings import Settings
from operations.storage.store import Store
from operations.telling import attempts
from standin.api import ScalingoApi
from tests.integration.bench import BROKEN, Caller, found, looked_at, operation_id, problem, seen, tracked
from tests.support.receiver import Receiver, Reply
from tests.support.running import wait_until
from workers.deliver import delivery_round
from workers.look import look_round
from workers.runtime import Runtime

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def written(app: Flask, settings: Settings) -> io.StringIO:
    """Capture the log, written as in production."""
    assert app.extensions
    file = io.StringIO()
    with redirect_stdout(file):
        logs.configure(settings)
    return file


@pytest.fixture
def lines(written: io.StringIO) -> Lines:
    """Return a function that reads the new lines."""
    read_so_far = 0

    def read() -> list[dict[str, Any]]:
        nonlocal read_so_far
        new = written.getvalue()[read_so_far:].rpartition("\n")[0]
        read_so_far += len(new)
        return [json.loads(line) for line in new.splitlines() if line]

    return read


@pytest.fixture
def chatty(written: io.StringIO, settings: Settings, lines: Lines) -> Lines:
    """Capture the log at LOG_LEVEL=DEBUG."""
    with redirect_stdout(written):
        logs.configure(settings.model_copy(update={"log_level": "DEBUG"}))
    return lines


class TestRequests:
    """The line of a request."""

    def test_it_says_who_asked_for_what_and_how_that_went(self, lines: Lines, caller: Caller) -> None:
        answer = caller.track()
        (line,) = lines()
        took_ms = line.pop("took_ms")
        assert 0 < took_ms < 60_000
        line.pop("timestamp")
        assert line == {
            "event": "request",
            "level": "info",
            "request_id": answer.headers["X-Request-ID"],
            "method": "POST",
            "path": "/v1/operations",
            "status": 202,
            "caller": "ci",
            "tracking": answer.json["id"],
            "app": "shop",
            "bytes": len(answer.data),
        }

    def test_it_names_the_tracking_that_it_was_about(self, lines: Lines, caller: Caller) -> None:
        identity = caller.track(notify=["slack"]).json["id"]
        lines()
        caller.get(f"/v1/operations/{identity}")
        caller.track(account="other")
        caller.request("POST", f"/v1/operations/{identity}/deliveries/nobody/retry")
        caller.request("DELETE", f"/v1/operations/{identity}")
        assert [(line["status"], line["tracking"]) for line in lines()] == [
            (200, identity),
            (409, identity),
            (404, identity),
            (200, identity),
        ]
        caller.get("/v1/operations/none-such")
        caller.get("/v1/operations")
        assert [line.get("tracking") for line in lines()] == [None, None]

    def test_a_callers_id_is_taken_over_into_line_answer_and_problem(self, lines: Lines, caller: Caller) -> None:
        answer = caller.get("/v1/operations/none-such", headers={"X-Request-ID": "build-42.a_B"})
        assert problem(answer, 404)["request_id"] == answer.headers["X-Request-ID"] == "build-42.a_B"
        (line,) = lines()
        assert line["request_id"] == "build-42.a_B"

    @pytest.mark.parametrize("hostile", ["a b", "x" * 65, "'forged'", "a;b", "ä"])
    def test_one_that_could_forge_a_line_is_not(self, lines: Lines, caller: Caller, hostile: str) -> None:
        answer = caller.get("/v1/operations", headers={"X-Request-ID": hostile})
        (line,) = lines()
        assert line["request_id"] == answer.headers["X-Request-ID"] != hostile

    def test_monitors_that_find_all_in_order_leave_no_line(self, lines: Lines, caller: Caller) -> None:
        for path in ("/healthz", "/metrics", "/openapi.json"):
            assert caller.get(path).status_code == 200
        assert lines() == []
        assert caller.get("/readyz").status_code == 503
        caller.get("/metrics", token=None)
        assert [(line["path"], line["status"]) for line in lines()] == [("/readyz", 503), ("/metrics", 401)]

    def test_they_do_at_debug(self, chatty: Lines, caller: Caller) -> None:
        caller.get("/healthz")
        (line,) = chatty()
        assert (line["level"], line["path"]) == ("debug", "/healthz")


class TestWork:
    """The lines of looks and attempts."""

    @pytest.mark.usefixtures("runtime")
    def test_a_look_and_an_end_say_what_was_seen(self, lines: Lines, store: Store, scalingo: ScalingoApi) -> None:
        operation = scalingo.operation(duration_s=None)
        identity = tracked(store, operation.id)
        look_round()
        looked = line_of(lines, "looked")
        assert 0 < looked.pop("took_ms") < 60_000
        assert looked == {
            "event": "looked",
            "level": "info",
            "tracking": identity,
            "app": "shop",
            "account": "default",
            "result": "answered",
            "state": "tracking",
            "status": "running",
            "polls": 1,
        }
        scalingo.finish(operation.id, "error")
        store.update(found(store, identity), lambda tracking: replace(tracking, next_look_at=store.records.now()))
        ended = line_of(lines, "ended", meanwhile=look_round)
        assert (ended["tracking"], ended["state"], ended["polls"]) == (identity, "failed", 2)
        assert ended["duration_s"] >= 0
        assert ended["detection_s"] >= 0

    @pytest.mark.usefixtures("runtime")
    def test_each_attempt_says_what_it_met_and_how_long_the_outcome_has_waited(
        self, lines: Lines, store: Store, settings: Settings, receiver: Receiver
    ) -> None:
        receiver.script("/webhook", Reply(503), Reply(204))
        identity = tracked(store, operation_id(1), notify_all=False, notify=("webhook",))
        seen(store, identity, BROKEN, settings.rules)
        delivery_round()
        failed = line_of(lines, "delivery retrying")
        assert 0 < failed.pop("took_ms") < 60_000
        assert failed.pop("next_attempt_at").endswith("Z")
        told = {"tracking": identity, "delivery": f"{identity}_1_failed_webhook", "target": "webhook"}
        said = {"error": "503 Service Unavailable", "reason": "server_error"}
        assert failed == {"event": "delivery retrying", "level": "warning", **told, "attempt": 1, **said}
        store.update(
            found(store, identity), lambda tracking: attempts.retried(tracking, "webhook", store.records.now())
        )
        delivery_round()
        delivered = line_of(lines, "delivered")
        assert delivered.pop("took_ms") > 0
        assert 0 <= delivered.pop("dwell_s") < 60
        assert delivered == {"event": "delivered", "level": "info", **told, "attempt": 2, "reason": "ok"}

    @pytest.mark.usefixtures("runtime")
    def test_rounds_that_leave_nothing_due_are_quiet(self, lines: Lines, store: Store, scalingo: ScalingoApi) -> None:
        look_round()
        delivery_round()
        assert lines() == []
        tracked(store, scalingo.operation(duration_s=None).id)
        look_round()
        assert line_of(lines, "looked")
        assert lines() == []

    def test_a_round_that_has_to_choose_says_so(
        self, lines: Lines, runtime: Runtime, store: Store, scalingo: ScalingoApi
    ) -> None:
        first = tracked(store, scalingo.operation().id)
        look_round()
        looked_at(store, first)  # signed in
        wait_until(lambda: runtime.budget.balance("default").tokens >= 2, what="tokens")
        for _ in range(20):
            tracked(store, scalingo.operation(duration_s=None).id)
        look_round()
        line = line_of(lines, "look round")
        assert line["due"] == 20
        assert 0 < line["claimed"] == line["granted"] < 20
        assert line["took_ms"] > 0

    @pytest.mark.usefixtures("runtime")
    def test_every_round_is_there_at_debug(self, chatty: Lines) -> None:
        look_round()
        line = line_of(chatty, "look round")
        assert (line["level"], line["due"], line["granted"], line["claimed"]) == ("debug", 0, 0, 0)


def line_of(lines: Lines, event: str, meanwhile: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Wait for the line of an event, which follows the record. Returns it without its time."""

    def there() -> dict[str, Any] | None:
        meanwhile()
        return next((line for line in lines() if line["event"] == event), None)

    line = wait_until(there, what=f"the line {event!r}")
    assert line is not None
    assert line.pop("timestamp").endswith("Z")
    return line
