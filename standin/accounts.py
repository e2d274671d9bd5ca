"""The accounts of the stand-in Scalingo API: API tokens, the bearers issued for them, and the rate limit."""

import base64
import json
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count

WINDOW_S = 60.0
LIFETIME_S = 3600


@dataclass(frozen=True)
class Bearer:
    """The account of a bearer, and when it expires (unix time). `addon` is set for an addon's token."""

    account: str
    expires_at: float
    addon: str | None = None


class Accounts:
    """Exchanges API tokens for bearers and recognises both in an Authorization header."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._accounts = {token: account for account, token in tokens.items()}
        self._bearers: dict[str, Bearer] = {}
        self._numbers = count(1)

    def exchange(self, account: str, now: float, *, addon: str | None = None) -> str:
        """Return a new bearer, shaped like a JWT; `iat` and `exp` are whole seconds, as Scalingo's are."""
        issued_at = int(now)
        claims = {
            "iss": "Scalingo stand-in",
            "iat": issued_at,
            "exp": issued_at + LIFETIME_S,
            "account": account,
            "jti": next(self._numbers),
        }
        token = ".".join([_segment({"alg": "none", "typ": "JWT"}), _segment(claims), _base64url(b"not a signature")])
        self._bearers[token] = Bearer(account, issued_at + LIFETIME_S, addon)
        return token

    def by_api_token(self, authorization: str) -> str | None:
        """Return the account whose API token is the password of this Basic header, with an empty user."""
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            return None
        return None if user else self._accounts.get(password)

    def by_bearer(self, authorization: str) -> Bearer | None:
        """Return the bearer in this header, expired or not; None if it was never issued."""
        scheme, _, token = authorization.partition(" ")
        return self._bearers.get(token) if scheme.lower() == "bearer" else None

    @property
    def bearers(self) -> tuple[str, ...]:
        """Every bearer issued so far."""
        return tuple(self._bearers)

    def expire_bearers(self) -> None:
        """Expire every bearer issued so far; their accounts stay known."""
        self._bearers = {token: replace(bearer, expires_at=0) for token, bearer in self._bearers.items()}


class SlidingWindow:
    """Limits each account's calls in any 60 s. Refused calls do not count."""

    def __init__(self) -> None:
        self._admitted: defaultdict[str | None, deque[float]] = defaultdict(deque)

    def admits(self, account: str | None, limit: int | None, now: float) -> bool:
        """Count this call, unless there were already `limit` in the last 60 s."""
        admitted = self._admitted[account]
        while admitted and admitted[0] <= now - WINDOW_S:
            admitted.popleft()
        if limit is not None and len(admitted) >= limit:
            return False
        admitted.append(now)
        return True


def _segment(content: Mapping[str, object]) -> str:
    return _base64url(json.dumps(content, separators=(",", ":")).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
