"""What every answer says to browsers: keep nothing, run nothing, frame nothing.

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
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers older than frame-ancestors
}
HSTS = "max-age=31536000"


class Answer(Response):
    """The one kind of answer there is: Flask makes it of whatever a route or an error handler gives."""

    def get_wsgi_response(self, environ: "WSGIEnvironment") -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        """Write the headers out as they stand, with those that protect.

        Nothing of them is left to work out, as werkzeug would: bodies are whole, so that their length is known, and
        locations are paths in ASCII.
        """
        return self.get_app_iter(environ), self.status, protected(list(self.headers), environ)


def protected(headers: list[tuple[str, str]], environ: "WSGIEnvironment") -> list[tuple[str, str]]:
    """Add what a route has not set itself: a page may bring a Content-Security-Policy of its own.

    TLS ends at the platform's router. Its word for it is taken, although nobody vouches for the header: whoever lies
    about it gets the answer, and over plain http browsers pass it over (RFC 6797, section 8.1).
    """
    there = {name.lower() for name, _ in headers}
    headers += [(name, value) for name, value in PROTECTIVE.items() if name.lower() not in there]
    if environ.get("HTTP_X_FORWARDED_PROTO", environ["wsgi.url_scheme"]) == "https":
        headers.append(("Strict-Transport-Security", HSTS))
    return headers
