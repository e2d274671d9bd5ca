"""`python -m local`: runs the whole service on this machine until Ctrl-C, or until one of its processes ends."""

import argparse
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from types import FrameType

from local.http import responds
from local.processes import GRACE_S, LocalError, TooLateError, wait_until
from local.service import API_TOKEN, ROOT, START_S, Service
from local.settings import Settings, keep_for_admin, read_settings
from local.valkey import START_TIMEOUT_S

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2
FAILURES = (LocalError, OSError, UnicodeError)
NAME_WIDTH = 6
POLL_S = 0.1
READY_POLL_S = 0.5
"""`web` logs each answer that says it is not ready."""

READY_S = 15.0
"""How long to wait for `/readyz` before telling the user what is missing."""
SAME_REQUEST_S = 0.5
"""Two signals can be one request: `timeout make run` signals the whole group, and make forwards its signal."""
HURRIED = 130
"""The exit code after a second Ctrl-C."""
SAMPLE_ERROR = "container web-1 failed to start: listen tcp :5000: bind: address already in use"
SAMPLE_OUTPUT = """-----> Node.js app detected
       $ npm run build
       src/cart.ts(14,7): error TS2322: Type 'string' is not assignable to type 'number'.
 !     Error deploying the application
 !     → Invalid return code from buildpack
"""
SAMPLES: tuple[tuple[str, str, float, dict[str, str]], ...] = (
    ("shop", "restart", 4.0, {}),
    ("blog", "scale", 7.0, {"outcome": "error", "error": SAMPLE_ERROR}),
    ("cart", "deployment", 9.0, {"kind": "deployment", "outcome": "build-error", "output": SAMPLE_OUTPUT}),
)
"""App, type, duration and, if it fails, how."""


class StopRequested(BaseException):
    """The user wants to stop; raised between two steps only."""


class Console:
    """Prints whole lines from any thread, each after the name of its process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def say(self, name: str, text: str) -> None:
        """Print `name   | text`, for each line of the text."""
        self.show("\n".join(f"{name:<{NAME_WIDTH}} | {line}" for line in text.splitlines() or [""]))

    def show(self, text: str) -> None:
        """Print the text as it is."""
        # If the reader has gone (`make run | head`), children must still be able to write, and be stopped. Nothing is
        # kept: Python would try to write it again at the end, and fail.
        with self._lock, suppress(OSError):
            os.write(STANDARD_OUTPUT, f"{text}\n".encode(errors="backslashreplace"))


class Run:
    """One run of the service. If one process ends, all end."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings = settings
        self._console = console
        self._say = partial(console.say, "local")
        self._service = Service(settings.env, settings.token, lambda name: partial(console.say, name), settings.root)
        self._stops = 0
        self._last_stop_s = float("-inf")

    def request_stop(self, _number: int, _frame: FrameType | None) -> None:
        """Note a signal. Raising an exception here could lose a process that has just started."""
        now_s = time.monotonic()
        if now_s - self._last_stop_s >= SAME_REQUEST_S:
            self._stops += 1
            self._last_stop_s = now_s

    def run(self) -> int:
        """Return the exit code: 0 when told to stop, 130 when told twice, 1 when a process has ended or cannot run."""
        code = 1
        try:
            self._start()
            self._greet()
            self._wait(lambda: False, float("inf"), "the end")
        except StopRequested:
            self._say(f"stopping; web and worker get up to {GRACE_S:g} s to finish (Ctrl-C again to hurry)")
            code = 0
        except FAILURES as error:
            self._say(f"{reason(error)}\nstopping everything")
        finally:
            before = self._stops
            self._settings.for_admin.unlink(missing_ok=True)
            self._service.stop(GRACE_S, hurry=lambda: self._stops > before)
            self._say("everything has stopped")
        return HURRIED if 0 < before < self._stops else code

    def _start(self) -> None:
        service = self._service
        if self._settings.brings_valkey:
            self._say(f"no REDIS_URL is set: an embedded Valkey keeps its data in {self._settings.data}")
            valkey = service.launch_valkey(self._settings.data)
            self._wait(valkey.ready, START_TIMEOUT_S, "Valkey's answer")
        if self._settings.uses_standin:
            self._say("no SCALINGO_API_TOKEN is set: starting a stand-in Scalingo API")
            service.launch_standin()
            self._wait(lambda: responds(f"{service.api}/_standin/requests"), START_S, "the stand-in Scalingo API")
        for name in ("web", "worker"):
            service.add(name).start()
        keep_for_admin(self._settings.for_admin, service.env, os.environ)

    def _greet(self) -> None:
        """Wait until the service is ready, track the samples, and show how to use the service."""
        try:
            self._wait(lambda: not self._service.missing(), READY_S, "/readyz", every_s=READY_POLL_S)
        except TooLateError:
            self._say(f"the service is not ready: {self._service.missing()}")
        samples = []
        for app, kind, duration_s, failure in SAMPLES if self._settings.uses_standin else ():
            try:
                url = self._service.begin(app, type=kind, duration_s=duration_s, **failure)
                samples.append(self._service.track(url, app=app))
            except (OSError, HTTPException, LocalError) as error:
                self._say(f"could not track a {kind} of {app}: {error}")
            else:
                self._say(f"tracking a {kind} of {app}, which {'fails' if failure else 'succeeds'} in {duration_s:g} s")
        self._console.show(welcome(self._settings, self._service.api, samples))

    def _wait(self, condition: Callable[[], bool], timeout_s: float, what: str, *, every_s: float = POLL_S) -> None:
        """Wait until the condition holds. Raises StopRequested; LocalError if it times out or a process ends."""

        def met() -> bool:
            if self._stops:
                raise StopRequested
            return condition()

        wait_until(met, *self._service.needs, *self._service.children, timeout_s=timeout_s, what=what, every_s=every_s)


def welcome(settings: Settings, api: str, samples: Sequence[str]) -> str:
    """Say how to use the service. `api` is the stand-in's address, if any; `samples` are the ids of its operations."""
    look = f"curl -H {shlex.quote(f'Authorization: Bearer {settings.token}')} {settings.url}/v1/operations"
    script = f"OPWATCH_URL={settings.url} OPWATCH_TOKEN={shlex.quote(settings.token)} bin/opwatch"
    about, title, command = [], "Track an operation", f"{script} track '<the Location header>' --wait"
    if api:
        about = [
            f"  No SCALINGO_API_TOKEN is set, so a stand-in Scalingo API runs on {api}.",
            "  For the real one, put SCALINGO_API_TOKEN=tk-us-… into .env and start again.",
            "",
        ]
        exchange = f"curl -s -X POST -u :{API_TOKEN} {api}/v1/tokens/exchange | cut -d'\"' -f4"
        restart = f'curl -si -X POST -H "Authorization: Bearer $({exchange})" {api}/v1/apps/shop/restart'
        title, command = "Restart an app, and wait for its end", f"{restart} | {script} track - --wait"
    lines = [
        "",
        f"  Opwatch runs on {settings.url} (Ctrl-C stops it and loses nothing)",
        "",
        *about,
        f"  {title}, in another terminal:",
        "",
        command,
        "",
        "  Look at all of them, or at one:",
        "",
        look,
        *[f"{look}/{sample}" for sample in samples or ["'<id>'"]],
        "",
        f"  Or see them in a browser: {settings.url}/ (sign in with the token {settings.token})",
        "  Commands for operators: .venv/bin/python -m admin --help",
        "",
    ]
    return "\n".join(lines)


def reason(error: Exception) -> str:
    """Say why the service cannot run."""
    if isinstance(error, OSError):
        return f"the service cannot run here: {error.strerror}{f': {error.filename}' if error.filename else ''}"
    if isinstance(error, UnicodeError):
        return ".env, Procfile and var/token must be UTF-8"
    return str(error)


def main() -> int:
    """Return the exit code of `Run.run`; 1 when the service cannot be run (stdout says why)."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="where Procfile and .env are")
    root: Path = parser.parse_args().root.resolve()
    while (spare := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        pass  # If a standard stream is closed, the next file would get its number.
    os.close(spare)
    console = Console()
    try:
        run = Run(read_settings(root, os.environ), console)
    except FAILURES as error:
        console.say("local", reason(error))
        return 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, run.request_stop)
    return run.run()


if __name__ == "__main__":
    sys.exit(main())
