"""Slots for waiting: one caller cannot hold them all if there are others."""

from collections.abc import Callable

import pytest
from flask import Flask

from api.fairness import FairQueue
from api.service import KEY, MOST_QUEUED, Service
from config.settings import Settings
from config.web import MOST_WAITING
from tests.integration.bench import Caller, problem
from tests.support.running import CALLER_TOKEN

OTHER_TOKEN = "a-token-of-another-caller-0123"  # noqa: S105 - it opens nothing
PREFER = {"Prefer": "wait=1"}


def test_a_slot_to_wait_is_left_for_another_caller(
    settings: Settings, make_app: Callable[[], Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.tokens
    monkeypatch.setenv("OPWATCH_TOKENS", f"ci:{CALLER_TOKEN},other:{OTHER_TOKEN}")
    app = make_app()
    caller = Caller(app.test_client())
    identity = caller.track().get_json()["id"]
    assert take_slots(app) < MOST_WAITING
    turned_away = caller.get(f"/v1/operations/{identity}", headers=PREFER)
    assert (turned_away.status_code, turned_away.headers["Retry-After"]) == (200, "2")
    waited = caller.get(f"/v1/operations/{identity}", headers=PREFER, token=OTHER_TOKEN)
    assert waited.headers["Preference-Applied"] == "wait=1"


def test_the_only_caller_may_have_every_slot(app: Flask) -> None:
    assert take_slots(app) == MOST_WAITING


def test_a_caller_with_too_many_requests_in_its_queue_is_told_to_come_again_and_no_other_is(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FairQueue, "queued", lambda _self, caller: MOST_QUEUED if caller == "ci" else 0)
    caller = Caller(app.test_client())
    answer = caller.get("/v1/operations")
    assert answer.headers["Retry-After"] == "1"
    assert "send it again" in problem(answer, 503)["detail"]
    assert caller.get("/v1/operations", token=None).status_code == 401
    assert caller.get("/healthz").status_code == 200


def take_slots(app: Flask) -> int:
    """Take slots as if so many requests of the first caller waited. Returns how many were free."""
    parts: Service = app.extensions[KEY]
    taken = 0
    while parts.wait_slots.acquire("ci"):
        taken += 1
    return taken
