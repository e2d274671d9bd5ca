"""The stage of a journey: the running service, its Valkey, and stand-ins for the services around it."""

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
"""pytest's `record_property`: the seconds that a journey measures are printed after the last test."""


@dataclass(frozen=True)
class Stage:
    """One running service, and the stand-ins around it."""

    valkey: Valkey
    scalingo: ScalingoApi
    receiver: Receiver
    opwatch: Opwatch

    def told(self, path: str, about: str) -> list[RequestReceived]:
        """List the requests to a path whose body has this text, such as an app's name."""
        return [seen for seen in self.receiver.requests if seen.path == path and about.encode() in seen.body]


@contextmanager
def staged(
    directory: Path,
    *,
    limit: int | None = None,
    unhurried: bool = True,
    server: type[Valkey] = Valkey,
    redis_url: Callable[[Valkey], str] = lambda valkey: valkey.url,
    **options: Any,
) -> Iterator[Stage]:
    """Run a service. `limit` is the API's limit a minute; `options` are those of `Opwatch`.

    `redis_url` prepares the server, and returns the value of REDIS_URL.
    """
    settings = {**(UNHURRIED if unhurried else {}), **options.pop("settings", {})}
    with (
        server(directory / "data") as valkey,
        ScalingoApi(DEFAULT_TOKENS, limit=limit) as scalingo,
        Receiver() as receiver,
        Opwatch(redis_url(valkey), scalingo, receiver, settings=settings, **options) as opwatch,
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
