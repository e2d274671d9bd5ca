"""The protocols of a kind, and its base classes: pydantic models whose fields are the target's settings."""

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, TypeAlias, runtime_checkable

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from notifiers.judge import answer_code, repeats
from operations.model import MessageRef, Verdict
from operations.telling.announcement import Announcement
from operations.telling.audience import CLOSING
from operations.telling.progress import GroupMessage, Progress
from operations.text import url_fault

if TYPE_CHECKING:
    import aiohttp

ClientSession: TypeAlias = "aiohttp.ClientSession"
"""The worker's session. `web` never sends: without importing aiohttp it needs less memory."""

ACTOR = "actor"
"""The `mention` that stands for who started the operation."""

PATIENT_S = (5.0, 15.0, 45.0, 120.0, 300.0, 600.0, 1200.0, 1200.0)


@runtime_checkable
class Notifier(Protocol):
    """Sends messages to one target.

    `retry_delays_s` are the waits after the first, second, … failed attempt, in seconds. When they are used up, the
    delivery is given up. `at_once` is how many messages one worker sends to the target at the same time. An optional
    `groups` is the default of the rule of that name, else `closing`.
    """

    retry_delays_s: ClassVar[tuple[float, ...]]
    at_once: ClassVar[int]

    async def send(self, announcement: Announcement, http: ClientSession) -> None:
        """Tell the target once, within 20 s, or raise.

        Raises TransientError if another attempt may succeed (with `retry_after_s` if the receiver asks for a pause),
        PermanentError if none can; `judge` decides which. Any other exception counts as transient. No error text may
        hold a secret. `reason` of an error is its label in the metrics.
        """


@runtime_checkable
class Checkable(Protocol):
    """A kind whose settings can be tested without posting; optional."""

    async def check(self, http: ClientSession) -> str:
        """Test the settings without posting, within 20 s, and return the result in words. Raises as `send` does."""


@runtime_checkable
class Previewable(Protocol):
    """A kind that can show its message; optional."""

    def preview(self, announcement: Announcement) -> str:
        """Write the message as it would be sent, without secrets."""


@runtime_checkable
class LiveNotifier(Protocol):
    """A kind whose messages can be edited; optional. `live` is the operator's setting."""

    live: bool

    async def show(self, shown: Progress | GroupMessage, posted: MessageRef | None, http: ClientSession) -> MessageRef:
        """Show the progress of an operation or a group, within 5 s: post it, or edit `posted`. Returns where it is.

        If the message is gone, posts another one, except when `shown` is `over`. Raises as `send` does.
        """

    async def follow_up(self, announcement: Announcement, posted: MessageRef, http: ClientSession) -> None:
        """Tell the outcome, or that the operation is slow, by editing the message and replying to it.

        If that fails, posts it as `send` does. Raises as `send` does.
        """

    async def reply(self, announcement: Announcement, posted: MessageRef, http: ClientSession) -> None:
        """Reply to the message if something went wrong, else do nothing. Raises as `send` does."""


class Kind(BaseModel):
    """The base of kinds: unknown settings are faults, and no fault shows a value.

    The tables of docs/targets.md are made from the class variables, the docstring (one sentence) and the descriptions
    of the fields. `set_up` says how to get the values of the fields, with an example; `limits` says what is cut. Both
    are Markdown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    retry_delays_s: ClassVar[tuple[float, ...]] = PATIENT_S
    at_once: ClassVar[int] = 1
    groups: ClassVar[str] = CLOSING
    set_up: ClassVar[str] = ""
    limits: ClassVar[str] = ""

    def answer_code(self, body: bytes, *path: str) -> str:
        """Return the error code at `path` in an answer's JSON; empty if it repeats anything of these settings."""
        code = answer_code(body, *path)
        return "" if self.repeats_settings(code) else code

    def repeats_settings(self, text: str) -> bool:
        """Tell whether a text of the receiver has anything of these settings in it, in whole or in part."""
        return repeats(text, list(_texts(self.__dict__.values())))


class Mentioning(Kind):
    """The base of kinds that can mention somebody.

    `mentions` is the form of a mention, and `mentions_in_words` says it to people, in Markdown.
    """

    mentions: ClassVar[re.Pattern[str]]
    mentions_in_words: ClassVar[str]

    mention: Annotated[str | None, Field(description="whom to mention, or `actor`: who started the operation")] = None
    mention_on: Annotated[tuple[Verdict, ...], Field(description="the verdicts that mention somebody")] = (
        Verdict.FAILED,
    )
    _people: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("mention")
    @classmethod
    def _of_this_kind(cls, mention: str | None, info: ValidationInfo) -> str | None:
        form = cls.mentions_in_words.replace("`", "")
        if mention == ACTOR:
            if odd := [who for who, given in _people(info.context).items() if cls.mentions.fullmatch(given) is None]:
                message = f"[people] {', '.join(odd)}: must be {form}; for several kinds: jane = {{ slack = …, … }}"
                raise ValueError(message)
        elif mention is not None and cls.mentions.fullmatch(mention) is None:
            raise ValueError(f"must be {form}; or actor")
        return mention

    def model_post_init(self, context: Any, /) -> None:
        """Keep how the people are mentioned, in any case of letters."""
        self._people = {who.casefold(): given for who, given in _people(context).items()}

    def mention_for(self, announcement: Announcement) -> str | None:
        """Return whom this message mentions, if anybody.

        Nobody is mentioned by a warning, by an outcome that was overtaken, or if the announcement is `quiet`. An alert
        mentions in any case, but never the actor, who has nothing to do with it.
        """
        if announcement.slow or announcement.quiet:
            return None
        if announcement.alert is not None:
            return None if self.mention == ACTOR else self.mention
        if announcement.overtaken or announcement.verdict not in self.mention_on:
            return None
        actor = announcement.context.get("actor", "").strip().casefold()
        return self._people.get(actor) if self.mention == ACTOR else self.mention


def private_allowed(info: ValidationInfo) -> bool:
    """Tell whether the operator allowed private targets, and with them unencrypted connections."""
    return bool((info.context or {}).get("plain_http"))


def _texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, str) and not isinstance(value, StrEnum):  # such as a verdict, which is no secret
            yield value
        elif isinstance(value, list | tuple):
            yield from _texts(value)
        elif isinstance(value, dict):
            yield from _texts((*value, *value.values()))


def stripped(value: object) -> object:
    """Drop blanks and line ends around a text: a file with a secret ends with one."""
    return value.strip() if isinstance(value, str) else value


def _usable(url: SecretStr, info: ValidationInfo) -> SecretStr:
    fault = url_fault(url.get_secret_value(), https_only=not private_allowed(info))
    if fault is not None:
        raise ValueError(fault)
    return url


SecretUrl = Annotated[
    SecretStr, BeforeValidator(stripped), AfterValidator(_usable), WithJsonSchema({"type": "string", "format": "uri"})
]
"""An https URL that is itself a secret, such as Slack's webhook URLs. With private targets allowed, also http."""


def _people(context: Any) -> Mapping[str, str]:
    """Return the mentions of people in this kind; some have none."""
    return {who: given for who, given in ((context or {}).get("people") or {}).items() if given is not None}
