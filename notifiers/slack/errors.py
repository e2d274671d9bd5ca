"""Classifies Slack's errors. Pure.

https://docs.slack.dev/reference/methods/chat.postMessage and https://docs.slack.dev/reference/methods/chat.update
"""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus

from notifiers import PAUSE_S, OpwatchError, PermanentError, RateLimitedError, TransientError, judge, retry_after_s

RATE = frozenset({"ratelimited", "rate_limited"})
OUR_PAYLOAD = frozenset(
    [
        "invalid_payload",
        "no_text",
        "invalid_blocks",
        "invalid_blocks_format",
        "too_many_attachments",
        "msg_blocks_too_long",
        "msg_too_long",
        "invalid_attachments",
    ]
)
TARGET = frozenset(
    [
        "invalid_token",
        "action_prohibited",
        "channel_not_found",
        "no_service",
        "no_service_id",
        "no_active_hooks",
        "no_team",
        "channel_is_archived",
        "user_not_found",
        "team_disabled",
        "posting_to_general_channel_denied",
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "missing_scope",
        "not_in_channel",
        "is_archived",
        "restricted_action",
        "no_permission",
        "ekm_access_denied",
        "message_limit_exceeded",
    ]
)
PASSING = frozenset(
    [
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
        "org_login_required",
        "internal_error",
        "fatal_error",
        "rollup_error",
    ]
)


class PayloadRefusedError(PermanentError):
    """Slack refuses the blocks; a plain text may still pass."""


class MessageGoneError(PermanentError):
    """Slack refuses to edit the message, or to reply to it; a new one may still be posted."""


def classify(code: str, status: int, headers: Mapping[str, str], now: datetime) -> OpwatchError:
    """Classify an error answer, by Slack's error code first and the status second."""
    said = f"Slack answered {status}" + (f": {code}" if code else "")
    if code in OUR_PAYLOAD or code.startswith("metadata_"):
        return PayloadRefusedError(said)
    if code in TARGET or code.startswith("restricted_action"):
        return PermanentError(said)
    overloaded = {status if code in RATE else HTTPStatus.TOO_MANY_REQUESTS: PAUSE_S}
    error = judge("Slack", status, headers, now, code=code, final=(), overloaded=overloaded)
    return error or TransientError(said, retry_after_s=retry_after_s(headers, now))


def classify_edit(code: str, status: int, headers: Mapping[str, str], now: datetime) -> OpwatchError:
    """Classify the error answer to an edit or a reply. An unknown code becomes MessageGoneError.

    Faults beyond the message itself, such as a revoked token, show when a new one is posted.
    """
    error = classify(code, status, headers, now)
    passing = isinstance(error, RateLimitedError | PayloadRefusedError) or code in PASSING
    if passing or not code or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return error
    return MessageGoneError(str(error))
