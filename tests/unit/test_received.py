"""What an answer to a message means, for every status and whatever body."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifiers.answers import PAUSE_S, answered, code, field, judged
from operations.errors import OpwatchError, PermanentError, RateLimitedError, Reason, TransientError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRANSIENT_4XX = {408, 409, 425}


def expected(status: int) -> type[OpwatchError]:
    if status == 429:
        return RateLimitedError
    return PermanentError if status // 100 == 4 and status not in TRANSIENT_4XX else TransientError


@pytest.mark.parametrize("status", range(200, 300))
def test_any_2xx_is_success(status: int) -> None:
    assert judged("Chat", status, {}, "", NOW) is None


@pytest.mark.parametrize("status", [*range(300, 600), 600, 999])
def test_any_other_status_is_sorted(status: int) -> None:
    error = judged("Chat", status, {}, "some.code", NOW)
    assert type(error) is expected(status)
    assert str(error).startswith(f"Chat answered {status}")
    assert "some.code" in str(error), "the operator sees the exact code"
    assert ("final URL" in str(error)) is (status // 100 == 3)


@pytest.mark.parametrize(
    ("status", "headers", "asked_s"),
    [
        (429, {"Retry-After": "7"}, 7),
        (429, {"Retry-After": "0"}, 0),
        (429, {"Retry-After": "Sun, 01 Mar 2026 12:01:00 GMT"}, 60),
        (429, {"Retry-After": "soon"}, PAUSE_S),
        (429, {}, PAUSE_S),
        (503, {"Retry-After": "9"}, 9),
        (503, {}, None),
    ],
)
def test_it_waits_as_long_as_it_is_asked_to(status: int, headers: dict[str, str], asked_s: float | None) -> None:
    error = judged("Chat", status, headers, "", NOW)
    assert isinstance(error, TransientError)
    assert error.retry_after_s == asked_s


def test_the_word_for_metrics_goes_with_the_status() -> None:
    reasons = [error.reason for status in (302, 404, 410, 429, 503) if (error := judged("Chat", status, {}, "", NOW))]
    assert reasons == [Reason.REFUSED, Reason.REFUSED, Reason.GONE, Reason.RATE_LIMITED, Reason.SERVER_ERROR]


def test_an_answer_is_named_in_the_standards_words() -> None:
    assert [answered(status) for status in (404, 410, 299, 599)] == ["404 Not Found", "410 Gone", "299", "599"]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"error": {"code": "WorkflowNotFound"}}', "WorkflowNotFound"),
        (b'{"error": {"code": 10015}}', "10015"),
        (b'{"error": {"code": "see https://secret.example"}}', ""),
        (b'{"error": {"code": "' + b"x" * 81 + b'"}}', ""),
        (b'{"error": {"code": null}}', ""),
        (b'{"error": "no"}', ""),
        (b'{"error": ["no"]}', ""),
        (b"[]", ""),
        (b"7", ""),
        (b"<html>", ""),
        (b"", ""),
        (b"[" * 100_000, ""),
        (b"\xff", ""),
    ],
)
def test_only_what_looks_like_a_code_is_kept_of_a_body(body: bytes, found: str) -> None:
    assert code(body, "error", "code") == found


@given(st.binary(max_size=50))
def test_no_body_breaks_the_reading(body: bytes) -> None:
    assert len(code(body, "error", "code")) <= 80
    assert field(body, "success") is not True or b"true" in body
