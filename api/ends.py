"""Wakes the requests that wait for an operation's end, by one Redis subscription per process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog

from config.web import STOPPING
from operations.storage import Redis, RedisError
from operations.storage.index import DUE, ENDED, group_key

log = structlog.get_logger()

LOOKS_S = 5.0
"""How often it checks for ends whose message was lost."""

_LISTENS_S = 0.5
"""How often it checks whether the process has to stop, and the pause before it subscribes again."""


class Ends:
    """Wakes requests when their operation or group has ended; within seconds even if the message was lost."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection
        self._waiting: dict[str, set[threading.Event]] = {}
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    @contextmanager
    def awaited(self, name: str) -> Iterator[threading.Event]:
        """Provide an event that is set when a tracking, or a member of a group (`name` is its `group_key`), ends.

        It may be set without an end: when the subscription restarts, every few seconds for a group, and when the
        process stops.
        """
        if not self._threads:  # at the first request, since gunicorn forks after it has built the app
            self._threads = [threading.Thread(target=run, daemon=True) for run in (self._run, self._look)]
            for thread in self._threads:
                thread.start()
        event = threading.Event()
        self._waiting.setdefault(name, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[name].discard(event)
            if not self._waiting[name]:
                del self._waiting[name]

    def stop(self) -> None:
        """End the subscription."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(2 * _LISTENS_S)

    def _run(self) -> None:
        deaf = False
        while not self._stopped.is_set():
            try:
                self._listen()
            except RedisError as error:
                if not deaf:
                    log.warning("waiting requests are not woken at the moment", error=type(error).__name__)
            deaf = True
            self._stopped.wait(_LISTENS_S)

    def _listen(self) -> None:
        with self._connection.pubsub() as subscription:  # type: ignore[no-untyped-call]
            subscription.subscribe(ENDED)
            while not self._stopped.is_set():
                message = subscription.get_message(timeout=_LISTENS_S)
                if STOPPING.is_set() or (message is not None and message["type"] == "subscribe"):
                    self._wake(*self._waiting)
                elif message is not None and message["type"] == "message":
                    identity, _, group = message["data"].decode(errors="replace").partition(" ")
                    self._wake(identity, group_key(group))

    def _look(self) -> None:
        while not self._stopped.wait(LOOKS_S):
            with suppress(RedisError):
                self._wake(*self._no_longer_due())

    def _no_longer_due(self) -> list[str]:
        """Find ended names in one round trip, without reading records. A group is never due."""
        names = list(self._waiting)
        pipe = self._connection.pipeline(transaction=False)
        for name in names:
            pipe.zscore(DUE, name)
        return [name for name, score in zip(names, pipe.execute(), strict=True) if score is None]

    def _wake(self, *names: str) -> None:
        for name in names:
            for event in self._waiting.get(name, ()):
                event.set()
