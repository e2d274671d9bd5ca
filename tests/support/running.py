"""Opwatch itself, as the real processes of the Procfile, for journeys."""

import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from io import StringIO
from pathlib import Path
from typing import Any, Self, TypeVar

from multidict import CIMultiDict

from local.processes import Child, Console, read_procfile, shell, stop_all
from standin.api import DEFAULT_TOKENS, ScalingoApi
from tests.support.caller import Answer
from tests.support.receiver import Receiver

ROOT = Path(__file__).parents[2]
CALLER_TOKEN = "a-token-for-journeys-only-0123"  # noqa: S105 - it opens nothing
WEBHOOK_SECRET = "whsec_" + "c2VjcmV0LWZvci1qb3VybmV5cy1vbmx5"
PATIENCE_S = 60.0  # what fails takes so long; a busy machine takes seconds to start a process
POLL_S = 0.02
WAIT_STEP_S = 5
UNHURRIED = {"SCALINGO_REQUESTS_PER_MINUTE": "6000"}
"""For journeys that are not about the budget: looks come as soon as they are due."""

T = TypeVar("T")


class Unmet(AssertionError):  # noqa: N818 - it reads as what it says
    """What a test waited for did not come true."""


def wait_until(condition: Callable[[], T], *, timeout_s: float = PATIENCE_S, what: str = "the condition") -> T:
    """Return what `condition` gives as soon as that is true; raises Unmet after `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while not (met := condition()):
        if time.monotonic() >= deadline_s:
            message = f"{what} did not come true within {timeout_s:g} s; last: {met!r}"
            raise Unmet(message)
        time.sleep(POLL_S)
    return met


def environment(redis_url: str, scalingo: ScalingoApi, receiver: Receiver) -> dict[str, str]:
    """Return the settings of a service whose every neighbour is a stand-in on this machine."""
    return {
        "REDIS_URL": redis_url,
        "OPWATCH_TOKENS": f"ci:{CALLER_TOKEN}",
        "OPWATCH_ALLOW_PRIVATE_TARGETS": "true",
        "SCALINGO_API_TOKEN": DEFAULT_TOKENS["default"],
        "SCALINGO_API_URL": scalingo.url,
        "SCALINGO_AUTH_URL": scalingo.url,
        "SLACK_WEBHOOK_URL": receiver.url("/slack"),
        "WEBHOOK_URL": receiver.url("/webhook"),
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
        "RECEIVER_URL": receiver.base_url,  # for targets files
        "LOG_LEVEL": "INFO",
        "WEB_CONCURRENCY": "1",
    }


class Opwatch:
    """The processes of one service on a free port, started by `with`; the worker may be there several times.

    `settings` change those of `environment` (an empty text unsets one), `own` those of single processes; `targets` is
    the text of a targets file.
    """

    def __init__(
        self,
        redis_url: str,
        scalingo: ScalingoApi,
        receiver: Receiver,
        *,
        settings: Mapping[str, str] | None = None,
        targets: str = "",
        workers: Sequence[str] = ("worker",),
        own: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="opwatch-journey-")
        file = Path(self._directory.name) / "targets.toml"
        file.write_text(targets, encoding="utf-8")
        # Bound without listening, so that nobody else is given the port; gunicorn may listen on it all the same.
        self._reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port: int = self._reserved.getsockname()[1]
        self._output: defaultdict[str, list[str]] = defaultdict(list)
        self._names = ("web", *workers)
        env = {
            # Nothing of the developer's own settings: only what a program needs to start.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "HOME": self._directory.name,
            "PYTHONUNBUFFERED": "1",
            "PORT": str(self.port),
            "OPWATCH_TARGETS_FILE": str(file),
            **environment(redis_url, scalingo, receiver),
            **(settings or {}),
        }
        commands = read_procfile(ROOT / "Procfile")
        console = Console(StringIO())
        self._children = {
            name: Child(
                name,
                shell(commands["web" if name == "web" else "worker"]),
                cwd=ROOT,
                env={**env, **(own or {}).get(name, {})},
                console=console,
                on_line=self._output[name].append,
            )
            for name in self._names
        }

    def __enter__(self) -> Self:
        """Start all processes; return once the service is ready."""
        try:
            for name in self._names:
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
        """Start one process and do not wait for it."""
        self._children[name].start()

    def kill(self, name: str) -> None:
        """End a process (its group) with SIGKILL."""
        self._children[name].kill()

    def terminate(self, name: str) -> None:
        """Ask a process to end, as a PaaS does."""
        self._children[name].terminate()

    def freeze(self, name: str) -> None:
        """Stop a process where it stands (SIGSTOP), as a suspended machine does; does nothing when it has ended.

        Returns when all its threads stand still: until one of them has got round to the signal, the others go on.
        """
        self._signal(name, signal.SIGSTOP)
        with suppress(ChildProcessError):  # it has ended
            os.waitid(os.P_PID, self.pid(name), os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def wake(self, name: str) -> None:
        """Let a frozen process go on."""
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: signal.Signals) -> None:
        child = self._children[name]
        if child.alive and child.pid is not None:
            os.kill(child.pid, number)

    def wait_for_exit(self, name: str, timeout_s: float = PATIENCE_S) -> int:
        """Return the exit code of a process once it has ended."""
        child = self._children[name]
        wait_until(lambda: child.poll() is not None, timeout_s=timeout_s, what=f"the end of {name}")
        code = child.poll()
        assert code is not None
        return code

    def running(self, name: str) -> bool:
        """Whether a process runs."""
        return self._children[name].alive

    def pid(self, name: str) -> int:
        """Return the id of a process that was started."""
        pid = self._children[name].pid
        assert pid is not None
        return pid

    def stop(self) -> None:
        """End everything, and show what it printed (pytest prints that beside a failure)."""
        stop_all(list(self._children.values()), grace_s=10.0)
        self._reserved.close()
        self._directory.cleanup()
        for name in self._names:
            print(f"--- {name} printed:", *self._output[name], sep="\n")

    def output(self, name: str) -> str:
        """Return everything a process has printed so far, over all its starts."""
        return "\n".join(self._output[name])

    def events(self, name: str, event: str) -> list[dict[str, Any]]:
        """Return the structured log lines of one event."""
        lines = [json.loads(line) for line in list(self._output[name]) if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def wait_until_ready(self) -> None:
        """Return once `/readyz` says that nothing is missing."""
        self._wait_for_answer("/readyz")

    def wait_until_alive(self) -> None:
        """Return once the web process answers."""
        self._wait_for_answer("/healthz")

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        token: str | None = CALLER_TOKEN,
        timeout_s: float = 30.0,
    ) -> Answer:
        """Send one request over a connection of its own; `bytes` go as they are, anything else as JSON."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, bytes):
            sent.setdefault("Content-Type", "application/json")
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, raw, sent)
            response = connection.getresponse()
            return Answer(response.status, CIMultiDict(response.getheaders()), response.read().decode())
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Answer:
        """GET a path."""
        return self.request("GET", path, **options)

    def post(self, body: object, **options: Any) -> Answer:
        """POST to `/v1/operations`."""
        return self.request("POST", "/v1/operations", body, **options)

    def track(self, operation_url: str, **fields: Any) -> str:
        """Have an operation tracked that was not before; returns the tracking's id."""
        answer = self.post({"operation_url": operation_url, **fields})
        assert answer.status == 202, answer
        identity: str = answer.json()["id"]
        return identity

    def show(self, identity: str) -> dict[str, Any]:
        """Return a tracking as it stands."""
        answer = self.get(f"/v1/operations/{identity}")
        assert answer.status == 200, answer
        shown: dict[str, Any] = answer.json()
        return shown

    def wait_for_state(self, identity: str, state: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return the tracking as soon as it is in `state`; raises Unmet when it ends otherwise, or not in time."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            left_s = max(0, round(deadline_s - time.monotonic()))
            prefer = {"Prefer": f"wait={min(WAIT_STEP_S, left_s)}"}
            shown: dict[str, Any] = self.get(f"/v1/operations/{identity}", headers=prefer).json()
            if shown.get("state") == state:
                return shown
            if shown.get("state") != "tracking" or time.monotonic() >= deadline_s:
                message = f"waited for {state}, got {json.dumps(shown, indent=1)}"
                raise Unmet(message)

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

    def _wait_for_answer(self, path: str) -> None:
        last: list[str] = []

        def answered() -> bool:
            if not self.running("web"):
                raise Unmet(f"web has ended\n{self.output('web')}")
            try:
                answer = self.get(path, token=None, timeout_s=5)
            except (OSError, HTTPException) as error:
                last[:] = [repr(error)]
                return False
            last[:] = [answer.text]
            return answer.status == 200

        try:
            wait_until(answered, what=path)
        except Unmet as error:
            outputs = "\n".join(f"{name}: {self.output(name)}" for name in self._names)
            raise Unmet(f"{error}; {last}\n{outputs}") from error
