"""The one word for how an attempt to deliver ended."""

import ssl

import pytest

from notifiers.guard import PrivateAddressError, refusal
from notifiers.reasons import reason_of
from notifiers.slack.errors import classify
from operations.errors import PermanentError, RateLimitedError, Reason, TransientError, no_answer

STATUSES = {
    Reason.RATE_LIMITED: [429],
    Reason.GONE: [410],
    Reason.SERVER_ERROR: [500, 501, 502, 503, 504, 599],
    Reason.REFUSED: [300, 302, 308, 400, 401, 403, 404, 409, 413, 422, 451, 499],
    Reason.OTHER: [200, 204, 299],
}


class _ConnectorError(Exception):
    """Stands for aiohttp's errors, which carry what the system said."""

    def __init__(self, os_error: OSError) -> None:
        super().__init__("https://hooks.example/secret")
        self.os_error = os_error


@pytest.mark.parametrize(("reason", "status"), [(reason, each) for reason, all_ in STATUSES.items() for each in all_])
def test_an_answer_is_sorted_by_its_status(reason: Reason, status: int) -> None:
    assert reason_of(status) is reason


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
        (classify("ratelimited", 200, None), Reason.RATE_LIMITED),
        (classify("", 503, None), Reason.SERVER_ERROR),
        (classify("internal_error", 200, None), Reason.OTHER),
        (classify("channel_not_found", 404, None), Reason.REFUSED),
        (classify("no_text", 400, None), Reason.REFUSED),
    ],
)
def test_an_error_says_its_reason(error: TransientError | PermanentError, reason: Reason) -> None:
    assert error.reason is reason


def test_the_words_are_few_and_fit_for_a_label() -> None:
    assert len(Reason) < 12
    assert all(reason.value.replace("_", "").isalpha() and reason.value.islower() for reason in Reason)
