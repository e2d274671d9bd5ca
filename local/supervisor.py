"""Starts everything in its order, keeps it running, and stops it in the opposite order."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from local.errors import LocalError, ProcfileError
from local.keeper import Keeper, Startable
from local.processes import GRACE_S, Child, Console, read_procfile, shell, stop_all
from local.settings import Settings
from local.signals import Signals
from local.standin import StandIn
from local.valkey import START_TIMEOUT_S, Valkey
from local.welcome import Welcome

PROCESS_TYPES = ("web", "worker")
TURN_S = 0.1
STANDIN_START_S = 30.0
STANDIN_GRACE_S = 5.0
WELCOME_END_S = 6.0
HURRIED = 130
"""The exit code after a second Ctrl-C, as a shell would give it after the first."""


class _StopRequested(Exception):  # noqa: N818 - not an error
    """The user wants to stop; raised between two steps only."""


@dataclass(frozen=True)
class _KeptValkey:
    """Valkey as a keeper wants it: what depends on it bears waiting until it answers again."""

    valkey: Valkey
    name: str = "valkey"

    def start(self) -> None:
        self.valkey.launch()

    def poll(self) -> int | None:
        return self.valkey.poll()


class Supervisor:
    """Runs the service until a signal says to stop; afterwards none of its processes is left."""

    def __init__(self, settings: Settings, console: Console, signals: Signals) -> None:
        self._settings = settings
        self._console = console
        self._signals = signals
        self._commands = read_procfile(settings.root / "Procfile")
        for name in PROCESS_TYPES:
            if name not in self._commands:
                message = f"{settings.root / 'Procfile'} does not say how to run `{name}`"
                raise ProcfileError(message)
        self._valkey: Valkey | None = None
        self._standin: StandIn | None = None
        self._children: list[Child] = []
        self._keepers: list[Keeper] = []
        self._greeting: tuple[Welcome, threading.Thread] | None = None

    def run(self) -> int:
        """Return the exit code: 0 when told to stop, 130 when told twice, 1 when the service cannot be run."""
        code = 0
        try:
            self._start()
            self._until(lambda: False)
        except _StopRequested:
            self._say(f"stopping; web and worker get up to {GRACE_S:g} s to finish (Ctrl-C again to hurry)")
        except LocalError as error:
            self._say(str(error))
            code = 1
        finally:
            before = self._signals.stops
            self._stop()
        return HURRIED if before and self._signals.stops > before else code

    def _start(self) -> None:
        env = dict(self._settings.env)
        if self._settings.brings_valkey:
            env["REDIS_URL"] = self._start_valkey()
        if self._settings.uses_standin:
            env |= self._start_standin()
        web, worker = (self._start_child(name, env) for name in PROCESS_TYPES)
        welcome = Welcome(self._settings, self._standin, self._console, on_answer=web.worked, on_ready=worker.worked)
        thread = threading.Thread(target=welcome.run, name="welcome", daemon=True)
        self._greeting = (welcome, thread)
        thread.start()

    def _start_valkey(self) -> str:
        self._valkey = Valkey(self._settings.data)
        self._valkey.launch()
        self._say(f"no REDIS_URL is set: an embedded Valkey keeps its data in {self._settings.data}")
        if not self._until(self._valkey.ready, START_TIMEOUT_S):
            message = f"Valkey did not answer within {START_TIMEOUT_S:g} s"
            raise LocalError(message)
        self._keep(_KeptValkey(self._valkey)).worked()
        return self._valkey.url

    def _start_standin(self) -> Mapping[str, str]:
        self._standin = StandIn(self._settings.root, self._settings.env, self._console)
        self._say("no SCALINGO_API_TOKEN is set: starting a stand-in Scalingo API")
        self._standin.child.start()
        keeper = self._keep(self._standin.child)
        if not self._until(lambda: self._standin is not None and self._standin.listening, STANDIN_START_S):
            message = f"the stand-in Scalingo API did not say within {STANDIN_START_S:g} s where it listens"
            raise LocalError(message)
        keeper.worked()
        return self._standin.env

    def _start_child(self, name: str, env: Mapping[str, str]) -> Keeper:
        child = Child(name, shell(self._commands[name]), cwd=self._settings.root, env=env, console=self._console)
        self._children.append(child)
        child.start()
        return self._keep(child)

    def _keep(self, process: Startable) -> Keeper:
        keeper = Keeper(process, self._say, time.monotonic())
        self._keepers.append(keeper)
        return keeper

    def _until(self, condition: Callable[[], bool], timeout_s: float = float("inf")) -> bool:
        """Keep everything running until the condition holds (True) or the time is over (False).

        Raises _StopRequested.
        """
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if self._signals.stops:
                raise _StopRequested
            now_s = time.monotonic()
            if now_s >= deadline_s:
                return False
            for keeper in self._keepers:
                keeper.check(now_s)
            self._signals.wait(TURN_S)
        return True

    def _stop(self) -> None:
        """Stop what uses something before what it uses: web and worker still write while they finish."""
        stops = self._signals.stops
        if self._greeting:
            self._greeting[0].stop()

        def hurry() -> bool:
            return self._signals.stops > stops

        stop_all(self._children, GRACE_S, hurry=hurry, wait=self._signals.wait)
        if self._standin:
            stop_all([self._standin.child], STANDIN_GRACE_S, hurry=hurry, wait=self._signals.wait)
        if self._valkey:
            self._valkey.stop()
        if self._greeting:
            self._greeting[1].join(WELCOME_END_S)
        self._say("everything has stopped")

    def _say(self, text: str) -> None:
        self._console.say("local", text)
