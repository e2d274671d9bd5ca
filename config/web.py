"""What the web server and the app both have to know."""

import threading

STOPPING = threading.Event()
"""Set in a web process that was told to stop: nobody waits on in it."""

MOST_ARRIVING = 1_000
"""Connections of one process that are idle, or in the middle of a request; each takes some 22 kB."""

MOST_WAITING = 4_000
"""Requests of one process that wait for an end (`Prefer: wait`)."""

MOST_CONNECTIONS = 6_000
"""All connections of one process; beyond it, new ones wait to be accepted."""

LARGEST_BODY_BYTES = 64 * 1024
