"""Standard output and error of `web`, the worker and the commands."""

import io
import os
import sys

_STANDARD_STREAMS = 3


def hold() -> None:
    """Prepare the standard streams, before the process opens anything else.

    A closed one is opened on /dev/null: else the next socket would get its number, and receive the log. Text that
    cannot be written is not kept: kept text would fail again at the next write, and change the exit code at the end.
    """
    while (spare := os.open(os.devnull, os.O_RDWR)) < _STANDARD_STREAMS:
        pass
    os.close(spare)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.FileIO(number, "w", closefd=False), "utf-8", "backslashreplace", write_through=True)
        for number in (1, 2)
    )
