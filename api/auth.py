"""Only callers with a configured token pass."""

from http import HTTPStatus

from flask import g, request

from api.problems import ProblemError
from api.service import service
from config.callers import bearer_of, caller_of


def require_token() -> None:
    """Let only callers with a configured token pass, and remember the token's name for `created_by`."""
    caller = caller_of(bearer_of(request.headers.get("Authorization", "")), service().settings.tokens)
    if caller is None:
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "send 'Authorization: Bearer <token>' with one of the tokens in OPWATCH_TOKENS",
            headers={"WWW-Authenticate": 'Bearer realm="opwatch"'},
        )
    g.caller = caller
