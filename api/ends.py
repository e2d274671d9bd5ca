"""Ends are heard of through one Redis subscription a process; it wakes the requests that wait for them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from config.web import STOPPING
from operations.storage import Redis, RedisError
from operations.storage.index import ENDED, group_key

log = structlog.get_logger()

_LISTENS_S = 0.5
"""How long it listens before it sees whether the process is to stop, and pauses before it tries to subscribe again."""


class Ends:
    """Wakes requests when what they wait for has ended. Messages may be lost: a request also has to look by itself."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection
        self._waiting: dict[str, set[threading.Event]] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def awaited(self, name: str) -> Iterator[threading.Event]:
        """Give an event that is set when a tracking ends, or a member of a group (`name` is its `group_key`).

        It is set as well when the subscription begins anew, since messages may have been lost, and when the process is
        to stop.
        """
        if self._thread is None:  # not before the first request: gunicorn forks after it has built the app
            self._thread = threading.Thread(target=self._run, name="ends", daemon=True)
            self._thread.start()
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
        if self._thread is not None:
            self._thread.join(2 * _LISTENS_S)

    def _run(self) -> None:
        deaf = False
        while not self._stopped.is_set():
            try:
                self._listen()
            except RedisError as error:
                if not deaf:
                    log.warning("ends are not heard of at the moment", error=type(error).__name__)
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

    def _wake(self, *names: str) -> None:
        for name in names:
            for event in self._waiting.get(name, ()):
                event.set()
