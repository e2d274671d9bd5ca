"""Everything Opwatch raises on purpose.

OpwatchError
├── ConfigError                 at start only; carries every fault at once
├── TransientError              worth another try, perhaps not before `retry_after_s`
│   ├── RateLimitedError        429: the other side asks for fewer requests
│   ├── TooManyInFlightError    an account has no room for one more operation
│   └── SignInRejectedError     the API token was rejected; the operator has to act, no operation failed
├── PermanentError              another try would end the same way
│   ├── AccessRefusedError      403 for one app
│   └── OperationMissingError   the API's documented 404
└── NewerRecordError            a record was written by a newer version of Opwatch, which will deal with it

No message ever carries a secret.
"""

import os
from collections.abc import Sequence
from enum import StrEnum

REFUSED_BY_US = "refused by Opwatch"
"""How an error begins to say that nothing was sent, since the address must not be dialled."""


class Reason(StrEnum):
    """How an attempt to deliver ended, in one of few words: for metrics, where their number has to be bounded."""

    OK = "ok"
    RATE_LIMITED = "rate_limited"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    GUARD = "guard"
    SERVER_ERROR = "server_error"
    REFUSED = "refused"
    GONE = "gone"
    OTHER = "other"


class OpwatchError(Exception):
    """The root of the tree; `reason` is the word for it."""

    reason = Reason.OTHER


class ConfigError(OpwatchError):
    """The settings are wrong; `faults` names every one, a line each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class TransientError(OpwatchError):
    """Another try may succeed, but not before `retry_after_s` seconds where the other side said so."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.reason = reason or self.reason


class RateLimitedError(TransientError):
    """The other side answered 429."""

    reason = Reason.RATE_LIMITED


class SignInRejectedError(TransientError):
    """The API token of an account was rejected. It ends no watch: the operator can still replace the token."""


class TooManyInFlightError(TransientError):
    """An account has as many operations in flight as it may, and this caller at least its share of them."""

    def __init__(self, account: str, in_flight: int, limit: int) -> None:
        super().__init__(
            f"{in_flight} operations of the account {account} are in flight, and the limit is {limit} "
            "(OPWATCH_MAX_IN_FLIGHT; only a caller below its share may exceed it); send it again when some have ended"
        )


class PermanentError(OpwatchError):
    """Another try would end the same way."""

    reason = Reason.REFUSED

    def __init__(self, message: str, *, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.reason = reason or self.reason


class AccessRefusedError(PermanentError):
    """The API answered 403 for this app."""


class OperationMissingError(PermanentError):
    """The API answered its documented 404 for this operation."""


class NewerRecordError(OpwatchError):
    """The stored record was written by a newer version of Opwatch; this one leaves it alone."""


def no_answer(error: BaseException) -> TransientError:
    """Say why a request got no answer, in words that hold no URL (some URLs are secrets).

    Only aiohttp's connector errors are quoted: they name addresses. What anybody else writes into an error is unknown.
    """
    if isinstance(error, TimeoutError):
        return TransientError("no answer in time", reason=Reason.TIMEOUT)
    cause = getattr(error, "os_error", None)
    if isinstance(cause, OSError):
        text = cause.strerror or str(cause)
    else:
        text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
    # Of several addresses tried in vain only the words are left.
    reason = Reason.GUARD if REFUSED_BY_US in text else Reason.UNREACHABLE
    return TransientError(f"no answer: {text or type(error).__name__}", reason=reason)
