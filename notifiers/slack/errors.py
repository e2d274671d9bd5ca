"""Slack's refusals, classified. Pure.

https://docs.slack.dev/reference/methods/chat.postMessage and https://docs.slack.dev/reference/methods/chat.update
"""

from http import HTTPStatus

from notifiers.reasons import reason_of
from operations.errors import OpwatchError, PermanentError, RateLimitedError, TransientError

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
_DEFAULT_PAUSE_S = 30.0


class PayloadRefusedError(PermanentError):
    """Slack does not accept what we built; a plain text may still pass."""


class MessageGoneError(PermanentError):
    """Slack does not let the message that was posted be edited, or replied to; a new one may still be posted."""


def classify(code: str, status: int, retry_after_s: float | None) -> OpwatchError:
    """Turn a refusal into the error that says what to do: Slack's error string counts first, the status second."""
    said = f"Slack answered {status}" + (f": {code}" if code else "")
    if code in OUR_PAYLOAD or code.startswith("metadata_"):
        return PayloadRefusedError(said)
    if code in TARGET or code.startswith("restricted_action"):
        return PermanentError(said)
    if code in RATE or status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(said, retry_after_s=_DEFAULT_PAUSE_S if retry_after_s is None else retry_after_s)
    return TransientError(said, retry_after_s=retry_after_s, reason=reason_of(status))


def classify_edit(code: str, status: int, retry_after_s: float | None) -> OpwatchError:
    """Turn the refusal of an edit, or of a reply, into such an error; of a code nobody knows, into MessageGoneError.

    What is wrong beyond the message itself (a revoked token, say), posting a new one will show.
    """
    error = classify(code, status, retry_after_s)
    passing = isinstance(error, RateLimitedError | PayloadRefusedError) or code in PASSING
    if passing or not code or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return error
    return MessageGoneError(str(error))
