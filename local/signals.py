"""Signals as something to wait for, so that none interrupts a step halfway."""

import os
import select
import signal
import time
from contextlib import suppress
from types import FrameType
from typing import Any, Self

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_REQUEST_S = 0.5
"""One wish may come twice: `timeout make run` signals the group, and make hands its own signal on."""


class Signals:
    """Counts requests to stop (Ctrl-C, SIGTERM, a closed terminal); `wait` wakes up for them and for children's ends.

    A KeyboardInterrupt could strike between a process's start and the note that it was started: it would stay behind.
    Main thread only.
    """

    def __init__(self) -> None:
        self.stops = 0
        self._last_stop_s = float("-inf")

    def __enter__(self) -> Self:
        """Take over the signals."""
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._wakeup_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._handlers_before: dict[signal.Signals, Any] = {}
        for number in (*STOPS, signal.SIGCHLD):
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup
            self._handlers_before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_error: object) -> None:
        """Give the signals back."""
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._read)
        os.close(self._write)

    def wait(self, timeout_s: float) -> None:
        """Return at the next signal, at once if one came since the last wait, or after `timeout_s`."""
        if select.select([self._read], [], [], timeout_s)[0]:
            with suppress(BlockingIOError):
                os.read(self._read, 4096)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number not in STOPS:
            return
        now_s = time.monotonic()
        if now_s - self._last_stop_s >= SAME_REQUEST_S:
            self.stops += 1
            self._last_stop_s = now_s
