"""A plain HTTP client for processes on this machine: one request over one connection, no redirects, no retries."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from multidict import CIMultiDict

from local.processes import LocalError

PROBE_S = 5.0


@dataclass(frozen=True)
class Answer:
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.text)

    def check(self) -> Any:
        """Return the parsed body of a 2xx; raises LocalError, which quotes the answer, for any other."""
        if not self.good:
            raise LocalError(f"the answer was {self.status} {self.text[:500]}")
        return self.json()

    @property
    def good(self) -> bool:
        """Whether it is a 2xx."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


def call(
    method: str, url: str, body: object = None, headers: Mapping[str, str] | None = None, timeout_s: float = 30.0
) -> Answer:
    """Send a request: `bytes` as they are, any other body as JSON. Raises OSError or HTTPException without an answer.

    It uses no proxy of the environment, unlike urllib.
    """
    parts = urlsplit(url)
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        sent.setdefault("Content-Type", "application/json")
    connection = HTTPConnection(parts.netloc, timeout=timeout_s)
    try:
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, parts._replace(scheme="", netloc="").geturl(), raw, sent)
        response = connection.getresponse()
        return Answer(response.status, CIMultiDict(response.getheaders()), response.read().decode(errors="replace"))
    finally:
        connection.close()


def responds(url: str) -> bool:
    """Whether a GET gets a 2xx."""
    try:
        return call("GET", url, timeout_s=PROBE_S).good
    except (OSError, HTTPException):
        return False
