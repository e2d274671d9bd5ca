"""The real processes of the Procfile, with an embedded Valkey and a stand-in Scalingo API."""

import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Self

import redis

from local import http, processes
from local.http import responds
from local.processes import Child, LocalError
from local.service import Service, free_port

TOKEN = secrets.token_hex(24)
PATIENCE_S = 30.0
_POLL_S = 0.005
_NOBODY = "http://127.0.0.1:9"


class BenchmarkError(LocalError):
    """A benchmark cannot run; the text says why."""


class Stage(Service):
    """An empty Valkey, and the processes started with it. Leaving the stage ends and removes everything.

    `targets` is the text of the targets file; `settings` are added to every process's environment.
    """

    def __init__(self, *, targets: str = "", settings: Mapping[str, str] | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="opwatch-bench-")
        self._directory = Path(self._temporary.name)
        self._targets = targets
        self._logs = 0
        self.port = free_port()
        env = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR") if name in os.environ},
            "PORT": str(self.port),
            "OPWATCH_TOKENS": f"bench:{TOKEN}",
            "OPWATCH_TARGETS_FILE": str(self._directory / "targets.toml"),
            "OPWATCH_ALLOW_PRIVATE_TARGETS": "true",
        }
        super().__init__(env, TOKEN, self._log)
        self.use_api(_NOBODY)
        self.env |= settings or {}

    def __enter__(self) -> Self:
        """Start Valkey."""
        try:
            (self._directory / "targets.toml").write_text(self._targets)
            valkey = self.launch_valkey(self._directory / "valkey")
            wait_until(valkey.ready, valkey)
        except BaseException:
            self.__exit__()
            raise
        self.redis: Any = redis.Redis.from_url(valkey.url)  # redis-py types every answer as bytes or str
        return self

    def __exit__(self, *_error: object) -> None:
        """Kill everything; the data is lost."""
        self.stop(grace_s=0)
        self._temporary.cleanup()

    @property
    def redis_url(self) -> str:
        """Valkey's URL."""
        return self.env["REDIS_URL"]

    def start(self, name: str, command: str | None = None, settings: Mapping[str, str] | None = None) -> Child:
        """Start a command, by default the Procfile's of that name, without waiting."""
        child = self.add(name, command, settings)
        child.start()
        return child

    def start_service(self) -> tuple[Child, Child]:
        """Start web and worker, and wait until both are ready."""
        web, worker = self.start("web"), self.start("worker")
        wait_until(lambda: responds(self.url + "/healthz"), web)
        wait_until(self.worker_ready, worker)
        return web, worker

    def start_api(self, limit: int = 0) -> None:
        """Start the stand-in Scalingo API; `limit` requests a minute, 0 for no limit."""
        api = self.launch_standin(limit)
        wait_until(lambda: responds(f"{self.api}/_standin/requests"), api)

    def worker_ready(self) -> bool:
        """Tell whether a worker sends heartbeats, and RQ takes jobs."""
        return bool(self.redis.zcard("opwatch:workers") and self.redis.scard("rq:workers"))

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send one request to `web`. Returns the parsed answer. Raises LocalError unless it is a 2xx."""
        return self.request(method, path, body).check()

    def seen_by_api(self) -> Any:
        """Return the stand-in's log: `requests` and the count `rate_limited`."""
        return call("GET", self.api + "/_standin/requests")

    def _log(self, name: str) -> Path:
        self._logs += 1
        return self._directory / f"{name}-{self._logs}.log"


def wait_until(
    condition: Callable[[], bool], *children: Child, timeout_s: float = PATIENCE_S, every_s: float = _POLL_S
) -> float:
    """Wait for the condition. Returns the seconds it took. Raises LocalError after `timeout_s`, or if a child ends."""
    began_s = time.monotonic()
    what = f"what {', '.join(child.name for child in children) or 'nobody'} should do"
    processes.wait_until(condition, *children, timeout_s=timeout_s, what=what, every_s=every_s)
    return time.monotonic() - began_s


def call(method: str, url: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
    """Send one request. Returns the parsed answer. Raises LocalError unless it is a 2xx."""
    return http.call(method, url, body, headers).check()


def run(programs: Mapping[str, Callable[[], None]]) -> int:
    """Run benchmarks one after the other. Returns 0 if all were measured, 1 if not, 130 on Ctrl-C (or SIGTERM)."""
    signal.signal(signal.SIGTERM, _interrupt)  # it unwinds like Ctrl-C, so that all processes end
    code = 0
    for name, program in programs.items():
        try:
            program()
        except LocalError as error:
            print(f"{name} could not be measured: {error}", file=sys.stderr)
            code = 1
        except KeyboardInterrupt:
            return 130
    return code


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
