"""Everything Opwatch raises on purpose.

OpwatchError
├── ConfigError                 at start only; lists every fault
├── TransientError              another try may succeed, perhaps not before `retry_after_s`
│   ├── RateLimitedError        429: the receiver asks for fewer requests
│   ├── TooManyInFlightError    the account's limit of operations in flight is reached
│   └── SignInRejectedError     the API token was rejected: the operator has to act; no operation failed
├── PermanentError              another try would fail in the same way
│   ├── AccessRefusedError      403 for one app
│   └── OperationMissingError   the API's documented 404
└── NewerRecordError            a newer version of Opwatch wrote the record, and will handle it

No message contains a secret.
"""

import os
from collections.abc import Sequence
from enum import StrEnum

REFUSED_BY_US = "refused by Opwatch"
"""The beginning of an error that says: nothing was sent, because the address must not be dialled."""


class Reason(StrEnum):
    """The result of an attempt to deliver, in one of few words: the labels in metrics must be bounded."""

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
    """The root of the tree. `reason` is its label in metrics."""

    reason = Reason.OTHER

    def __init__(self, message: str = "", *, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.reason = reason or self.reason


class ConfigError(OpwatchError):
    """The settings are wrong. `faults` lists every fault, one line each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class TransientError(OpwatchError):
    """Another try may succeed; not before `retry_after_s` seconds, if the receiver asked for that."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, reason: Reason | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class RateLimitedError(TransientError):
    """The receiver answered 429."""

    reason = Reason.RATE_LIMITED


class SignInRejectedError(TransientError):
    """The API token of an account was rejected. It ends no run: the operator can replace the token."""


class TooManyInFlightError(TransientError):
    """The account has reached its limit of operations in flight, and the caller its share of that."""

    def __init__(self, account: str, in_flight: int, limit: int) -> None:
        super().__init__(
            f"{in_flight} operations of the account {account} are in flight, and the limit is {limit} "
            "(OPWATCH_MAX_IN_FLIGHT; only a caller below its share may exceed it); send it again when some have ended"
        )


class PermanentError(OpwatchError):
    """Another try would fail in the same way."""

    reason = Reason.REFUSED


class AccessRefusedError(PermanentError):
    """The API answered 403 for this app."""


class OperationMissingError(PermanentError):
    """The API answered its documented 404 for this operation."""


class NewerRecordError(OpwatchError):
    """A newer version of Opwatch wrote the record. This version does not change it."""


_MEANINGS = {
    "ClientPayloadError": "the answer breaks off",
    "ClientResponseError": "what came is not HTTP",
    "ServerDisconnectedError": "the connection was closed without an answer",
}
"""What aiohttp's errors mean, by the names of their classes."""


def no_answer(error: BaseException) -> TransientError:
    """Say why a request got no answer, without its URL, which may be a secret.

    Only the OSError behind aiohttp's connector errors is quoted. Other texts may contain the URL.
    """
    if isinstance(error, TimeoutError):
        return TransientError("no answer in time", reason=Reason.TIMEOUT)
    cause = getattr(error, "os_error", None)
    if isinstance(cause, OSError):
        text = cause.strerror or str(cause)
    else:
        text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
    # If several addresses failed, only the text tells that the guard refused them.
    reason = Reason.GUARD if REFUSED_BY_US in text else Reason.UNREACHABLE
    name = type(error).__name__
    return TransientError(f"no answer: {text or _MEANINGS.get(name, name)}", reason=reason)
