"""Child processes: started in a session of their own, watched, and stopped with everything that they started."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO, TypeVar

GRACE_S = 30.0
"""What a PaaS grants a process after SIGTERM."""
LAST_OUTPUT_S = 2.0
LAST_LINES = 12

# Linux kills the child with SIGKILL when this process ends. PR_SET_PDEATHSIG (1) must be set between fork and exec.
# There, Python is not safe in a process with threads, so a separate program sets it.
DIE_WITH_PARENT = """import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]): sys.exit("the parent has ended")
os.execvp(sys.argv[2], sys.argv[2:])"""

Output = Path | Callable[[str], object]
"""Where a child's output goes: to a file, rewritten at each start, or line by line to a function, in a thread."""

T = TypeVar("T")


class LocalError(Exception):
    """The service cannot run on this machine; the message says why."""


class TooLateError(LocalError):
    """A condition did not become true in time."""


class Child:
    """One program in its own session. Start it from the main thread: on Linux it ends with that thread."""

    def __init__(self, name: str, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], output: Output) -> None:
        self.name = name
        self.output = output
        self._argv = argv
        self._cwd = cwd
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread()
        self._exit_code: int | None = None

    @property
    def pid(self) -> int:
        """The process id, and the id of the process group; raises LocalError before the first start."""
        if self._process is None:
            raise LocalError(f"{self.name} was never started")
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self.poll() is None

    def start(self) -> None:
        """Start it, again if it has ended; does nothing while it runs. Raises OSError."""
        if not self.alive:
            self._spawn()

    def _spawn(self, pass_fds: Sequence[int] = ()) -> None:
        self._exit_code = None
        shim = [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(os.getpid())] if sys.platform == "linux" else []
        with nullcontext(subprocess.PIPE) if callable(self.output) else self.output.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the Procfile and we decide what runs
                [*shim, *self._argv],
                cwd=self._cwd,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        if callable(self.output) and self._process.stdout is not None:
            self._reader = threading.Thread(
                target=_read_lines, args=(self._process.stdout, self.output), name=f"output of {self.name}", daemon=True
            )
            self._reader.start()

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal) once it has ended; None before the first start and while it runs.

        When it has ended, its whole output has been forwarded, and its process group is killed.
        """
        if self._process is not None and self._exit_code is None and self._process.poll() is not None:
            # Survivors of the group would hold its port. macOS raises PermissionError for a group of zombies.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            if self._reader.ident is not None:
                self._reader.join(LAST_OUTPUT_S)
            self._exit_code = self._process.returncode
        return self._exit_code

    def check(self) -> None:
        """Raise LocalError if it has ended, with the exit code and the last lines of its log file."""
        code = self.poll()
        if code is None:
            return
        how = f"{self.name} ended with code {code}"
        if code < 0:
            how = f"{self.name} was killed by signal {-code} ({signal.strsignal(-code)})"
        if callable(self.output):
            raise LocalError(how)
        lines = self.output.read_text(errors="replace").splitlines()[-LAST_LINES:]
        raise LocalError("\n".join([f"{how}; its last output ({self.output}):", *(f"  {line}" for line in lines)]))

    def terminate(self) -> None:
        """Send SIGTERM to the process, not to its group."""
        if self._process is not None and self.alive:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End its group with SIGKILL; return when the process has ended."""
        if self._process is not None and self.alive:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self.poll()

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Send SIGTERM, and SIGKILL to its group after `grace_s`."""
        stop_all([self], grace_s)


def _read_lines(stream: IO[bytes], on_line: Callable[[str], object]) -> None:
    with stream:
        for raw in stream:
            on_line(raw.decode(errors="replace").rstrip("\r\n"))


def stop_all(children: Sequence[Child], grace_s: float, *, hurry: Callable[[], bool] = lambda: False) -> None:
    """Send SIGTERM to all at once; kill the groups of those left after `grace_s`, or as soon as `hurry` says so."""
    for child in children:
        child.terminate()
    deadline_s = time.monotonic() + grace_s
    while any(child.alive for child in children) and time.monotonic() < deadline_s and not hurry():
        time.sleep(0.02)
    for child in children:
        child.kill()


def wait_until(condition: Callable[[], T], *children: Child, timeout_s: float, what: str, every_s: float = 0.02) -> T:
    """Return the first true result of the condition.

    Raises TooLateError, which names `what`, after `timeout_s`; LocalError as soon as one of the children has ended.
    """
    deadline_s = time.monotonic() + timeout_s
    while not (result := condition()):
        for child in children:
            child.check()
        if time.monotonic() >= deadline_s:
            raise TooLateError(f"waited {timeout_s:g} s for {what}")
        time.sleep(every_s)
    return result


def read_procfile(path: Path) -> dict[str, str]:
    """Return the command of each process type; raises LocalError unless `web` and `worker` are there."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from error
    commands = dict(re.findall(r"^([A-Za-z0-9_-]+):\s*(\S.*?)\s*$", text, re.MULTILINE))
    if missing := {"web", "worker"} - set(commands):
        raise LocalError(f"{path} does not say how to run {' and '.join(sorted(missing))}")
    return commands
