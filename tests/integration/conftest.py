"""The app and the worker's runtime in this process, with settings from the environment."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import redis
from aiohttp.abc import AbstractResolver
from flask import Flask

from api.service import KEY, Service
from app import create_app
from config.settings import Settings, load
from local.valkey import Valkey
from operations.storage.store import Store
from standin.api import ScalingoApi
from tests.integration.bench import RETENTION, Caller, connected
from tests.support.receiver import Receiver
from tests.support.running import UNHURRIED, environment
from tests.support.trap import Trap
from workers import runtime as workers_runtime
from workers.loop import HttpLoop
from workers.runtime import Runtime

AT_THE_END_S = 0.5
"""The deadline for tasks that still run after a test."""

OURS = ("OPWATCH_", "SCALINGO_", "SLACK_", "WEBHOOK_", "REDIS_", "LOG_")
TARGETS = """
    [targets.failures]
    kind = "webhook"
    url = "${RECEIVER_URL}/failures"
    secret = "${WEBHOOK_SECRET}"
    on = ["failed", "timed_out", "lost"]

    [targets.shops]
    kind = "webhook"
    url = "${RECEIVER_URL}/shops"
    secret = "${WEBHOOK_SECRET}"
    apps = ["shop-*"]
    """
"""In addition to `slack` and `webhook`, which are told everything."""


@pytest.fixture
def connection(valkey: Valkey) -> Iterator[redis.Redis]:
    """Connect to the empty server."""
    with connected(valkey.url) as opened:
        yield opened


@pytest.fixture
def store(connection: redis.Redis) -> Store:
    """Return the store of the empty server."""
    return Store(connection, retention=RETENTION)


@pytest.fixture
def settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, valkey: Valkey, scalingo: ScalingoApi, receiver: Receiver
) -> Settings:
    """Set the environment, without the developer's own settings, and read the settings."""
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    targets = tmp_path / "targets.toml"
    targets.write_text(TARGETS, encoding="utf-8")
    ours = {
        **environment(valkey.url, scalingo, receiver),
        **UNHURRIED,
        "OPWATCH_TARGETS_FILE": str(targets),
        "SCALINGO_API_TOKEN_OTHER": "tk-us-other",
    }
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    return load(os.environ)


@pytest.fixture
def make_app(settings: Settings) -> Iterator[Callable[[], Flask]]:
    """Return a function that builds an app from the current environment; it is closed after the test."""
    assert settings.targets
    with ExitStack() as opened:

        def make() -> Flask:
            made = create_app()
            parts: Service = made.extensions[KEY]
            opened.callback(parts.connection.close)
            opened.callback(parts.looks_due.stop)
            opened.callback(parts.deliveries_due.stop)
            opened.callback(parts.ends.stop)
            return made

        yield make


@pytest.fixture
def app(make_app: Callable[[], Flask]) -> Flask:
    """Build the app."""
    return make_app()


@pytest.fixture
def caller(app: Flask) -> Caller:
    """Return a caller of the app."""
    return Caller(app.test_client())


@pytest.fixture
def start_worker(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> Iterator[Callable[..., Runtime]]:
    """Return a function that starts the parts of a worker process, without RQ: the test calls the rounds.

    `targets` is the text of another targets file; what else is named is set in the environment, or unset by an empty
    text.
    """
    assert settings.targets
    with ExitStack() as started:

        def start(targets: str = "", *, resolver: AbstractResolver | None = None, **changes: str) -> Runtime:
            if targets:
                file = tmp_path / "other.toml"
                file.write_text(targets, encoding="utf-8")
                monkeypatch.setenv("OPWATCH_TARGETS_FILE", str(file))
            for name, value in changes.items():
                monkeypatch.setenv(name, value)
            running = workers_runtime.start(load(os.environ), resolver=resolver)
            started.callback(running.close)
            started.callback(running.finish, AT_THE_END_S)
            return running

        yield start


@pytest.fixture
def runtime(start_worker: Callable[..., Runtime]) -> Runtime:
    """Start the parts of one worker process."""
    return start_worker()


@pytest.fixture(scope="module")
def loop() -> Iterator[HttpLoop]:
    """Run a worker's HTTP loop; private targets are allowed."""
    running = HttpLoop(allow_private_targets=True)
    yield running
    running.drain(1.0)


@pytest.fixture
def trap() -> Iterator[Trap]:
    """Listen on a port that must get no connection."""
    with closing(Trap()) as listening:
        yield listening
