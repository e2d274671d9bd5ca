"""Whom a message mentions: the settings that all kinds with mentions share."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator

from notifiers.kind import Kind
from operations.model import Verdict
from operations.telling.announcement import Announcement

ACTOR = "actor"
"""The `mention` that stands for who started the operation."""


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
            message = f"must be {form}; or actor"
            raise ValueError(message)
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


def _people(context: Any) -> Mapping[str, str]:
    """Return the mentions of people in this kind; some have none."""
    return {who: given for who, given in ((context or {}).get("people") or {}).items() if given is not None}
