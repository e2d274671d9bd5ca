"""A bearer: reads it from an answer, says when to renew it, and keeps it out of texts. Pure."""

import base64
import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from pydantic import SecretStr

from scalingo.answers import parse_json

LASTS_S = 3600.0
RENEW_AHEAD_S = 300.0
"""Scalingo's Go client also renews a bearer when less than 5 minutes remain."""

_PIECE = 8
_HIDDEN = "[bearer]"
_ESCAPED = re.compile(
    r"%(?:25)*([2-7][0-9a-f])|\\+u00([2-7][0-9a-f])|&#x0*([2-7][0-9a-f]);|&#0*([1-9][0-9]{1,2});", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Bearer:
    """A bearer, and when to renew it (monotonic clock)."""

    secret: SecretStr
    renew_at_s: float

    @property
    def header(self) -> str:
        """The value of the Authorization header."""
        return f"Bearer {self.secret.get_secret_value()}"

    def hide(self, text: str) -> str:
        """Replace the bearer in a text, also if it was escaped (JSON, URL, HTML) or cut: each piece of 8 characters."""
        secret, found = self.secret.get_secret_value(), _ESCAPED.sub(_unescaped, text)
        pieces = (secret[start : start + _PIECE] for start in range(0, len(secret) - _PIECE + 1, _PIECE))
        if (hidden := _replaced(found, secret, *pieces)) == found:
            return text
        return re.sub(rf"(?:{re.escape(_HIDDEN)})+", _HIDDEN, hidden)


def parse_bearer(status: int, body: bytes) -> str | None:
    """Read the bearer from the answer to a token exchange; None if there is none."""
    document = parse_json(body)
    return _usable(document.get("token")) if status == HTTPStatus.OK and isinstance(document, dict) else None


def parse_addon_token(status: int, body: bytes) -> str | None:
    """Read the token of an addon; None if there is none."""
    document = parse_json(body)
    addon = (
        document.get("addon") if status in (HTTPStatus.OK, HTTPStatus.CREATED) and isinstance(document, dict) else None
    )
    return _usable(addon.get("token")) if isinstance(addon, dict) else None


def _usable(token: object) -> str | None:
    usable = isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token
    return token if isinstance(token, str) and usable and token else None


def lifetime_s(token: str, now: datetime) -> float:
    """Read a bearer's lifetime from its claims (RFC 7519), unverified: it only decides when to renew."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        lasts_s = float(claims["exp"]) - float(claims.get("iat", now.timestamp()))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return LASTS_S
    return LASTS_S if math.isnan(lasts_s) else min(max(lasts_s, 1.0), LASTS_S)


def _replaced(text: str, *secrets: str) -> str:
    for each in secrets:
        text = text.replace(each, _HIDDEN)
    return text


def _unescaped(escaped: re.Match[str]) -> str:
    *hexadecimal, decimal = escaped.groups()
    code = int(decimal) if decimal else int(next(filter(None, hexadecimal)), 16)
    return chr(code) if chr(code).isascii() and chr(code).isprintable() else escaped[0]
