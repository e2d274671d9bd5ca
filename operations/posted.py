"""A message that is kept up to date, as the record holds it: where it is, what it says, and when that changes."""

from dataclasses import dataclass

from pydantic import AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A message that can be edited: the id of the channel it was posted to, and its time there, which names it."""

    channel: str
    ts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The one message that shows a target this run, from the first look to the outcome.

    `due_at` is when it is next posted or edited, None once it only waits for the outcome's delivery; while `claim` is
    set a round is at it, until `leased_until` at the latest.
    `shows` is the digest of what it says, `shown_at` when it was last written, `failures` how many attempts in a row
    have failed. `together` is the digest of what it showed of the whole group, where others are shown in it, too.
    """

    target: str
    run: int
    due_at: AwareDatetime | None = None
    claim: str | None = None
    leased_until: AwareDatetime | None = None
    posted: Posted | None = None
    shows: str | None = None
    shown_at: AwareDatetime | None = None
    failures: int = 0
    together: str | None = None
