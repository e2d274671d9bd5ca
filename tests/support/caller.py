"""A caller of the stand-in servers: one request per connection, without redirects and retries."""

import base64

from local import http
from local.http import Answer

EXCHANGE = "/v1/tokens/exchange"


def call(
    url: str, method: str = "GET", *, auth: str = "", body: object = None, timeout_s: float = 5.0, host: str = ""
) -> Answer:
    """Send one request over a connection of its own."""
    return http.call(method, host + url, body, {"Authorization": auth} if auth else {}, timeout_s)


def basic(password: str, user: str = "") -> str:
    """Return an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def sign_in(url: str, token: str) -> str:
    """Exchange an API token at the stand-in Scalingo API, and return the Authorization header for the bearer."""
    return f"Bearer {call(url + EXCHANGE, 'POST', auth=basic(token)).json()['token']}"
