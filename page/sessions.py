"""Sessions of signed-in callers, stored in Redis under a hash.

Only the browser's cookie has the key, 256 random bits; Redis has the key's SHA-256. An HMAC of the caller's token under
that key binds the session to the token: the session ends when the token is changed or removed from OPWATCH_TOKENS. A
reader of Redis lacks the key, so it cannot test guesses at the token. The form token is an HMAC under the same key, and
is not stored.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from api.service import Service

LASTS = timedelta(hours=12)
IDLE = timedelta(hours=4)
_LONGEST_KEY = 100


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in caller. Every form that changes something has `form_token`."""

    caller: str
    form_token: str = field(repr=False)
    may_change: bool = True


class _Stored(BaseModel):
    """The part of a session that Redis stores."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    caller: str
    mark: str
    until: AwareDatetime


def begin(parts: Service, caller: str) -> str:
    """Begin a session of a configured caller. Returns its key, for the cookie."""
    key = secrets.token_urlsafe(32)
    token = parts.settings.tokens[caller].get_secret_value()
    stored = _Stored(caller=caller, mark=_derived(key, f"mark {token}"), until=parts.records.now() + LASTS)
    parts.connection.set(_name(key), stored.model_dump_json(), ex=IDLE)
    return key


def find(parts: Service, key: str) -> Session | None:
    """Find the session of a key, and extend it: by 4 h from now, to 12 h in all. None if it has ended."""
    if not key or len(key) > _LONGEST_KEY:
        return None
    record = parts.connection.get(_name(key))
    if not isinstance(record, bytes):
        return None
    try:
        stored = _Stored.model_validate_json(record)
    except ValidationError:
        return None
    token = parts.settings.tokens.get(stored.caller)
    if token is None:
        return None
    mark = _derived(key, f"mark {token.get_secret_value()}")
    left = stored.until - parts.records.now()
    if left <= timedelta(seconds=1) or not hmac.compare_digest(mark.encode(), stored.mark.encode()):
        return None
    parts.connection.expire(_name(key), min(IDLE, left))
    return Session(stored.caller, _derived(key, "form"), token.may_change)


def end(parts: Service, key: str) -> None:
    """End a session, if it exists."""
    parts.connection.delete(_name(key))


def is_own(session: Session, form_token: str) -> bool:
    """Tell whether a form belongs to this session, in constant time."""
    return hmac.compare_digest(session.form_token.encode(), form_token.encode("utf-8", "replace"))


def _name(key: str) -> str:
    return "opwatch:session:" + hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _derived(key: str, purpose: str) -> str:
    return hmac.new(key.encode("utf-8", "replace"), purpose.encode(), hashlib.sha256).hexdigest()
