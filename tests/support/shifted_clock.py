"""A Valkey whose clock can be set: a small library, compiled here, is loaded into the server."""

import shutil
import struct
import subprocess
from pathlib import Path

from local.valkey import Valkey

SOURCE = Path(__file__).with_suffix(".c")


class ShiftedValkey(Valkey):
    """A server whose clock differs from ours by `shift` seconds. Needs a C compiler and Linux."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        compiler, library = shutil.which("cc"), directory / "shifted_clock.so"
        assert compiler is not None, "this test needs a C compiler: install the packages gcc and libc6-dev"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True)
        self._file = directory / "shift"
        self.shift(0)
        super().__init__(directory / "data")
        self._env = {**self._env, "LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self._file)}

    def shift(self, seconds: int) -> None:
        """Set the server's clock: this many seconds ahead of ours."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))
