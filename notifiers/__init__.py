"""The kinds of targets, one file each, and the little that a kind has to be.

A kind is a pydantic model: its fields are the target's settings, and `send` tells one target about one outcome.
Built-in kinds and those of others come in by the same door, entry points of the group `opwatch.notifiers`.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol, runtime_checkable

from pydantic import AfterValidator, ConfigDict, SecretStr, ValidationInfo

from operations.model import MessageRef
from operations.telling.announcement import Announcement
from operations.telling.group_message import Together
from operations.telling.live import Progress

if TYPE_CHECKING:
    from aiohttp import ClientSession

GROUP = "opwatch.notifiers"
BUILT_IN = (
    EntryPoint("apprise", "notifiers.apprise:Apprise", GROUP),
    EntryPoint("console", "notifiers.console:Console", GROUP),
    EntryPoint("discord", "notifiers.chat.discord:Discord", GROUP),
    EntryPoint("email", "notifiers.email:Email", GROUP),
    EntryPoint("mattermost", "notifiers.chat.mattermost:Mattermost", GROUP),
    EntryPoint("rocketchat", "notifiers.chat.rocketchat:RocketChat", GROUP),
    EntryPoint("slack", "notifiers.slack.notifier:Slack", GROUP),
    EntryPoint("teams", "notifiers.chat.teams:Teams", GROUP),
    EntryPoint("webhook", "notifiers.webhook:Webhook", GROUP),
)
KIND_SETTINGS = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
"""For every kind's `model_config`: unknown settings are faults, and no value is shown in one."""


@runtime_checkable
class Notifier(Protocol):
    """One target of one kind.

    `retry_delays_s` are the waits after the first, second, … failed attempt, in seconds; after the last it is given up.
    `at_once` is how many messages one worker sends to the target at the same time.
    """

    retry_delays_s: ClassVar[tuple[float, ...]]
    at_once: ClassVar[int]

    async def send(self, announcement: Announcement, http: "ClientSession") -> None:
        """Tell the target once, within 20 s, or raise.

        Raises TransientError where another attempt may succeed (with `retry_after_s` where the receiver asks for
        a pause), PermanentError where none can. Anything else raised counts as transient. No error text may hold a
        secret. `reason` of an error is the word that metrics have for it; notifiers/reasons.py finds it for a status.
        """


@runtime_checkable
class Checkable(Protocol):
    """A kind whose settings can be tried without telling anybody; to be so is optional."""

    async def check(self, http: "ClientSession") -> str:
        """Try what can be tried without posting, within 20 s, and say what was found; raises as `send` does."""


@runtime_checkable
class Previewable(Protocol):
    """A kind that can show its message; only one that sends by other means than `http` has to be."""

    def preview(self, announcement: Announcement) -> str:
        """Write the message as it would be sent, without any secret."""


@runtime_checkable
class LiveNotifier(Protocol):
    """What a kind offers besides whose messages can be edited. `live` says whether the operator wants it."""

    live: bool

    async def show(self, shown: Progress | Together, posted: MessageRef | None, http: "ClientSession") -> MessageRef:
        """Show how an operation or a group goes, within 5 s: post it, or edit what was posted; returns where it stands.

        Where that message is gone, posts another, but not to show what is `stopped`. Raises as `send` does.
        """

    async def follow_up(self, announcement: Announcement, posted: MessageRef, http: "ClientSession") -> None:
        """Tell the outcome, or that the operation is slow, by editing what was posted and replying to it.

        Where that cannot be, posts it as `send` does. Raises as `send` does.
        """

    async def reply(self, announcement: Announcement, posted: MessageRef, http: "ClientSession") -> None:
        """Reply to what was posted with what somebody has to hear of, and else do nothing; likewise."""


def editing(notifier: Notifier) -> LiveNotifier | None:
    """Give the notifier as one that keeps messages up to date, where the operator wants that."""
    return notifier if isinstance(notifier, LiveNotifier) and notifier.live else None


def kinds() -> dict[str, EntryPoint]:
    """Find every kind, by name; loading one imports it, so only those in use cost memory."""
    return {point.name: point for point in (*BUILT_IN, *entry_points(group=GROUP))}


def private_allowed(info: ValidationInfo) -> bool:
    """Whether the operator allowed private targets, and with them what is not encrypted."""
    return bool((info.context or {}).get("plain_http"))


def _dialable(url: SecretStr, info: ValidationInfo) -> SecretStr:
    """Accept an https URL, or http where the operator allowed private targets."""
    text = url.get_secret_value()
    scheme, _, rest = text.partition("://")
    if scheme.lower() not in ("https", "http") or not rest.strip("/") or not text.isprintable() or " " in text:
        message = "must be a URL that begins with https://"
        raise ValueError(message)
    if scheme.lower() == "http" and not private_allowed(info):
        message = "must begin with https:// (plain http needs OPWATCH_ALLOW_PRIVATE_TARGETS=true)"
        raise ValueError(message)
    return url


SecretUrl = Annotated[SecretStr, AfterValidator(_dialable)]
"""A URL that is a secret by itself, as Slack's webhook URLs are."""
