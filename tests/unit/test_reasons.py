"""The reason of an attempt to deliver."""

import ssl

import pytest

from notifiers.guard import PrivateAddressError, refusal
from notifiers.slack.errors import classify
from operations.errors import PermanentError, RateLimitedError, Reason, TransientError, no_answer
from tests.unit.strategies import NOW


class _ConnectorError(Exception):
    """Stands for aiohttp's errors, which contain the system's error."""

    def __init__(self, os_error: OSError) -> None:
        super().__init__("https://hooks.example/secret")
        self.os_error = os_error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TransientError("x"), Reason.OTHER),
        (TransientError("x", reason=Reason.SERVER_ERROR), Reason.SERVER_ERROR),
        (RateLimitedError("x"), Reason.RATE_LIMITED),
        (RateLimitedError("x", reason=Reason.SERVER_ERROR), Reason.SERVER_ERROR),
        (PermanentError("x"), Reason.REFUSED),
        (PermanentError("x", reason=Reason.GONE), Reason.GONE),
        (no_answer(TimeoutError()), Reason.TIMEOUT),
        (no_answer(ConnectionRefusedError()), Reason.UNREACHABLE),
        (no_answer(_ConnectorError(OSError(113, "No route to host"))), Reason.UNREACHABLE),
        (no_answer(_ConnectorError(PrivateAddressError(refusal("10.0.0.1")))), Reason.GUARD),
        (no_answer(_ConnectorError(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"))), Reason.UNREACHABLE),
        (no_answer(KeyError("somebody else's kind")), Reason.UNREACHABLE),
        (classify("ratelimited", 200, {}, NOW), Reason.RATE_LIMITED),
        (classify("", 503, {}, NOW), Reason.SERVER_ERROR),
        (classify("internal_error", 200, {}, NOW), Reason.OTHER),
        (classify("channel_not_found", 404, {}, NOW), Reason.REFUSED),
        (classify("no_text", 400, {}, NOW), Reason.REFUSED),
    ],
)
def test_an_error_says_its_reason(error: TransientError | PermanentError, reason: Reason) -> None:
    assert error.reason is reason


def test_the_words_are_few_and_fit_for_a_label() -> None:
    assert len(Reason) < 12
    assert all(reason.value.replace("_", "").isalpha() and reason.value.islower() for reason in Reason)
