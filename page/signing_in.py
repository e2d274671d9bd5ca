"""Signing in with a caller's token, and out: from then on the browser has a session, and the token no more.

Only a browser's session opens the page, only a bearer the API: a page elsewhere cannot use the API through a browser
that is signed in, and a token in a script cannot press buttons.
"""

import re
from http import HTTPStatus

import structlog
from flask import Blueprint, Response, g, request

from api.auth import caller_of
from api.service import service
from page import errors, sessions, throttle
from page.html import html, see_other

COOKIE = "__Host-opwatch"
"""Browsers take a cookie of such a name only with Secure and Path=/, from this very host."""

LARGEST_FORM_BYTES = 4_096

_COMING_BACK = re.compile(r"/operations/[a-z0-9-]{1,100}")

log = structlog.get_logger()
routes = Blueprint("page-sign-in", __name__, template_folder="templates")
errors.register(routes)


def small_forms_only() -> None:
    """Refuse to read a form larger than any of ours, before anybody reads it."""
    request.max_content_length = LARGEST_FORM_BYTES


routes.before_request(small_forms_only)


@routes.get("/sign-in")
def ask() -> Response:
    """Ask for a token."""
    return _form()


@routes.post("/sign-in")
def sign_in() -> Response:
    """Begin a session for a caller's token."""
    parts = service()
    if from_elsewhere():
        return _form("That came from another site. Sign in here.", HTTPStatus.FORBIDDEN)
    address = throttle.address_of(request.headers.get("X-Forwarded-For", ""), request.remote_addr or "")
    if not throttle.admits(parts, address):
        log.warning("sign-in refused", address=address, reason="too many tries")
        answer = _form("Too many tries. Wait a minute.", HTTPStatus.TOO_MANY_REQUESTS)
        answer.headers["Retry-After"] = str(throttle.PER_S)
        return answer
    caller = caller_of(request.form.get("token", "").strip(), parts.settings.tokens)
    if caller is None:
        log.warning("sign-in failed", address=address)
        return _form("No such token.", HTTPStatus.FORBIDDEN)
    log.info("signed in", caller=caller, address=address)
    sessions.end(parts, request.cookies.get(COOKIE, ""))
    answer = see_other(_coming_back(request.form.get("next", "")))
    answer.set_cookie(
        COOKIE, sessions.begin(parts, caller), max_age=sessions.LASTS, secure=True, httponly=True, samesite="Strict"
    )
    return answer


@routes.post("/sign-out")
def sign_out() -> Response:
    """End the session."""
    if (refusal := require_session() or require_own_form()) is not None:
        return refusal
    sessions.end(service(), request.cookies.get(COOKIE, ""))
    answer = see_other("/sign-in")
    answer.delete_cookie(COOKIE, secure=True, httponly=True, samesite="Strict")
    return answer


def require_session() -> Response | None:
    """Let only those pass who are signed in; others are asked to.

    A browser that follows a link from elsewhere sends no Strict cookie: then our own page leads it on, with it.
    """
    g.session = sessions.find(service(), request.cookies.get(COOKIE, ""))
    if g.session is not None:
        g.caller = g.session.caller
        return None
    if COOKIE not in request.cookies and from_elsewhere() and request.method == "GET":
        return html("hop.html", path=request.path)
    here = _coming_back(request.path)
    return see_other("/sign-in" if here == "/" else f"/sign-in?next={here}")


def require_own_form() -> Response | None:
    """Let only forms pass that were given out in this session, and sent from our own page."""
    if from_elsewhere() or not sessions.is_own(g.session, request.form.get("form_token", "")):
        return errors.failed(
            HTTPStatus.FORBIDDEN, "This form is out of date, or came from another site. Go back, load the page again."
        )
    return None


def from_elsewhere() -> bool:
    """Tell whether the browser says that another site has made it send this. https://www.w3.org/TR/fetch-metadata/."""
    return request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none")


def _form(fault: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
    tls = request.headers.get("X-Forwarded-Proto", request.scheme) == "https"
    return html("sign_in.html", status, fault=fault, next=_coming_back(request.values.get("next", "")), tls=tls)


def _coming_back(path: str) -> str:
    return path if _COMING_BACK.fullmatch(path) else "/"
