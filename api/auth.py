"""Authenticates callers by their tokens, and queues requests per caller."""

import hmac
from collections.abc import Mapping
from http import HTTPStatus

from flask import g, request
from pydantic import SecretStr

from api.problems import ProblemError
from api.service import service
from config.settings import Settings

HEALTH_CHECK = "/healthz"
"""It only tells whether the process is alive, so it skips the queue."""


EVENTS_CALLER = "scalingo"
"""The `created_by` of what an event began."""

EVENTS_PREFIX = "/v1/scalingo/"

READING = ("GET", "HEAD")
ONLY_READS = "the token of {caller!r} may only read: OPWATCH_TOKENS has it with ':read'. Nothing was changed."


def admit() -> None:
    """Find the caller of the request's token, and wait for that caller's turn."""
    g.bearer = caller_of(_token_in(request.headers.get("Authorization", "")), service().settings.tokens)
    if has_events_secret(request.path, service().settings):
        g.bearer = EVENTS_CALLER
    if request.path == HEALTH_CHECK:
        return
    if not service().queue.acquire(g.bearer):
        detail = "too many requests of this caller are waiting; send it again"
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "1"})
    g.admitted = True


def release(_error: BaseException | None = None) -> None:
    """Admit the caller's next request. This one's answer is ready, and sending it delays no other."""
    if g.pop("admitted", False):
        service().queue.release(g.bearer)


def require_token() -> None:
    """Require a configured token, and for a change one that may change. Keeps the caller's name for `created_by`."""
    if g.bearer is None:
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "send 'Authorization: Bearer <token>' with one of the tokens in OPWATCH_TOKENS",
            headers={"WWW-Authenticate": 'Bearer realm="opwatch"'},
        )
    g.caller = g.bearer
    if request.method not in READING and not service().settings.tokens[g.caller].may_change:
        raise ProblemError(HTTPStatus.FORBIDDEN, ONLY_READS.format(caller=g.caller))


def caller_of(token: str, tokens: Mapping[str, SecretStr]) -> str | None:
    """Return the caller of a token, or None. Constant time: the time reveals nothing about tokens."""
    given = token.encode("utf-8", "replace")
    found = None
    for name, secret in tokens.items():
        if hmac.compare_digest(given, secret.get_secret_value().encode()):
            found = name
    return found


def has_events_secret(path: str, settings: Settings) -> bool:
    """Tell whether a path is the one for events, with the right secret. Constant time."""
    secret = settings.events_secret
    given = path.removeprefix(EVENTS_PREFIX) if path.startswith(EVENTS_PREFIX) else ""
    return secret is not None and hmac.compare_digest(
        given.encode("utf-8", "replace"), secret.get_secret_value().encode()
    )


def without_events_secret(path: str) -> str:
    """Return a path as a log may show it."""
    return f"{EVENTS_PREFIX}…" if path.startswith(EVENTS_PREFIX) else path


def _token_in(authorization: str) -> str:
    """Return the token of an `Authorization` header, or an empty text."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
