"""What every answer says to browsers: keep nothing, run nothing, frame nothing.

https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers
"""

from flask import Request, Response

PROTECTIVE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers older than frame-ancestors
}
HSTS = "max-age=31536000"


def protect(request: Request, response: Response) -> Response:
    """Set what a route has not set itself: a page may bring a Content-Security-Policy of its own.

    TLS ends at the platform's router. Its word for it is taken, although nobody vouches for the header: whoever lies
    about it gets the answer, and over plain http browsers pass it over (RFC 6797, section 8.1).
    """
    for name, value in PROTECTIVE.items():
        response.headers.setdefault(name, value)
    if request.headers.get("X-Forwarded-Proto", request.scheme) == "https":
        response.headers["Strict-Transport-Security"] = HSTS
    return response
