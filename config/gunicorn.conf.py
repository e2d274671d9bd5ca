"""How gunicorn serves `web`.

https://docs.gunicorn.org/en/stable/settings.html
"""

from gevent import monkey

monkey.patch_all()  # before anything else is imported: what is imported first keeps what blocks

import os
import resource
import sys

from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger

from config import settings
from config.redis import connect, say_storage_faults
from config.web import MOST_CONNECTIONS
from operations.errors import ConfigError

try:
    loaded = settings.load(os.environ)
except ConfigError as error:
    # Here, not in the app: a process that ends while it imports the app is started again for ever.
    sys.exit("Opwatch cannot start; mend these settings:\n" + "\n".join(f"  - {fault}" for fault in error.faults))

worker_class = "config.web_worker.WebWorker"
worker_connections = MOST_CONNECTIONS
http_parser = "python"
preload_app = True  # the processes share the memory of what is imported once
timeout = 30
graceful_timeout = 27  # Prefer: wait may hold a request for 25 s; a PaaS kills after 30 s
keepalive = 5
bind = f"0.0.0.0:{loaded.port}"
workers = loaded.web_concurrency
limit_request_line = 4094
control_socket_disable = True  # it lies in the home directory by default: two instances would steal it from each other
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112 - the heartbeat file, off slow disks
forwarded_allow_ips = ""  # no header of a proxy is needed, and none is believed
forwarder_headers = ""  # not SCRIPT_NAME either: it would rewrite paths
_STORAGE_ASKED_WITHIN_S = 1.0
_OTHER_FILES = 200
accesslog = None  # the app writes one structured line a request
loglevel = "warning"


class Log(Logger):  # type: ignore[misc]
    """Writes gunicorn's own lines as all others are written (one line each, escaped), on standard output."""

    def setup(self, cfg: Config) -> None:
        """Leave the writing to the handler of `config.logs`."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


logger_class = Log


def _allow_files(wanted: int) -> None:
    """Raise the limit of open files, as far as that is allowed: each connection is one, and 1,024 are usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


_allow_files(MOST_CONNECTIONS + _OTHER_FILES)


def when_ready(_arbiter: Arbiter) -> None:
    """Say once, before the processes are made, what Redis lacks. The connection is not shared with them."""
    with connect(loaded, timeout_s=_STORAGE_ASKED_WITHIN_S) as connection:
        say_storage_faults(connection)
