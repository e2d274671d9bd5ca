"""Starts a program in a session of its own, so that a terminal's Ctrl-C does not reach it."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

SHIM = Path(__file__).with_name("die_with_parent.py")


def spawn(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    output: int | IO[bytes],
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program whose process group is its pid, and which on Linux does not outlive this process.

    Call it from the main thread: Linux takes the end of the *thread* that started a program for its parent's end.
    Standard output and error both go to `output`; standard input is empty. Raises OSError.
    """
    # -I and -S: the shim must not be changed by the program's environment, and should cost little (about 20 ms).
    shim = [sys.executable, "-I", "-S", str(SHIM), str(os.getpid())] if sys.platform == "linux" else []
    return subprocess.Popen(  # noqa: S603 - what to run is decided by the Procfile and by us
        [*shim, *argv],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=pass_fds,
        start_new_session=True,
    )
