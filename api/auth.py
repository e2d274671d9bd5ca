"""Only callers with a configured token pass, each in its own queue."""

import hmac
from collections.abc import Mapping
from http import HTTPStatus

from flask import g, request
from pydantic import SecretStr

from api.problems import ProblemError
from api.service import service

HEALTH_CHECK = "/healthz"
"""It asks no more than whether the process is alive, and is answered at once."""


def admit() -> None:
    """Name the caller that the request's token belongs to, and wait for that caller's turn."""
    g.bearer = caller_of(_token_in(request.headers.get("Authorization", "")), service().settings.tokens)
    if request.path == HEALTH_CHECK:
        return
    if not service().queue.acquire(g.bearer):
        detail = "too many requests of this caller wait already; send it again"
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "1"})
    g.admitted = True


def release(_error: BaseException | None = None) -> None:
    """Let the caller's next request in; the answer is ready, and sending it holds up nobody."""
    if g.pop("admitted", False):
        service().queue.release(g.bearer)


def require_token() -> None:
    """Let only callers with a configured token pass, and remember the token's name for `created_by`."""
    if g.bearer is None:
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "send 'Authorization: Bearer <token>' with one of the tokens in OPWATCH_TOKENS",
            headers={"WWW-Authenticate": 'Bearer realm="opwatch"'},
        )
    g.caller = g.bearer


def caller_of(token: str, tokens: Mapping[str, SecretStr]) -> str | None:
    """Name the caller that a token belongs to, or none; the time that it takes tells nothing about the token."""
    given = token.encode("utf-8", "replace")
    found = None
    for name, secret in tokens.items():
        if hmac.compare_digest(given, secret.get_secret_value().encode()):
            found = name
    return found


def _token_in(authorization: str) -> str:
    """Read the token of an `Authorization` header; empty if there is none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
