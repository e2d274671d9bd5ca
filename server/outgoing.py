"""Answers on their way out, to clients that may read slowly."""

from contextlib import suppress
from typing import Any


class Outgoing:
    """A socket as gunicorn's Response uses it, that keeps what the system's buffer does not take."""

    def __init__(self, sock: Any) -> None:
        sock.settimeout(0)
        self._sock = sock
        self.unsent = b""

    def __getattr__(self, name: str) -> Any:
        """Be the socket in everything else."""
        return getattr(self._sock, name)

    def sendall(self, data: bytes) -> None:
        """Send, or keep; raises OSError when the client is gone."""
        self.unsent += data
        self.send_on()

    def send_on(self) -> None:
        """Send more of what is kept; raises OSError when the client is gone."""
        with suppress(BlockingIOError):
            while self.unsent:
                self.unsent = self.unsent[self._sock.send(self.unsent) :]


def send_what_goes(sock: Any, data: bytes) -> None:
    """Send what the system's buffer takes; whoever asked may be gone."""
    with suppress(OSError):
        sock.settimeout(0)
        sock.send(data)
