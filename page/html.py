"""HTML answers, each with a policy: the browser loads and executes only our own files."""

import gzip
import hashlib
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from flask import Response, g, render_template, request
from markupsafe import Markup

from notifiers.wording import DELIVERY_WORDS
from operations.text import plain
from page.search import WRONG

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_PAGE_HEADERS = {
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers do not say in Origin that a form is our own
    "Vary": "Accept-Encoding, Sec-Fetch-Dest",
}
SAID = "__Host-opwatch-said"
"""A cookie with what the last request did, until the next page has shown it."""

WRONG_PATH = f"/?{urlencode({'state': WRONG})}"
_LONGEST_SAID = 300
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
FILES = {path.name: path.read_bytes() for path in sorted((Path(__file__).parent / "static").iterdir())}
VERSION = hashlib.sha256(b"".join(FILES.values())).hexdigest()[:12]
"""Part of the addresses of our files, so that browsers may cache them for ever."""


def is_refreshing() -> bool:
    """Tell whether an open page asks for its content again. https://www.w3.org/TR/fetch-metadata/."""
    return request.headers.get("Sec-Fetch-Dest") == "empty"


def html(template: str, status: HTTPStatus = HTTPStatus.OK, /, **context: Any) -> Response:
    """Answer with a page, or with 304 if the browser has the same page already.

    A page that refreshes itself gets only the content, compressed. That contains no token: an attacker who can make
    requests with texts of his choice could else find it out by the size of answers (https://www.breachattack.com).
    """
    refreshing, session = is_refreshing(), g.get("session")
    page = render_template(
        template,
        base="refresh.html" if refreshing else "base.html",
        version=VERSION,
        session=session,
        delivery_words=DELIVERY_WORDS,
        wrong_states=WRONG,
        wrong_path=WRONG_PATH,
        said="" if refreshing else unquote(request.cookies.get(SAID, ""))[:_LONGEST_SAID],
        **{"here": request.path, **context},
    )
    body, headers = page.encode("utf-8", "replace"), {"Content-Security-Policy": POLICY, **_PAGE_HEADERS}
    if refreshing and request.accept_encodings.quality("gzip") > 0:
        body, headers["Content-Encoding"] = gzip.compress(body, 6, mtime=0), "gzip"
    tag = hashlib.sha256(body).hexdigest()[:32]
    headers["ETag"] = f'"{tag}"'
    if status is HTTPStatus.OK and tag in request.if_none_match:
        unchanged = Response(status=HTTPStatus.NOT_MODIFIED.value, headers=headers)
        del unchanged.headers["Content-Length"]
        return unchanged
    answer = Response(body, status.value, headers, content_type="text/html; charset=utf-8")
    if SAID in request.cookies and not refreshing:
        answer.delete_cookie(SAID, secure=True, httponly=True, samesite="Strict")
    return answer


def see_other(path: str) -> Response:
    """Redirect the browser to another page, with GET."""
    return Response(status=HTTPStatus.SEE_OTHER.value, headers={"Location": path})


def say(answer: Response, text: str) -> Response:
    """Have the next page say once what was done."""
    answer.set_cookie(SAID, quote(text), max_age=60, secure=True, httponly=True, samesite="Strict")
    return answer


def file(version: str, name: str) -> Response | None:
    """Return one of our files, to be cached for a year; None if it does not exist.

    During a deploy, a request for another version's file gets this version's, uncached.
    """
    if name not in FILES:
        return None
    headers = {"Cache-Control": "public, max-age=31536000, immutable"} if version == VERSION else {}
    return Response(FILES[name], headers=headers, content_type=_TYPES[Path(name).suffix])


def shown(value: Any) -> Any:
    """Return what a template may write: texts lose control characters and marks of text direction."""
    is_safe = not isinstance(value, str) or isinstance(value, Markup) or (value.isascii() and value.isprintable())
    return value if is_safe else plain(value)
