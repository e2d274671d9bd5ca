"""Who calls: bearer tokens, compared in constant time."""

import hmac
from collections.abc import Mapping
from http import HTTPStatus

from flask import g, request
from pydantic import SecretStr

from api.problems import ProblemError
from api.service import service


def require_token() -> None:
    """Let only callers with a configured token pass, and remember the token's name for `created_by`."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    caller = caller_of(token.strip(), service().settings.tokens) if scheme.lower() == "bearer" else None
    if caller is None:
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "send 'Authorization: Bearer <token>' with one of the tokens in OPWATCH_TOKENS",
            headers={"WWW-Authenticate": 'Bearer realm="opwatch"'},
        )
    g.caller = caller


def caller_of(token: str, tokens: Mapping[str, SecretStr]) -> str | None:
    """Name the caller that a token belongs to; takes the same time whichever it is, or none."""
    given = token.encode("utf-8", "replace")
    found = None
    for name, secret in tokens.items():
        if hmac.compare_digest(given, secret.get_secret_value().encode()):
            found = name
    return found
