"""Opwatch as the real processes of the Procfile, for journeys."""

import json
import os
import signal
import socket
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from local import processes
from local.http import Answer, responds
from local.processes import Child, LocalError
from local.service import Service
from standin.api import DEFAULT_TOKENS, ScalingoApi
from tests.support.receiver import Receiver

ROOT = Path(__file__).parents[2]
CALLER_TOKEN = "a-token-for-journeys-only-0123"  # noqa: S105 - it opens nothing
WEBHOOK_SECRET = "whsec_" + "c2VjcmV0LWZvci1qb3VybmV5cy1vbmx5"
PATIENCE_S = 60.0  # only a failure takes so long; a busy machine takes seconds to start a process
WAIT_STEP_S = 5
UNHURRIED = {"SCALINGO_REQUESTS_PER_MINUTE": "6000"}
"""For journeys that are not about the budget: looks are made as soon as they are due."""

T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, timeout_s: float = PATIENCE_S, what: str = "the condition") -> T:
    """Return the first true result of `condition`; raises LocalError after `timeout_s`."""
    return processes.wait_until(condition, timeout_s=timeout_s, what=what)


def environment(redis_url: str, scalingo: ScalingoApi, receiver: Receiver) -> dict[str, str]:
    """Return the settings of a service that uses only stand-ins on this machine."""
    return {
        "REDIS_URL": redis_url,
        "OPWATCH_TOKENS": f"ci:{CALLER_TOKEN}",
        "OPWATCH_ALLOW_PRIVATE_TARGETS": "true",
        "SCALINGO_API_TOKEN": DEFAULT_TOKENS["default"],
        "SCALINGO_API_URL": scalingo.url,
        "SCALINGO_DB_API_URL": scalingo.url,
        "SCALINGO_AUTH_URL": scalingo.url,
        "SLACK_WEBHOOK_URL": receiver.url("/slack"),
        "WEBHOOK_URL": receiver.url("/webhook"),
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
        "RECEIVER_URL": receiver.base_url,  # for targets files
        "LOG_LEVEL": "INFO",
        "WEB_CONCURRENCY": "1",
    }


class Opwatch(Service):
    """The processes of one service on a free port, started by `with`; there may be several workers.

    `settings` change those of `environment` (an empty text unsets one), `own` those of single processes; `targets` is
    the text of a targets file; `wrapped` wraps their commands, for the shell.
    """

    def __init__(  # noqa: PLR0913 - a journey sets few of them
        self,
        redis_url: str,
        scalingo: ScalingoApi,
        receiver: Receiver,
        *,
        settings: Mapping[str, str] | None = None,
        targets: str = "",
        workers: Sequence[str] = ("worker",),
        own: Mapping[str, Mapping[str, str]] | None = None,
        wrapped: str = "{}",
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="opwatch-journey-")
        file = Path(self._directory.name) / "targets.toml"
        file.write_text(targets, encoding="utf-8")
        # Bound without listening, so that no other program gets the port; gunicorn can still listen on it.
        self._reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port: int = self._reserved.getsockname()[1]
        self._lines: defaultdict[str, list[str]] = defaultdict(list)
        env = {
            # None of the developer's settings: only what a program needs to start.
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": self._directory.name,
            "PYTHONUNBUFFERED": "1",
            "PORT": str(self.port),
            "OPWATCH_TARGETS_FILE": str(file),
            **environment(redis_url, scalingo, receiver),
            **(settings or {}),
        }
        super().__init__(env, CALLER_TOKEN, lambda name: self._lines[name].append)
        self._named: dict[str, Child] = {}
        for name in ("web", *workers):
            command = self.procfile["web" if name == "web" else "worker"]
            self._named[name] = self.add(name, wrapped.format(command), (own or {}).get(name))

    def __enter__(self) -> Self:
        """Start all processes; return once the service is ready."""
        try:
            for name in self._named:
                self.start(name)
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop everything."""
        self.stop()

    def start(self, name: str) -> None:
        """Start one process, without waiting."""
        self._named[name].start()

    def kill(self, name: str) -> None:
        """End a process (its group) with SIGKILL."""
        self._named[name].kill()

    def terminate(self, name: str) -> None:
        """Ask a process to end, as a PaaS does."""
        self._named[name].terminate()

    def freeze(self, name: str) -> None:
        """Freeze a process (SIGSTOP), as a suspended machine does. Does nothing if it has ended.

        Returns when all its threads have stopped: the signal does not stop them at the same time.
        """
        self._signal(name, signal.SIGSTOP)
        with suppress(ChildProcessError):  # it has ended
            os.waitid(os.P_PID, self.pid(name), os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def wake(self, name: str) -> None:
        """Continue a frozen process."""
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: signal.Signals) -> None:
        if self.running(name):
            os.kill(self.pid(name), number)

    def wait_for_exit(self, name: str, timeout_s: float = PATIENCE_S) -> int:
        """Return the exit code of a process once it has ended."""
        wait_until(lambda: not self.running(name), timeout_s=timeout_s, what=f"the end of {name}")
        code = self._named[name].poll()
        assert code is not None
        return code

    def running(self, name: str) -> bool:
        """Whether a process runs."""
        return self._named[name].alive

    def pid(self, name: str) -> int:
        """Return the id of a process that was started."""
        return self._named[name].pid

    def stop(self, grace_s: float = 10.0, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop everything, and print its output, which pytest shows after a failure."""
        super().stop(grace_s, hurry)
        self._reserved.close()
        self._directory.cleanup()
        for name in self._named:
            print(f"--- {name} printed:", *self._lines[name], sep="\n")

    def output(self, name: str) -> str:
        """Return the whole output of a process, over all its starts."""
        return "\n".join(self._lines[name])

    def events(self, name: str, event: str) -> list[dict[str, Any]]:
        """Return the structured log lines of one event."""
        lines = [json.loads(line) for line in list(self._lines[name]) if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def wait_until_ready(self) -> None:
        """Return when `/readyz` answers 200."""
        self._wait(lambda: not self.missing())

    def wait_until_alive(self) -> None:
        """Return once the web process answers."""
        self._wait(lambda: responds(f"{self.url}/healthz"))

    def _wait(self, condition: Callable[[], bool]) -> None:
        try:
            processes.wait_until(condition, self._named["web"], timeout_s=PATIENCE_S, what="an answer of web")
        except LocalError as error:
            raise LocalError(f"{error}; missing: {self.missing()}") from error

    def get(self, path: str, **options: Any) -> Answer:
        """GET a path."""
        return self.request("GET", path, **options)

    def post(self, body: object, **options: Any) -> Answer:
        """POST to `/v1/operations`."""
        return self.request("POST", "/v1/operations", body, **options)

    def show(self, identity: str) -> dict[str, Any]:
        """Return a tracking as it stands."""
        answer = self.get(f"/v1/operations/{identity}")
        assert answer.status == 200, answer
        shown: dict[str, Any] = answer.json()
        return shown

    def wait_for_state(self, identity: str, state: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return the tracking as soon as it is in `state`; raises LocalError when it ends otherwise, or not in time."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            left_s = max(0, round(deadline_s - time.monotonic()))
            prefer = {"Prefer": f"wait={min(WAIT_STEP_S, left_s)}"}
            shown: dict[str, Any] = self.get(f"/v1/operations/{identity}", headers=prefer).json()
            if shown.get("state") == state:
                return shown
            if shown.get("state") != "tracking" or time.monotonic() >= deadline_s:
                raise LocalError(f"waited for {state}, got {json.dumps(shown, indent=1)}")

    def wait_for_delivery(
        self, identity: str, target: str, state: str, timeout_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """Return the delivery to a target as soon as it is in `state`."""

        def delivery() -> dict[str, Any] | None:
            found = [each for each in self.show(identity)["deliveries"] if each["target"] == target]
            return found[0] if found and found[0]["state"] == state else None

        met = wait_until(delivery, timeout_s=timeout_s, what=f"{target} being {state}")
        assert met is not None
        return met
