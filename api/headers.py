"""The headers that every answer has: browsers must not cache, execute or frame it.

https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PROTECTIVE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers older than frame-ancestors
}
HSTS = "max-age=31536000"


class Answer(Response):
    """The class of all responses: Flask converts what routes and error handlers return to it."""

    def get_wsgi_response(self, environ: "WSGIEnvironment") -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        """Return the headers as they are, plus the protective ones.

        Faster than werkzeug's own, which computes what is known here: bodies are whole, so their length is set, and
        locations are ASCII paths.
        """
        return self.get_app_iter(environ), self.status, protected(list(self.headers), environ)


def protected(headers: list[tuple[str, str]], environ: "WSGIEnvironment") -> list[tuple[str, str]]:
    """Add the protective headers that the route has not set itself: pages set their own Content-Security-Policy.

    TLS ends at the platform's router, which says so in X-Forwarded-Proto. A client can forge that header without harm:
    only its own answer changes, and browsers ignore HSTS over plain http (RFC 6797, section 8.1).
    """
    there = {name.lower() for name, _ in headers}
    headers += [(name, value) for name, value in PROTECTIVE.items() if name.lower() not in there]
    if environ.get("HTTP_X_FORWARDED_PROTO", environ["wsgi.url_scheme"]) == "https":
        headers.append(("Strict-Transport-Security", HSTS))
    return headers
