"""Fixtures for all tests: a real Redis-compatible server, and stand-ins for the services around Opwatch."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
import structlog
from xdist.scheduler import LoadScopeScheduling

from local.valkey import Valkey
from standin.api import ScalingoApi
from tests.support.receiver import Receiver


class _JourneysByModule(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Runs all journeys of a module in one process, since they share a service; other tests run in any free one."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0] if "/journeys/" in nodeid else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Distribute the tests; a mark (xdist_group) cannot do this (pytest-dev/pytest-xdist#1386)."""
    return _JourneysByModule(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seconds that tests measured (`record_property`)."""
    reports = terminalreporter.getreports("passed")
    for name, took_s in [each for report in reports for each in report.user_properties]:
        terminalreporter.write_line(f"{name}: {took_s:.2f} s")


@pytest.fixture(autouse=True)
def _log_lines_of_the_test_that_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reset loggers after each test: they would keep writing to the first test's standard output."""
    configure = structlog.configure
    monkeypatch.setattr(
        structlog, "configure", lambda **options: configure(**{**options, "cache_logger_on_first_use": False})
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Run the one server of this test process; use `valkey`, which is empty."""
    with Valkey(tmp_path_factory.mktemp("valkey") / "data") as server:
        yield server


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """Return the server, empty and with its usual settings."""
    with redis.Redis.from_url(valkey_server.url) as connection:
        connection.flushall()
    return valkey_server


@pytest.fixture
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Run a server for this test only, which may kill it."""
    with Valkey(tmp_path_factory.mktemp("own-valkey") / "data") as server:
        yield server


@pytest.fixture
def scalingo() -> Iterator[ScalingoApi]:
    """Serve a Scalingo API."""
    with ScalingoApi() as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Serve Slack and the webhooks' targets."""
    with Receiver() as running:
        yield running
