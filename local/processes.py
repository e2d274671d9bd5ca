"""Processes as a Procfile describes them, and the lines that they print."""

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from os import killpg
from pathlib import Path
from typing import IO, TextIO

from local.errors import ProcfileError
from local.spawn import spawn

NAME_WIDTH = 6
LAST_OUTPUT_S = 2.0
GRACE_S = 30.0
"""What a PaaS grants a process after SIGTERM."""


class Console:
    """Prints whole lines from any thread, each after the name of who said it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def say(self, name: str, text: str) -> None:
        """Print `name   | text`, for each line of the text."""
        self.show("\n".join(f"{name:<{NAME_WIDTH}} | {line}" for line in text.splitlines() or [""]))

    def show(self, text: str) -> None:
        """Print the text as it is, and nothing of anybody else's in between."""
        # With the reader gone (`make run | head`), children must still be able to write, and to be stopped.
        with self._lock, suppress(OSError):
            self._stream.write(f"{text}\n")
            self._stream.flush()


class Child:
    """One process in a session of its own, whose output goes to the console line by line.

    `argv` may be changed for the next start. `on_line` sees each line, in a thread of its own. Start it from the main
    thread (see `spawn`).
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        console: Console,
        on_line: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.name = name
        self.argv = tuple(argv)
        self._cwd = cwd
        self._env = env
        self._console = console
        self._on_line = on_line
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread()
        self._exit_code: int | None = None

    @property
    def pid(self) -> int | None:
        """The process id, which is the process group's, too; None before the first start."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether it is running."""
        return self._process is not None and self.poll() is None

    def start(self) -> None:
        """Start it, again if it has ended; does nothing while it runs. Raises OSError."""
        if self.alive:
            return
        self._exit_code = None
        self._process = spawn(self.argv, cwd=self._cwd, env=self._env, output=subprocess.PIPE)
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), name=f"output of {self.name}", daemon=True
        )
        self._reader.start()

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal) once it has ended, None while it runs, or before it ever did.

        By then its last words are on the console, and whatever it left in its process group is gone.
        """
        if self._process is not None and self._exit_code is None and self._process.poll() is not None:
            self._bury(self._process)
        return self._exit_code

    def terminate(self) -> None:
        """Ask the process (not its group) to end, with SIGTERM."""
        if self._process is not None and self.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End its whole group with SIGKILL and return when the process is gone."""
        if self._process is not None and self.poll() is None:
            with suppress(ProcessLookupError):
                killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._bury(self._process)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Ask it to end, and kill its group if it has not after `grace_s`."""
        stop_all([self], grace_s)

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        """Take leave of a process that has ended; afterwards its number may be somebody else's and is not used."""
        # What it left behind would hold its port and its output. macOS says PermissionError of a group of zombies.
        with suppress(ProcessLookupError, PermissionError):
            killpg(process.pid, signal.SIGKILL)
        self._reader.join(LAST_OUTPUT_S)
        self._exit_code = process.returncode

    def _read(self, output: IO[bytes]) -> None:
        with output:
            for raw in output:
                line = raw.decode(errors="replace").rstrip("\r\n")
                self._console.say(self.name, line)
                self._on_line(line)


def stop_all(
    children: Sequence[Child],
    grace_s: float,
    *,
    hurry: Callable[[], bool] = lambda: False,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Ask all at once to end, and kill the groups of those that have not after `grace_s`, or when told to `hurry`.

    `wait` waits for the given seconds at most.
    """
    for child in children:
        child.terminate()
    deadline_s = time.monotonic() + grace_s
    while any(child.alive for child in children) and time.monotonic() < deadline_s and not hurry():
        wait(0.02)
    for child in children:
        child.kill()


def read_procfile(path: Path) -> dict[str, str]:
    """Return the command of each process type; raises ProcfileError if a line is not `name: command`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise ProcfileError(message) from error
    commands: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9_-]+):\s*(\S.*?)\s*", line)
        if match is None or match[1] in commands:
            message = f"{path}, line {number}: expected one `name: command` for each name, found {line!r}"
            raise ProcfileError(message)
        commands[match[1]] = match[2]
    return commands


def shell(command: str) -> tuple[str, ...]:
    """Return the argv that runs a Procfile's command the way a PaaS does."""
    return ("/bin/sh", "-c", command)
