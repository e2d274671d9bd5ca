"""HTML answers, each with a policy: the browser loads and executes only our own files."""

import hashlib
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Response, g, render_template, request

from notifiers.wording import WORDS
from operations.text import plain
from page.sessions import Session

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
FILES = {path.name: path.read_bytes() for path in sorted((Path(__file__).parent / "static").iterdir())}
VERSION = hashlib.sha256(b"".join(FILES.values())).hexdigest()[:12]
"""Part of the addresses of our files, so that browsers may cache them for ever."""


def html(template: str, status: HTTPStatus = HTTPStatus.OK, /, **context: Any) -> Response:
    """Answer with a page, or with 304 if the browser has the same page already."""
    session: Session | None = g.get("session")
    page = render_template(template, version=VERSION, session=session, words=WORDS, **context)
    body = page.encode("utf-8", "replace")
    tag = hashlib.sha256(body).hexdigest()[:32]
    headers = {"Content-Security-Policy": POLICY, "ETag": f'"{tag}"'}
    if status is HTTPStatus.OK and tag in request.if_none_match:
        unchanged = Response(status=HTTPStatus.NOT_MODIFIED.value, headers=headers)
        del unchanged.headers["Content-Length"]
        return unchanged
    return Response(body, status.value, headers, content_type="text/html; charset=utf-8")


def see_other(path: str) -> Response:
    """Redirect the browser to another page, with GET."""
    return Response(status=HTTPStatus.SEE_OTHER.value, headers={"Location": path})


def file(version: str, name: str) -> Response | None:
    """Return one of our files, to be cached for a year; None if it does not exist.

    During a deploy, a request for another version's file gets this version's, uncached.
    """
    if name not in FILES:
        return None
    headers = {"Cache-Control": "public, max-age=31536000, immutable"} if version == VERSION else {}
    return Response(FILES[name], headers=headers, content_type=_TYPES[Path(name).suffix])


def shown(text: str | None) -> str:
    """Make a text from outside safe to show: remove control characters and marks of text direction."""
    return plain(text or "")
