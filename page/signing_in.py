"""Signing in with a caller's token, and signing out. After the sign-in the browser has a session, not the token.

The page takes only sessions, and the API only bearers. So another site cannot use the API through a signed-in browser,
and a script's token cannot use the page.
"""

import re
from http import HTTPStatus
from urllib.parse import quote

import structlog
from flask import Blueprint, Response, g, request

from api.auth import caller_of
from api.service import service
from page import errors, sessions, throttle
from page.html import html, say, see_other

COOKIE = "__Host-opwatch"
"""Browsers accept a cookie with this prefix only with Secure and Path=/, and only from this host."""

LARGEST_FORM_BYTES = 4_096

_COMING_BACK = re.compile(
    r"/(operations/[a-z0-9-]{1,100}|apps|targets|groups/[A-Za-z0-9%._~/-]{1,1800}|\?[A-Za-z0-9%&=+._~*,-]{1,1500})"
)

log = structlog.get_logger()
routes = Blueprint("page-sign-in", __name__, template_folder="templates")
errors.register(routes)


def small_forms_only() -> None:
    """Limit the size of forms before they are read."""
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
        return _form("The request came from another site. Sign in here.", HTTPStatus.FORBIDDEN)
    address = throttle.address_of(request.headers.get("X-Forwarded-For", ""), request.remote_addr or "")
    if not throttle.admits(parts, address):
        log.warning("sign-in refused", address=address, reason="too many tries")
        answer = _form("Too many attempts. Wait a minute.", HTTPStatus.TOO_MANY_REQUESTS)
        answer.headers["Retry-After"] = str(throttle.PER_S)
        return answer
    caller = caller_of(request.form.get("token", "").strip(), parts.settings.tokens)
    if caller is None:
        log.warning("sign-in failed", address=address)
        return _form("This token is not valid.", HTTPStatus.FORBIDDEN)
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
    """Require a session; without one, redirect to the sign-in.

    A browser that follows a link from another site sends no SameSite=Strict cookie. Then a page of ours redirects it,
    and it sends the cookie.
    """
    g.session = sessions.find(service(), request.cookies.get(COOKIE, ""))
    if g.session is not None:
        g.caller = g.session.caller
        return None
    if request.method != "GET":
        ended = "The session had ended, so nothing was done. Sign in, and press the button again."
        return say(_to_sign_in(came_from()), ended)
    here = _coming_back(f"{quote(request.path)}?{request.query_string.decode(errors='replace')}".rstrip("?"))
    if COOKIE not in request.cookies and from_elsewhere():
        return html("hop.html", path=here)
    return _to_sign_in(here)


def _to_sign_in(back: str) -> Response:
    return see_other("/sign-in" if back == "/" else f"/sign-in?next={quote(back)}")


def came_from() -> str:
    """Return the page whose button was pressed, to go back there."""
    return _coming_back(request.form.get("back", ""))


def require_own_form() -> Response | None:
    """Require a form of this session, sent from our own page."""
    if from_elsewhere() or not sessions.is_own(g.session, request.form.get("form_token", "")):
        return errors.failed(
            HTTPStatus.FORBIDDEN,
            "This form is out of date, or came from another site. Go back and reload the page.",
        )
    return None


def from_elsewhere() -> bool:
    """Tell whether, by the browser's headers, another site caused this request. https://www.w3.org/TR/fetch-metadata/.

    Browsers older than these headers name the site in `Origin` when they send a form.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is None:
        return origin is not None and origin.partition("://")[2].lower() != request.host.lower()
    return site not in ("same-origin", "none")


def _form(fault: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
    tls = request.headers.get("X-Forwarded-Proto", request.scheme) == "https"
    return html("sign_in.html", status, fault=fault, next=_coming_back(request.values.get("next", "")), tls=tls)


def _coming_back(path: str) -> str:
    return path if _COMING_BACK.fullmatch(path) else "/"
