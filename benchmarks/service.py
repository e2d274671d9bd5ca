"""The real processes, started as the Procfile says, around an embedded Valkey and a stand-in Scalingo API."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType
from typing import Any, Self
from urllib.parse import urlsplit

import redis

from local.errors import LocalError
from local.processes import read_procfile, shell
from local.spawn import spawn
from local.valkey import Valkey

ROOT = Path(__file__).parent.parent
API_TOKEN = "tk-us-benchmark"  # noqa: S105 - opens nothing but the stand-in
TOKEN = secrets.token_hex(24)
PATIENCE_S = 30.0
_POLL_S = 0.005
_LISTENING = re.compile(r"listening on (http://\S+)")


class BenchmarkError(Exception):
    """A benchmark could not be run; the text says why."""


class Process:
    """One process group of a stage, whose output goes to a file."""

    def __init__(self, name: str, child: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._child = child

    @property
    def pid(self) -> int:
        """The process id, which is the group's, too."""
        return self._child.pid

    def check(self) -> None:
        """Raise BenchmarkError, with its last output, if it has ended."""
        code = self._child.poll()
        if code is not None:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])
            message = f"{self.name} ended with code {code}; its last output:\n{last}"
            raise BenchmarkError(message)

    def kill(self) -> None:
        """End the whole group at once: what it was doing is thrown away with its Valkey."""
        if self._child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._child.wait()


class Stage:
    """An empty Valkey and whatever is started beside it; leaving the stage ends and removes it all.

    `targets` is the text of the targets file; `settings` are added to every process' environment.
    """

    def __init__(self, *, targets: str = "", settings: Mapping[str, str] | None = None) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="opwatch-bench-"))
        self._targets = targets
        self._processes: list[Process] = []
        self._valkey = Valkey(self._directory / "valkey")
        self.port = free_port()
        self.api = ""
        self.redis: Any = redis.Redis.from_url(self._valkey.url)  # redis-py types every answer as bytes or str
        self._settings = dict(settings or {})

    def __enter__(self) -> Self:
        """Start Valkey."""
        try:
            (self._directory / "targets.toml").write_text(self._targets)
            self._valkey.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """End everything."""
        self.redis.close()
        for process in self._processes:
            process.kill()
        self._valkey.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def redis_url(self) -> str:
        """Where Valkey is."""
        return self._valkey.url

    @property
    def url(self) -> str:
        """Where `web` is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, name: str, command: str, settings: Mapping[str, str] | None = None, cwd: Path = ROOT) -> Process:
        """Start a command the way a PaaS does, its environment made of nothing but settings."""
        return self._spawn(name, shell(command), {**self._environment(), **(settings or {})}, cwd)

    def start_type(self, name: str, settings: Mapping[str, str] | None = None) -> Process:
        """Start `web` or `worker` as the Procfile says, and return without waiting."""
        return self.start(name, read_procfile(ROOT / "Procfile")[name], settings)

    def start_service(self) -> tuple[Process, Process]:
        """Start web and worker, and wait until both are ready."""
        web, worker = self.start_type("web"), self.start_type("worker")
        wait_until(lambda: answers(self.url + "/healthz"), web)
        wait_until(self.worker_ready, worker)
        return web, worker

    def start_api(self, limit: int = 0) -> None:
        """Start the stand-in Scalingo API; `limit` requests a minute, 0 for no limit."""
        argv = (sys.executable, "-m", "tests.support.scalingo_api", "--port", "0", "--token", API_TOKEN)
        process = self._spawn("api", (*argv, "--limit", str(limit)), self._environment())
        wait_until(lambda: _LISTENING.search(process.log.read_text()) is not None, process)
        found = _LISTENING.search(process.log.read_text())
        self.api = found[1] if found else ""

    def worker_ready(self) -> bool:
        """Tell whether a worker's clock beats and RQ takes jobs."""
        return bool(self.redis.zcard("opwatch:workers") and self.redis.scard("rq:workers"))

    def begin(self, duration_s: float) -> str:
        """Begin an operation at the stand-in that succeeds after `duration_s`; returns its URL."""
        asked = {"app": "shop", "duration_s": duration_s}
        return str(call("POST", self.api + "/_standin/operations", asked)["operation_url"])

    def track(self, operation_url: str) -> str:
        """Ask Opwatch to track an operation; returns the tracking's id."""
        return str(self.ask("POST", "/v1/operations", {"operation_url": operation_url})["id"])

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send one request to `web` and return the parsed answer."""
        return call(method, self.url + path, body, {"Authorization": f"Bearer {TOKEN}"})

    def seen_by_api(self) -> Any:
        """Give the stand-in's log: `requests` and the count `rate_limited`."""
        return call("GET", self.api + "/_standin/requests")

    def _spawn(self, name: str, argv: tuple[str, ...], env: Mapping[str, str], cwd: Path = ROOT) -> Process:
        log = self._directory / f"{name}-{len(self._processes)}.log"
        with log.open("wb") as output:
            process = Process(name, spawn(argv, cwd=cwd, env=env, output=output), log)
        self._processes.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        api = self.api or "http://127.0.0.1:9"  # nobody is there
        return {
            **{name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL", "TMPDIR") if name in os.environ},
            "PATH": programs,
            "PORT": str(self.port),
            "REDIS_URL": self._valkey.url,
            "OPWATCH_TOKENS": f"bench:{TOKEN}",
            "OPWATCH_TARGETS_FILE": str(self._directory / "targets.toml"),
            "OPWATCH_ALLOW_PRIVATE_TARGETS": "true",
            "SCALINGO_API_TOKEN": API_TOKEN,
            "SCALINGO_API_URL": api,
            "SCALINGO_AUTH_URL": api,
            **self._settings,
        }


def wait_until(
    condition: Callable[[], bool], *processes: Process, timeout_s: float = PATIENCE_S, every_s: float = _POLL_S
) -> float:
    """Wait for the condition; returns the seconds it took. Raises BenchmarkError if it or a process gives up."""
    began_s = time.monotonic()
    while not condition():
        for process in processes:
            process.check()
        if time.monotonic() - began_s > timeout_s:
            message = f"waited in vain for {timeout_s:g} s ({', '.join(p.name for p in processes) or 'no process'})"
            raise BenchmarkError(message)
        time.sleep(every_s)
    return time.monotonic() - began_s


def answers(url: str) -> bool:
    """Tell whether a GET gets a good answer."""
    try:
        call("GET", url)
    except (OSError, HTTPException, BenchmarkError):
        return False
    return True


def call(method: str, url: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
    """Send one request over a connection of its own and return the parsed answer; raises BenchmarkError unless 2xx."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=PATIENCE_S)
    sent = {**(headers or {}), **({} if body is None else {"Content-Type": "application/json"})}
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, None if body is None else json.dumps(body), sent)
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    if response.status // 100 != 2:
        message = f"{method} {parts.path}: {response.status} {text[:300]}"
        raise BenchmarkError(message)
    return json.loads(text)


def run(programs: Mapping[str, Callable[[], None]]) -> int:
    """Run benchmarks one after the other: 0 if each could be measured, 1 if not, 130 on Ctrl-C (or SIGTERM)."""
    signal.signal(signal.SIGTERM, _interrupt)  # it unwinds as Ctrl-C does, so that nothing stays behind
    code = 0
    for name, program in programs.items():
        try:
            program()
        except (BenchmarkError, LocalError) as error:
            print(f"{name} could not be measured: {error}", file=sys.stderr)
            code = 1
        except KeyboardInterrupt:
            return 130
    return code


def free_port() -> int:
    """Find a port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
