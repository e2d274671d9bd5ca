"""Everything a journey needs, running: the service, its Valkey, and the stand-ins around it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.valkey import Valkey
from standin.api import DEFAULT_TOKENS, ScalingoApi
from tests.support.receiver import Receiver, RequestReceived
from tests.support.running import UNHURRIED, Opwatch

Measure = Callable[[str, object], None]
"""pytest's `record_property`: what a journey measures, in seconds, is printed after the last test."""


@dataclass(frozen=True)
class Stage:
    """One running service and its neighbours."""

    valkey: Valkey
    scalingo: ScalingoApi
    receiver: Receiver
    opwatch: Opwatch

    def told(self, path: str, about: str) -> list[RequestReceived]:
        """List what came in on a path so far about an app (or whatever else a body holds)."""
        return [seen for seen in self.receiver.requests if seen.path == path and about.encode() in seen.body]


@contextmanager
def staged(directory: Path, *, limit: int | None = None, unhurried: bool = True, **options: Any) -> Iterator[Stage]:
    """Run a service; `limit` is what the API takes a minute, `options` are those of `Opwatch`."""
    settings = {**(UNHURRIED if unhurried else {}), **options.pop("settings", {})}
    with (
        Valkey(directory / "data") as valkey,
        ScalingoApi(DEFAULT_TOKENS, limit=limit) as scalingo,
        Receiver() as receiver,
        Opwatch(valkey.url, scalingo, receiver, settings=settings, **options) as opwatch,
    ):
        yield Stage(valkey, scalingo, receiver, opwatch)


def document(request: RequestReceived) -> Any:
    """Read the body of a request."""
    return json.loads(request.body)


def preformatted(message: dict[str, Any]) -> str:
    """Read the text of a Slack message's one preformatted block."""
    texts = [
        part["text"]
        for block in message["blocks"]
        if block["type"] == "rich_text"
        for element in block["elements"]
        if element["type"] == "rich_text_preformatted"
        for part in element["elements"]
    ]
    assert len(texts) == 1, message
    return str(texts[0])
