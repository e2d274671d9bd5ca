"""bin/opwatch in different shells."""

import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.running import ROOT

SCRIPT = ROOT / "bin" / "opwatch"
SHELLS: Mapping[str, tuple[str, ...]] = {"dash": ("dash",), "busybox": ("busybox", "sh"), "bash": ("bash",)}
"""Shells, by the Debian package of each."""

PATIENCE_S = 60.0
SLEEP = '#!/bin/sh\necho "$1" >>"$SLEPT"\n'
APPLETS = ("awk", "cat", "mktemp", "rm", "sed", "tail", "tr")
"""Tools of the script. In busybox's shell, its own are used."""


@dataclass(frozen=True)
class Ran:
    """The result of a run."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Script:
    """The script with its settings. Its pauses take no time, and are noted: `slept` lists them, in seconds."""

    shell: tuple[str, ...]
    directory: Path
    env: dict[str, str] = field(repr=False)

    @classmethod
    def in_shell(cls, package: str, directory: Path, *, url: str, token: str) -> "Script":
        """Set the script up. Raises AssertionError, with the package, if the shell is missing."""
        program, *applet = SHELLS[package]
        found = shutil.which(program)
        assert found, f"no {program} here: apt-get install {package}"
        sleep = directory / "sleep"
        sleep.write_text(SLEEP, encoding="utf-8")
        sleep.chmod(0o755)
        if package == "busybox":
            for applet_name in APPLETS:
                (directory / applet_name).symlink_to(found)
        env = {
            "PATH": f"{directory}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(directory),
            "SLEPT": str(directory / "slept"),
            "OPWATCH_URL": url,
            "OPWATCH_TOKEN": token,
        }
        return cls((found, *applet), directory, env)

    @property
    def slept(self) -> list[int]:
        """The pauses made so far."""
        noted = self.directory / "slept"
        return [int(line) for line in noted.read_text().split()] if noted.exists() else []

    def run(self, *arguments: str, stdin: str | bytes = "", options: Sequence[str] = (), **env: str) -> Ran:
        """Run it to its end; `options` are the shell's, `env` changes its environment."""
        ran = subprocess.run(
            [*self.shell, *options, str(SCRIPT), *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            env={**self.env, **env},
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())

    def run_in_shell(self, source: str, **env: str) -> Ran:
        """Run a line of shell, with the script as `$opwatch`; for redirections."""
        command = shlex.join([*self.shell, str(SCRIPT)])
        ran = subprocess.run(
            [*self.shell, "-c", source.replace("$opwatch", command)],
            env={**self.env, **env},
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())

    def run_on_terminal(self, *arguments: str) -> Ran:
        """Run it to its end with standard error on a terminal. Returns the raw line ends and control sequences."""
        ours, theirs = pty.openpty()
        try:
            process = subprocess.Popen(
                [*self.shell, str(SCRIPT), *arguments],
                env={**self.env, "TERM": "xterm"},
                stdout=subprocess.PIPE,
                stderr=theirs,
                text=True,
            )
            os.close(theirs)
            shown = _everything(ours)
            out, _ = process.communicate(timeout=PATIENCE_S)
        finally:
            os.close(ours)
        return Ran(process.returncode, out, shown)

    @contextmanager
    def running(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """Run it in its own process group, as a terminal does, so that Ctrl-C reaches all its processes."""
        # A shell's background processes ignore Ctrl-C, and so do their children.
        ours = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(
            [*self.shell, str(SCRIPT), *arguments],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        signal.signal(signal.SIGINT, ours)
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _everything(terminal: int) -> str:
    """Read a terminal until its other end is closed."""
    seen = b""
    deadline_s = time.monotonic() + PATIENCE_S
    while (left_s := deadline_s - time.monotonic()) > 0:
        readable, _, _ = select.select([terminal], [], [], left_s)
        try:
            part = os.read(terminal, 4096) if readable else b""
        except OSError:  # Linux raises this when all have closed it
            break
        if not part:
            break
        seen += part
    return seen.decode()
