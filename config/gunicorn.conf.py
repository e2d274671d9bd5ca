"""gunicorn's settings for `web`.

https://docs.gunicorn.org/en/stable/settings.html
"""

from gevent import monkey

monkey.patch_all()  # before all other imports: earlier ones would keep blocking sockets and locks

import os
import resource
import sys

from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger

from config import settings, streams
from config.redis import connect, say_storage_faults
from config.web import FEWEST_CONNECTIONS, MOST_CONNECTIONS, OTHER_FILES
from operations.errors import ConfigError

streams.hold()
try:
    loaded = settings.load(os.environ)
except ConfigError as error:
    # Here, not in the app: gunicorn would restart a process that fails in the app for ever.
    sys.exit("Opwatch cannot start. Correct these settings:\n" + "\n".join(f"  - {fault}" for fault in error.faults))

worker_class = "config.web_worker.WebWorker"
worker_connections = MOST_CONNECTIONS
http_parser = "python"
preload_app = True  # the processes share the memory of imported modules
timeout = 30
graceful_timeout = 27  # `Prefer: wait` lasts up to 25 s, and a PaaS kills after 30 s
keepalive = 5
bind = f"0.0.0.0:{loaded.port}"
workers = loaded.web_concurrency
limit_request_line = 4094
control_socket_disable = True  # it is in the home directory, where two instances would conflict
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112 - the heartbeat file, off slow disks
forwarded_allow_ips = ""  # no header of a proxy is needed or trusted
forwarder_headers = ""  # not SCRIPT_NAME either: it would rewrite paths
_STORAGE_ASKED_WITHIN_S = 1.0
accesslog = None  # the app logs each request
loglevel = "warning"


class Log(Logger):  # type: ignore[misc]
    """Writes gunicorn's log lines in the same form as all others (one line each, escaped), on standard output."""

    def setup(self, cfg: Config) -> None:
        """Let the handler of `config.logs` write all lines."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


logger_class = Log


def _allow_files(wanted: int) -> None:
    """Raise the limit of open files: each connection is one, and the usual limit is 1,024, or 256 on macOS."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if MOST_CONNECTIONS < FEWEST_CONNECTIONS:
    sys.exit(f"Opwatch cannot start. It needs {OTHER_FILES + FEWEST_CONNECTIONS} open files: raise `ulimit -n`")
_allow_files(MOST_CONNECTIONS + OTHER_FILES)


def when_ready(_arbiter: Arbiter) -> None:
    """Log faults of Redis's storage once, before the processes are forked. They do not share this connection."""
    with connect(loaded, timeout_s=_STORAGE_ASKED_WITHIN_S) as connection:
        say_storage_faults(connection)
