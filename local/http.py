"""The few HTTP calls to the processes started here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Answer:
    """The status, and the body as it came."""

    status: int
    body: str

    def text(self, field: str) -> str:
        """Return a text field of the JSON object in a 2xx; raises ValueError, quoting the answer, for any other."""
        try:
            value = json.loads(self.body)[field] if HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES else None
        except (ValueError, LookupError, TypeError):
            value = None
        if isinstance(value, str):
            return value
        message = f"it answered {self.status} {self.body[:500]}"
        raise ValueError(message)


def call(method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Send a request, with `body` as JSON, and return whatever is answered; raises OSError if nothing is.

    No proxy of the environment is asked, unlike with urllib: this is all on one machine.
    """
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    content = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request(
            method, parts.path, None if body is None else json.dumps(body), {**content, **(headers or {})}
        )
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(errors="replace").strip())
    except HTTPException as error:
        message = f"{url} gave no proper answer: {error!r}"
        raise OSError(message) from error
    finally:
        connection.close()
