"""A plain HTTP client for the stand-in servers: one request over one connection, nothing followed or retried."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from multidict import CIMultiDict

EXCHANGE = "/v1/tokens/exchange"


@dataclass(frozen=True)
class Answer:
    """What a client got."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.text)


def call(
    url: str, method: str = "GET", *, auth: str = "", body: object = None, timeout_s: float = 5.0, host: str = ""
) -> Answer:
    """Send one request over a connection of its own."""
    parts = urlsplit(host + url)
    connection = HTTPConnection(parts.netloc, timeout=timeout_s)
    try:
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, raw, {"Authorization": auth} if auth else {})
        response = connection.getresponse()
        return Answer(response.status, CIMultiDict(response.getheaders()), response.read().decode())
    finally:
        connection.close()


def basic(password: str, user: str = "") -> str:
    """Return an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def sign_in(url: str, token: str) -> str:
    """Exchange an API token at the stand-in Scalingo API, and return the Authorization header for the bearer."""
    return f"Bearer {call(url + EXCHANGE, 'POST', auth=basic(token)).json()['token']}"
