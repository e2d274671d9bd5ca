"""A reverse proxy that keeps its connections to the server and shares them among clients: Debian's HAProxy."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.running import wait_until

CONFIGURATION = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout queue 60s
listen opwatch
    bind 127.0.0.1:{port}
    http-reuse always
    server web 127.0.0.1:{server} maxconn {most}
"""


@contextmanager
def reverse_proxy(directory: Path, server: int, *, most: int) -> Iterator[int]:
    """Run it in front of a port, with at most `most` connections. Returns its own port."""
    program = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    assert program is not None, "install haproxy"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    file = directory / "haproxy.cfg"
    file.write_text(CONFIGURATION.format(port=port, server=server, most=most), encoding="utf-8")
    with subprocess.Popen([program, "-db", "-f", str(file)]) as running:
        try:
            wait_until(lambda: running.poll() is not None or _listens(port), what="HAProxy listening")
            assert running.poll() is None, "HAProxy has ended"
            yield port
        finally:
            running.kill()


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
