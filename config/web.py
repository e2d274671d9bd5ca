"""What the web server and the app both have to know."""

THREADS = 8
"""Requests that one web process handles at once; at most half of them may wait for an end (`Prefer: wait`)."""

LARGEST_BODY_BYTES = 64 * 1024
