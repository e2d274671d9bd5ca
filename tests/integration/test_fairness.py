"""Places to wait for an end: a lone token may have them all, and leaves one where there are others."""

from collections.abc import Callable

import pytest
from flask import Flask

from api.service import KEY, Service
from config.settings import Settings
from config.web import THREADS
from tests.integration.bench import Caller
from tests.support.running import CALLER_TOKEN

OTHER_TOKEN = "a-token-of-another-caller-0123"  # noqa: S105 - it opens nothing
PREFER = {"Prefer": "wait=1"}


def test_a_place_to_wait_is_left_for_another_caller(
    settings: Settings, make_app: Callable[[], Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.tokens
    monkeypatch.setenv("OPWATCH_TOKENS", f"ci:{CALLER_TOKEN},other:{OTHER_TOKEN}")
    app = make_app()
    caller = Caller(app.test_client())
    identity = caller.track().get_json()["id"]
    take_places(app, THREADS // 2 - 1)
    turned_away = caller.get(f"/v1/operations/{identity}", headers=PREFER)
    assert (turned_away.status_code, turned_away.headers["Retry-After"]) == (200, "2")
    waited = caller.get(f"/v1/operations/{identity}", headers=PREFER, token=OTHER_TOKEN)
    assert waited.headers["Preference-Applied"] == "wait=1"


def test_the_only_caller_may_have_every_place(app: Flask) -> None:
    caller = Caller(app.test_client())
    identity = caller.track().get_json()["id"]
    take_places(app, THREADS // 2 - 1)
    assert caller.get(f"/v1/operations/{identity}", headers=PREFER).headers["Preference-Applied"] == "wait=1"


def take_places(app: Flask, count: int) -> None:
    """Take places as if so many of the first caller's requests waited."""
    parts: Service = app.extensions[KEY]
    for _ in range(count):
        assert parts.waiting_room.take("ci")
