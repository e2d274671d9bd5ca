"""Classifies Slack's errors. Pure.

https://docs.slack.dev/reference/methods/chat.postMessage and https://docs.slack.dev/reference/methods/chat.update
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus

from notifiers import (
    PAUSE_S,
    OpwatchError,
    PermanentError,
    RateLimitedError,
    TransientError,
    answer_field,
    judge,
    retry_after_s,
)


def _codes(words: str) -> frozenset[str]:
    return frozenset(words.split())


RATE = _codes("ratelimited rate_limited")
OUR_PAYLOAD = _codes(
    """
    invalid_payload no_text invalid_blocks invalid_blocks_format too_many_attachments msg_blocks_too_long
    msg_too_long invalid_attachments metadata_too_large metadata_must_be_sent_from_app
    """
)
TARGET = _codes(
    """
    invalid_token action_prohibited channel_not_found no_service no_service_id no_active_hooks no_team
    channel_is_archived user_not_found team_disabled posting_to_general_channel_denied invalid_auth not_authed
    account_inactive token_revoked token_expired missing_scope not_in_channel is_archived restricted_action
    restricted_action_read_only_channel restricted_action_thread_only_channel
    restricted_action_non_threadable_channel restricted_action_thread_locked no_permission ekm_access_denied
    message_limit_exceeded not_allowed_token_type access_denied accesslimited team_access_not_granted
    enterprise_is_restricted invalid_arguments invalid_arg_name invalid_array_arg invalid_charset invalid_form_data
    invalid_json invalid_post_type missing_post_type json_not_object messages_tab_disabled
    channel_type_not_supported method_deprecated deprecated_endpoint unknown_method as_user_not_supported
    two_factor_setup_required missing_charset invalid_webhook_input cannot_dm_bot
    slack_connect_canvas_sharing_blocked slack_connect_file_link_sharing_blocked
    """
)
PASSING = _codes(
    """
    request_timeout service_unavailable team_added_to_org org_login_required internal_error fatal_error rollup_error
    external_channel_migrating
    """
)
EDIT = _codes(
    """
    message_not_found cant_update_message edit_window_closed block_mismatch cannot_reply_to_message thread_not_found
    update_failed cant_broadcast_message
    """
)
KNOWN = RATE | OUR_PAYLOAD | TARGET | PASSING | EDIT
"""Slack's own codes: shown as they are. Any other code is shown only if it repeats nothing of the settings."""

_CODE = re.compile(r"[a-z0-9_]{1,60}")

Classify = Callable[[str, int, Mapping[str, str], datetime], OpwatchError]


class PayloadRefusedError(PermanentError):
    """Slack refuses the blocks; a plain text may still pass."""


class MessageGoneError(PermanentError):
    """Slack refuses to edit the message, or to reply to it; a new one may still be posted."""


def judge_answer(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    classify: Classify,
    repeats_settings: Callable[[str], bool],
) -> OpwatchError | None:
    """Judge an answer of Slack. A 2xx means accepted, unless its body says no. Returns None if it was accepted."""
    accepted = status // 100 == 2  # noqa: PLR2004
    refused = _refusal(body)
    if accepted and refused is None:
        return None
    code = refused if refused and _CODE.fullmatch(refused) else ""
    if accepted and not code:
        return TransientError(f"the answer is not Slack's ({status} with an unexpected body): check the URL")
    if code and code not in KNOWN and repeats_settings(code):
        code = "an unexpected code"
    return classify(code, status, headers, now)


def _refusal(body: bytes) -> str | None:
    """Read why a body says no: an error code, if it is Slack's. None if it says yes, or breaks off before it says."""
    text = body.strip()
    if b"ok".startswith(text):
        return None
    if not text.startswith(b"{"):
        return text.decode("ascii", "replace")
    document = answer_field(text)
    if isinstance(document, dict):
        return None if document.get("ok") is True else str(document.get("error") or "?")
    if re.search(rb'"ok"\s*:\s*false', text) is None:
        return None
    code = re.search(rb'"error"\s*:\s*"([a-z0-9_]+)"', text)
    return code[1].decode() if code else "?"


def classify(code: str, status: int, headers: Mapping[str, str], now: datetime) -> OpwatchError:
    """Classify an error answer, by Slack's error code first and the status second."""
    said = f"Slack answered {status}" + (f": {code}" if code else "")
    if code in OUR_PAYLOAD or code.startswith("metadata_"):
        return PayloadRefusedError(said)
    if code in TARGET or code.startswith(("restricted_action", "slack_connect_")):
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
