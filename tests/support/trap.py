"""A port that must get no connection."""

import socket
from contextlib import suppress


class Trap:
    """Listens on one loopback port of IPv4 and IPv6. Connections wait in the backlog, and are counted."""

    def __init__(self) -> None:
        self._listeners = [socket.create_server(("127.0.0.1", 0))]
        self.port: int = self._listeners[0].getsockname()[1]
        with suppress(OSError):  # a container may have no IPv6, and then no connection by it
            self._listeners.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        for listener in self._listeners:
            listener.settimeout(0)

    @property
    def caught(self) -> int:
        """Count the connections since the last call, and close them."""
        count = 0
        for listener in self._listeners:
            try:
                while True:
                    listener.accept()[0].close()
                    count += 1
            except BlockingIOError:
                continue
        return count

    def close(self) -> None:
        """Release the port."""
        for listener in self._listeners:
            listener.close()
