"""The classification of every Slack error."""

import pytest

from notifiers.slack import errors
from notifiers.slack.errors import MessageGoneError, PayloadRefusedError
from operations.errors import OpwatchError, PermanentError, RateLimitedError, TransientError
from tests.unit.strategies import NOW

RATE = "ratelimited rate_limited"
NOT_SENT = "request_timeout service_unavailable team_added_to_org org_login_required"
UNKNOWN = "rollup_error internal_error fatal_error"
OUR_PAYLOAD = (
    "invalid_payload no_text invalid_blocks too_many_attachments invalid_blocks_format msg_blocks_too_long "
    "msg_too_long metadata_too_large metadata_must_be_sent_from_app"
)
TARGET = (
    "invalid_token action_prohibited channel_not_found no_service no_service_id no_active_hooks no_team "
    "channel_is_archived user_not_found team_disabled posting_to_general_channel_denied invalid_auth not_authed "
    "account_inactive token_revoked token_expired missing_scope not_in_channel is_archived restricted_action "
    "restricted_action_read_only_channel restricted_action_thread_only_channel no_permission ekm_access_denied "
    "message_limit_exceeded"
)
ROWS: list[tuple[str, type[OpwatchError]]] = [
    (RATE, RateLimitedError),
    (NOT_SENT, TransientError),
    (UNKNOWN, TransientError),
    (OUR_PAYLOAD, PayloadRefusedError),
    (TARGET, PermanentError),
]


def classify(code: str, status: int, asked_s: float | None = None) -> OpwatchError:
    return errors.classify(code, status, {} if asked_s is None else {"retry-after": str(asked_s)}, NOW)


def classify_edit(code: str, status: int, asked_s: float | None = None) -> OpwatchError:
    return errors.classify_edit(code, status, {} if asked_s is None else {"retry-after": str(asked_s)}, NOW)


CODES = [(code, kind) for codes, kind in ROWS for code in codes.split()]


@pytest.mark.parametrize("status", [200, 400, 403, 404, 410, 500, 503])
@pytest.mark.parametrize(("code", "kind"), CODES)
def test_a_code_counts_whatever_the_status(code: str, kind: type[OpwatchError], status: int) -> None:
    error = classify(code, status)
    assert type(error) is kind
    assert code in str(error), "the operator sees the exact code"
    assert str(status) in str(error)


@pytest.mark.parametrize(("code", "kind"), [(code, kind) for code, kind in CODES if issubclass(kind, PermanentError)])
def test_a_code_that_no_pause_can_mend_counts_even_with_a_429(code: str, kind: type[OpwatchError]) -> None:
    assert type(classify(code, 429, 30)) is kind


@pytest.mark.parametrize("code", ["", "an unexpected body", "some_code_of_tomorrow"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, RateLimitedError), *((status, TransientError) for status in (200, 302, 500, 502, 503, 504))],
)
def test_without_a_known_code_the_status_decides(code: str, status: int, kind: type[OpwatchError]) -> None:
    assert type(classify(code, status)) is kind


@pytest.mark.parametrize(
    ("code", "status", "asked_s", "kept_s"),
    [
        ("ratelimited", 429, 7, 7),
        ("ratelimited", 200, 0, 0),
        ("", 429, None, 30),
        ("", 503, 9, 9),
        ("", 500, None, None),
    ],
)
def test_it_waits_as_long_as_slack_asks(code: str, status: int, asked_s: float | None, kept_s: float | None) -> None:
    error = classify(code, status, asked_s)
    assert isinstance(error, TransientError)
    assert error.retry_after_s == kept_s


EDITS = (
    "message_not_found cant_update_message edit_window_closed block_mismatch cannot_reply_to_message thread_not_found"
)


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (EDITS, MessageGoneError),
        (TARGET, MessageGoneError),
        ("invalid_ts some_code_of_tomorrow", MessageGoneError),
        (RATE, RateLimitedError),
        (NOT_SENT, TransientError),
        (UNKNOWN, TransientError),
        (OUR_PAYLOAD, PayloadRefusedError),
    ],
)
def test_an_edit_that_is_refused_for_good_asks_for_a_new_message(codes: str, kind: type[OpwatchError]) -> None:
    for code in codes.split():
        assert type(classify_edit(code, 200)) is kind, code


@pytest.mark.parametrize("status", [200, 404, 500, 502, 503])
def test_an_edit_that_slack_did_not_understand_or_fails_at_is_tried_again(status: int) -> None:
    assert type(classify_edit("", status)) is TransientError
    assert type(classify_edit("", 429, 9)) is RateLimitedError


def test_a_code_nobody_knows_beside_a_failure_of_slacks_is_no_refusal() -> None:
    assert type(classify_edit("some_code_of_tomorrow", 503, None)) is TransientError
