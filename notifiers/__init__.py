"""Everything that a kind of target may import; and the built-in kinds, one file or folder each.

Built-in and third-party kinds are both entry points of the group `opwatch.notifiers`. A kind imports nothing else of
Opwatch. docs/notifiers.md has an example.
"""

from importlib.metadata import EntryPoint, entry_points

from notifiers import context_wording, group_wording, progress_wording, time_wording, wording
from notifiers.guard import connect
from notifiers.judge import PAUSE_S, answer_code, answer_field, judge, retry_after_s
from notifiers.kind import (
    Checkable,
    ClientSession,
    Kind,
    LiveNotifier,
    Mentioning,
    Notifier,
    Previewable,
    SecretUrl,
    private_allowed,
    stripped,
)
from notifiers.posting import Chat, Posting, Request, check_host
from operations.errors import REFUSED_BY_US, OpwatchError, PermanentError, RateLimitedError, Reason, TransientError
from operations.kind import NO_LINKS, Links
from operations.model import MessageRef, State, Tracking, Verdict
from operations.telling.announcement import Announcement, announce
from operations.telling.groups import Group
from operations.telling.progress import GroupMessage, Progress
from operations.telling.view import timestamp
from operations.text import cut_middle, encodable, first_line, json_bytes, plain, whole_lines

GROUP = "opwatch.notifiers"
BUILT_IN = (
    EntryPoint("console", "notifiers.console:Console", GROUP),
    EntryPoint("discord", "notifiers.chat.discord:Discord", GROUP),
    EntryPoint("email", "notifiers.email:Email", GROUP),
    EntryPoint("http", "notifiers.http.notifier:Http", GROUP),
    EntryPoint("mattermost", "notifiers.chat.mattermost:Mattermost", GROUP),
    EntryPoint("rocketchat", "notifiers.chat.rocketchat:RocketChat", GROUP),
    EntryPoint("slack", "notifiers.slack.notifier:Slack", GROUP),
    EntryPoint("teams", "notifiers.chat.teams:Teams", GROUP),
    EntryPoint("webhook", "notifiers.webhook:Webhook", GROUP),
)

__all__ = [
    "NO_LINKS",
    "PAUSE_S",
    "REFUSED_BY_US",
    "Announcement",
    "Chat",
    "Checkable",
    "ClientSession",
    "Group",
    "GroupMessage",
    "Kind",
    "Links",
    "LiveNotifier",
    "Mentioning",
    "MessageRef",
    "Notifier",
    "OpwatchError",
    "PermanentError",
    "Posting",
    "Previewable",
    "Progress",
    "RateLimitedError",
    "Reason",
    "Request",
    "SecretUrl",
    "State",
    "Tracking",
    "TransientError",
    "Verdict",
    "announce",
    "answer_code",
    "answer_field",
    "check_host",
    "connect",
    "context_wording",
    "cut_middle",
    "encodable",
    "first_line",
    "group_wording",
    "json_bytes",
    "judge",
    "plain",
    "private_allowed",
    "progress_wording",
    "retry_after_s",
    "stripped",
    "time_wording",
    "timestamp",
    "whole_lines",
    "wording",
]
"""The names that a kind may import."""


def editing(notifier: Notifier) -> LiveNotifier | None:
    """Return the notifier if it edits messages and the operator has set `live`, else None."""
    return notifier if isinstance(notifier, LiveNotifier) and notifier.live else None


def kinds() -> dict[str, EntryPoint]:
    """Find every kind, by name. An entry point is imported only when it is loaded, so unused kinds cost no memory."""
    return {point.name: point for point in (*BUILT_IN, *entry_points(group=GROUP))}
