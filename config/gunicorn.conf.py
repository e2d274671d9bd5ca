"""How gunicorn serves `web`. It takes the port from PORT and the number of processes from WEB_CONCURRENCY by itself.

https://docs.gunicorn.org/en/stable/settings.html
"""

import os
import sys

from config import settings
from config.web import THREADS
from operations.errors import ConfigError

try:
    settings.load(os.environ)
except ConfigError as error:
    # Here, not in the app: a process that ends while it imports the app is started again for ever.
    sys.exit("Opwatch cannot start; mend these settings:\n" + "\n".join(f"  - {fault}" for fault in error.faults))

worker_class = "gthread"
threads = THREADS
preload_app = True  # the processes share the memory of what is imported once
timeout = 30
graceful_timeout = 27  # Prefer: wait may hold a request for 25 s; a PaaS kills after 30 s
keepalive = 5
limit_request_line = 4094
control_socket_disable = True  # it lies in the home directory by default: two instances would steal it from each other
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112 - the heartbeat file, off slow disks
forwarded_allow_ips = ""  # no header of a proxy is needed, and none is believed
forwarder_headers = ""  # not SCRIPT_NAME either: it would rewrite paths
accesslog = None  # the app writes one structured line a request
loglevel = "warning"
