"""The classification of an answer to a message, for every status and any body."""

import base64
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifiers import PAUSE_S, answer_code, answer_field, judge
from notifiers.judge import in_words, repeats
from operations.errors import OpwatchError, PermanentError, RateLimitedError, Reason, TransientError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRANSIENT_4XX = {408, 409, 425}
REASONS = {
    Reason.RATE_LIMITED: [429],
    Reason.GONE: [410],
    Reason.SERVER_ERROR: [500, 501, 502, 503, 504, 599],
    Reason.REFUSED: [300, 302, 308, 400, 401, 403, 404, 409, 413, 422, 451, 499],
}


def expected(status: int) -> type[OpwatchError]:
    if status == 429:
        return RateLimitedError
    return PermanentError if status // 100 == 4 and status not in TRANSIENT_4XX else TransientError


@pytest.mark.parametrize("status", range(200, 300))
def test_any_2xx_is_success(status: int) -> None:
    assert judge("Chat", status, {}, NOW) is None


@pytest.mark.parametrize("status", [*range(300, 600), 600, 999])
def test_any_other_status_is_sorted(status: int) -> None:
    error = judge("Chat", status, {}, NOW, code="some.code")
    assert type(error) is expected(status)
    assert str(error).startswith(f"Chat answered {status}")
    assert "some.code" in str(error), "the operator sees the exact code"
    assert ("final URL" in str(error)) is (status // 100 == 3)


@pytest.mark.parametrize(
    ("status", "headers", "asked_s"),
    [
        (429, {"Retry-After": "7"}, 7),
        (429, {"retry-after": "0"}, 0),
        (429, {"Retry-After": "Sun, 01 Mar 2026 12:01:00 GMT"}, 60),
        (429, {"Retry-After": "soon"}, PAUSE_S),
        (429, {}, PAUSE_S),
        (503, {"Retry-After": "9"}, 9),
        (503, {}, None),
    ],
)
def test_it_waits_as_long_as_it_is_asked_to(status: int, headers: dict[str, str], asked_s: float | None) -> None:
    error = judge("Chat", status, headers, NOW)
    assert isinstance(error, TransientError)
    assert error.retry_after_s == asked_s


@pytest.mark.parametrize(("reason", "status"), [(reason, each) for reason, all_ in REASONS.items() for each in all_])
def test_the_reason_for_metrics_goes_with_the_status(reason: Reason, status: int) -> None:
    error = judge("Chat", status, {}, NOW)
    assert error is not None
    assert error.reason is reason


def test_a_kind_may_name_what_is_final_and_what_asks_for_fewer_messages() -> None:
    def mine(status: int) -> OpwatchError | None:
        return judge("", status, {}, NOW, final={410}, overloaded={429: 60.0, 200: 5.0, 502: 61.0})

    assert type(mine(404)) is TransientError
    assert type(mine(410)) is PermanentError
    assert str(mine(410)) == "410 Gone"
    limited = [error for status in (429, 200, 502) if isinstance(error := mine(status), RateLimitedError)]
    assert [(error.retry_after_s, error.reason) for error in limited] == [
        (60, Reason.RATE_LIMITED), (5, Reason.RATE_LIMITED), (61, Reason.SERVER_ERROR)
    ]  # fmt: skip


def test_an_answer_is_named_in_the_standards_words() -> None:
    assert [in_words(status) for status in (404, 410, 299, 599)] == ["404 Not Found", "410 Gone", "299", "599"]


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
    assert answer_code(body, "error", "code") == found


@given(st.binary(max_size=50))
def test_no_body_breaks_the_reading(body: bytes) -> None:
    assert len(answer_code(body, "error", "code")) <= 80
    assert answer_field(body, "success") is not True or b"true" in body


TOKEN = "aB3xK9-qWe7_Zr5Tt1"  # noqa: S105 - it opens nothing
URL = f"https://user:pass%2Fw0rd@hooks.example/services/T0/{TOKEN}?sig=u1Tf%2DH4AN5%2Bt"
SIGNING = "whsec_" + base64.b64encode(b"a key of 24 bytes or more").decode()


@pytest.mark.parametrize(
    "said",
    [
        TOKEN, TOKEN[:8], TOKEN[5:11], TOKEN[-4:], f"bad.{TOKEN}", f"no-{TOKEN[2:9]}-here", TOKEN.lower(), "u1Tf-H4AN5",
        "w0rd", "services", "a key of 24 bytes", "of 24 bytes", SIGNING[6:],
        base64.b64encode(TOKEN.encode()).decode().rstrip("="), base64.urlsafe_b64encode(f"x{TOKEN}".encode()).decode(),
        base64.b64encode(f"token={TOKEN}".encode()).decode()[3:].rstrip("="), TOKEN.encode().hex(),
        quote(TOKEN, safe=""),
        "".join(f"%{byte:02x}" for byte in TOKEN.encode()),
    ],
)  # fmt: skip
def test_a_code_that_repeats_a_secret_is_noticed(said: str) -> None:
    assert repeats(said, [URL, SIGNING])


@pytest.mark.parametrize(
    "said",
    [
        "10015", "WorkflowNotFound", "DirectApiAuthorizationRequired", "web.incoming_webhook.invalid.app_error",
        "error-room-not-found", "no_service", "channel_not_found", "",
    ],
)  # fmt: skip
def test_a_services_own_code_repeats_nothing(said: str) -> None:
    teams = "https://prod-12.westeurope.logic.azure.com/workflows/0a1b2c/triggers/manual/paths/invoke?api-version=2016-06-01"
    assert not repeats(said, [URL, SIGNING, teams, "town-square", "https://mattermost.example/hooks/9xb7nmqo8c3r5z1y4"])


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_can_be_compared(said: str, setting: str) -> None:
    assert repeats(said, [setting]) or said not in setting or not said
