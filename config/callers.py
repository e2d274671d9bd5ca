"""Who calls: the names of tokens, compared in constant time."""

import hmac
from collections.abc import Mapping

from pydantic import SecretStr


def bearer_of(authorization: str) -> str:
    """Read the token of an `Authorization` header; empty where it bears none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def caller_of(token: str, tokens: Mapping[str, SecretStr]) -> str | None:
    """Name the caller that a token belongs to; takes the same time whichever it is, or none."""
    given = token.encode("utf-8", "replace")
    found = None
    for name, secret in tokens.items():
        if hmac.compare_digest(given, secret.get_secret_value().encode()):
            found = name
    return found
