"""What a kind of target is: a pydantic model, whose fields are the target's settings, that sends or raises."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol, runtime_checkable

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, ValidationInfo, WithJsonSchema

from operations.model import MessageRef
from operations.telling.announcement import Announcement
from operations.telling.group_message import GroupMessage
from operations.telling.live import Progress
from operations.text import url_fault

if TYPE_CHECKING:
    from aiohttp import ClientSession

PATIENT_S = (5.0, 15.0, 45.0, 120.0, 300.0, 600.0, 1200.0, 1200.0)


@runtime_checkable
class Notifier(Protocol):
    """One target of one kind.

    `retry_delays_s` are the waits after the first, second, … failed attempt, in seconds; after the last one the
    delivery is given up. `at_once` is how many messages one worker sends to the target at the same time.
    """

    retry_delays_s: ClassVar[tuple[float, ...]]
    at_once: ClassVar[int]

    async def send(self, announcement: Announcement, http: "ClientSession") -> None:
        """Tell the target once, within 20 s, or raise.

        Raises TransientError where another attempt may succeed (with `retry_after_s` where the receiver asks for
        a pause), PermanentError where none can; `judge` finds out which. Anything else raised counts as transient.
        No error text may hold a secret. `reason` of an error is its label in the metrics.
        """


@runtime_checkable
class Checkable(Protocol):
    """A kind whose settings can be tried without posting; optional."""

    async def check(self, http: "ClientSession") -> str:
        """Try what can be tried without posting, within 20 s, and say what was found; raises as `send` does."""


@runtime_checkable
class Previewable(Protocol):
    """A kind that can show its message; optional."""

    def preview(self, announcement: Announcement) -> str:
        """Write the message as it would be sent, without any secret."""


@runtime_checkable
class LiveNotifier(Protocol):
    """A kind whose messages can be edited; optional. `live` says whether the operator wants it."""

    live: bool

    async def show(
        self, shown: Progress | GroupMessage, posted: MessageRef | None, http: "ClientSession"
    ) -> MessageRef:
        """Show how an operation or a group goes, within 5 s: post it, or edit what was posted; returns where it stands.

        Where that message is gone, posts another, but not to show what is `stopped`. Raises as `send` does.
        """

    async def follow_up(self, announcement: Announcement, posted: MessageRef, http: "ClientSession") -> None:
        """Tell the outcome, or that the operation is slow, by editing what was posted and replying to it.

        Where that fails, posts it as `send` does. Raises as `send` does.
        """

    async def reply(self, announcement: Announcement, posted: MessageRef, http: "ClientSession") -> None:
        """Reply to what was posted with what people must read, and else do nothing; raises as `send` does."""


class Kind(BaseModel):
    """A base for kinds: unknown settings are faults, and no fault shows a value.

    Its class variables describe it: the tables of docs/targets.md are made from them, from its docstring (one
    sentence) and from the fields' descriptions. `set_up` says how to get what the fields need, with an example of a
    table, and what is worth knowing; `limits` says what is cut. Both are Markdown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    retry_delays_s: ClassVar[tuple[float, ...]] = PATIENT_S
    at_once: ClassVar[int] = 1
    set_up: ClassVar[str] = ""
    limits: ClassVar[str] = ""


def private_allowed(info: ValidationInfo) -> bool:
    """Whether the operator allowed private targets, and with them what is not encrypted."""
    return bool((info.context or {}).get("plain_http"))


def _usable(url: SecretStr, info: ValidationInfo) -> SecretStr:
    fault = url_fault(url.get_secret_value(), https_only=not private_allowed(info))
    if fault is not None:
        raise ValueError(fault)
    return url


SecretUrl = Annotated[SecretStr, AfterValidator(_usable), WithJsonSchema({"type": "string", "format": "uri"})]
"""An https URL that is a secret by itself, as Slack's webhook URLs are; http where private targets are allowed."""
