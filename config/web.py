"""What the web server and the app both have to know."""

import threading

STOPPING = threading.Event()
"""Set in a web process that was told to stop: nobody waits on in it."""

THREADS = 8
"""Requests that one web process handles at once; at most half of them may wait for an end (`Prefer: wait`)."""

MOST_CONNECTIONS = 800
"""Those of one process: on their way in or out, idle, or waiting for a thread."""

LARGEST_BODY_BYTES = 64 * 1024
