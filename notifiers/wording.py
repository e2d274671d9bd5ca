"""The words of a message, the same in every kind. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping

from notifiers.context_wording import PLAIN, Markup, known_context, links, other_context
from notifiers.time_wording import NO_BREAK, duration, is_unusual, since, span
from operations.kind import Kind
from operations.model import DeliveryState, State, Verdict
from operations.telling.announcement import Announcement
from operations.telling.progress import Progress
from operations.text import cut_middle, few_lines, first_line, plain, whole_lines

ONE_OFF = "start-one-off"  # its success means that it has started; how it ends is unknown
ALERT_MARK = "⚠️"
SLOW_MARK = "⏳"
MARKS = {
    State.TRACKING: "🔄",
    State.SUCCEEDED: "✅",
    State.FAILED: "❌",
    State.TIMED_OUT: "⏱️",
    State.LOST: "❓",
    State.CANCELLED: "⏹️",
}
WORDS = {
    State.TRACKING: "under way",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.TIMED_OUT: "not finished",
    State.LOST: "end unknown",
    State.CANCELLED: "cancelled",
}
DELIVERY_WORDS = {state: "given up" if state is DeliveryState.DEAD else state.value for state in DeliveryState}
"""The words for states in messages, one-line answers and on the page."""

COLOURS = {Verdict.SUCCEEDED: 0x2EB67D, Verdict.FAILED: 0xE01E5A, Verdict.TIMED_OUT: 0xECB22E, Verdict.LOST: 0xECB22E}
NO_ERROR_TEXT = "Scalingo gave no error text"

_ENVIRONMENT_LIMIT = 40
_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
_VERDICT_MARK = re.compile(r"\A\s*!\s+(?:→\s*)?(?=\S)")
_STILL = re.compile(r"still (.+?) after \d+ s\b")
_UNANSWERED, _REFUSED = "no usable answer", "the API refuses access"
_PING = re.compile(r"[@<](?=[\w!@#&])")


def app(told: Announcement | Progress, markup: Markup = PLAIN) -> str:
    """Name the app: `shop (production)`; in another region, `shop (production, osc-secnum-fr1)`."""
    where = ", ".join(map(markup.safe, places(told)))
    name = markup.strong(markup.safe(told.app))
    return f"{name} ({where})" if where else name


def places(told: Announcement | Progress) -> Iterator[str]:
    """Yield the environment, if the context names it, and account and region unless they are the default ones."""
    yield from filter(None, (environment(told.context), told.place))


def environment(context: Mapping[str, str]) -> str:
    """Return the environment that a context names, in a few words, since it stands in headlines; may be empty."""
    return first_line(plain(context.get("environment", "")), _ENVIRONMENT_LIMIT)


def what(told: Announcement | Progress) -> str:
    """Name what ran, in the API's word if known: `restart`, `scale`, `deployment`, `database upgrade`, `backup`."""
    return type_name(told.kind, told.type)


def type_name(kind: Kind, word: str | None) -> str:
    """Name a type of operation for people; `word` is the API's."""
    shown = first_line(plain(word or ""), 40)
    if kind is Kind.DATABASE:
        return f"database {shown or 'operation'}"
    return "one-off" if word == ONE_OFF else shown or kind.value


def state_word(state: State, word: str | None) -> str:
    """Write a state for people; `word` is the API's type of operation. A one-off that is done has only started."""
    return "started" if word == ONE_OFF and state is State.SUCCEEDED else WORDS[state]


def verdict(announcement: Announcement) -> str:
    """Write verdict and duration: `failed after 42 s (3rd in a row)`, `succeeded again after 2 failures, in 42 s`.

    What goes on is `still running after 42 s`. The end of a lost operation is unknown, and so is its duration.
    """
    took, failures = duration(announcement.duration_s), announcement.failures_in_a_row
    if announcement.slow:
        return f"still running after {took}"
    said = state_word(State(announcement.verdict), announcement.type)
    if announcement.verdict is Verdict.LOST:
        return said
    if announcement.verdict is Verdict.TIMED_OUT:
        reason = plain(announcement.reason or "")
        still = _STILL.match(reason)
        said = f"still {first_line(still[1], 40)}" if still else "still running"
        if reason.startswith(_UNANSWERED):
            said = WORDS[State.LOST]
    if failures and announcement.verdict is Verdict.SUCCEEDED:
        return f"{said} {again(failures)}" + (f", in {took}" if took else "")
    said += f" after {took}" if took else ""
    return f"{said} ({ordinal(failures)} in a row)" if failed_again(announcement) else said


def again(failures: int) -> str:
    """Write how many failures a success ends: `again after 2 failures`; empty for none."""
    return f"again after {failures} failure{'s' if failures > 1 else ''}" if failures else ""


def failed_again(announcement: Announcement) -> bool:
    """Tell whether the operation before failed, too."""
    return announcement.verdict is Verdict.FAILED and announcement.failures_in_a_row > 1 and not announcement.slow


def ordinal(number: int) -> str:
    """Write a number's place: `1st`, `2nd`, `3rd`, `11th`."""
    teens = number // 10 % 10 == 1
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def compared(announcement: Announcement, markup: Markup = PLAIN) -> str:
    """Write what is added to the verdict: ` (usually 15–20 s), ended 16:20 UTC, told 25 min late`.

    The usual duration is added only if this one was far from it. The end is added if the message is late or overtaken.
    """
    told = "".join(f", {each}" for each in since(announcement, markup.dated))
    if announcement.closing is not None:
        return told
    if announcement.verdict is Verdict.LOST and not announcement.slow:
        named = announcement.kind.value if announcement.kind is not Kind.DATABASE else Kind.OPERATION.value
        refused = _REFUSED in (announcement.reason or "")
        return f" (Scalingo {'refuses access to this app' if refused else f'no longer knows this {named}'}){told}"
    usual, took_s = announcement.usual, announcement.duration_s
    known = usual is not None and took_s is not None and (announcement.slow or is_unusual(took_s, usual))
    stopped = "; Opwatch stopped watching" if announcement.verdict is Verdict.TIMED_OUT and announcement.ended else ""
    said = f"usually {span(usual)}" if usual is not None and known else ""
    said = said and (f", {said}" if failed_again(announcement) else f" ({said})")
    return said + stopped + told


def headline(announcement: Announcement) -> str:
    """Write the announcement in one line: `❌ shop: restart failed after 42 s`, or the alert."""
    if announcement.alert is None:
        return outcome(announcement)
    return f"{alert_mark(announcement)} {announcement.alert}"


def alert_mark(announcement: Announcement) -> str:
    """Return the emoji for an alert."""
    return MARKS[State.SUCCEEDED] if announcement.recovered else ALERT_MARK


def mark(announcement: Announcement) -> str:
    """Return the emoji for an outcome or a warning."""
    if announcement.closing is not None:
        return MARKS[announcement.closing.group.state]
    return SLOW_MARK if announcement.slow else MARKS[State(announcement.verdict)]


def colour(announcement: Announcement) -> int:
    """Return the verdict's colour, as RGB."""
    return COLOURS[announcement.verdict] if announcement.ended or announcement.recovered else COLOURS[Verdict.LOST]


def explanation(announcement: Announcement) -> str:
    """Return the text below the headline: the cause; for an alert, the outcome that could not be delivered."""
    if announcement.alert is None:
        return shown_cause(announcement)
    return f"{outcome(announcement)}\n{shown_cause(announcement)}".rstrip() if announcement.ended else ""


def went_wrong(announcement: Announcement) -> bool:
    """Tell whether to mention somebody: not for a success, a slow operation, or an outcome that was overtaken."""
    bad = announcement.verdict is not Verdict.SUCCEEDED and not announcement.overtaken
    return (announcement.alert is not None or bad) and not (announcement.slow or announcement.quiet)


def plain_text(announcement: Announcement, limit_bytes: int) -> str:
    """Write everything below the headline as plain text. A long cause is cut in the middle."""
    given = announcement.context
    told = (*known_context(given), *other_context(given, announcement.group), *links(given, announcement.links))
    below = "\n".join(f"{name}: {value}" for name, value in told)
    below = whole_lines(cut_middle(below, limit_bytes // 2, size_bytes))
    above = whole_lines(cut_middle(explanation(announcement), limit_bytes - size_bytes(below) - 2, size_bytes))
    return "\n\n".join(part for part in (above, below) if part)


def unpinged(text: str) -> str:
    """Insert a zero-width space into possible mentions (`@here`, `<!channel>`), so that they notify nobody."""
    return _PING.sub("\\g<0>\u200b", text)


def size_bytes(text: str) -> int:
    """Count bytes in UTF-8, which are never fewer than the characters that a vendor may count."""
    return len(text.encode("utf-8", "replace"))


def outcome(announcement: Announcement, markup: Markup = PLAIN) -> str:
    """Write the outcome, or that it is slow: `❌ shop: restart failed after 42 s (usually 15–20 s)`."""
    return f"{mark(announcement)} {in_words(announcement, markup)}"


def in_words(announcement: Announcement, markup: Markup = PLAIN) -> str:
    """Write the outcome without an emoji: `shop: restart failed after 42 s (usually 15–20 s)`."""
    added = compared(announcement, markup)
    if announcement.closing is not None:
        from notifiers import group_wording  # noqa: PLC0415 - it uses this module

        return group_wording.line(announcement.closing, markup) + added
    begun = f"{app(announcement, markup)}: {markup.safe(what(announcement))}"
    joint = ": " if announcement.verdict is Verdict.LOST and not announcement.slow else " "
    return f"{begun}{joint}{markup.strong(markup.safe(verdict(announcement)))}{added}"


def cause(announcement: Announcement) -> str:
    """Return the error text or else the reason of the verdict, without colours and control characters.

    The blanks before its first line stay: lines of a log are aligned.
    """
    return _BLANK_LINES.sub("", plain(announcement.error or announcement.reason or "").rstrip())


def shown_cause(announcement: Announcement) -> str:
    """Return the cause as messages show it: without what the headline says, or that there is no error text."""
    if announcement.closing is not None:
        from notifiers import group_wording  # noqa: PLC0415 - it uses this module

        return "\n".join(group_wording.lines(announcement.closing))
    text = cause(announcement)
    if announcement.ended and announcement.verdict is Verdict.FAILED:
        return text or NO_ERROR_TEXT
    return text.partition("; ")[2] if announcement.verdict is Verdict.TIMED_OUT and _STILL.match(text) else text


def short_cause(announcement: Announcement, limit: int) -> str:
    """Return the first line of the cause, without the ` !   →` of Scalingo's verdict on a deployment."""
    if announcement.closing is not None:
        return ""
    return first_line(_VERDICT_MARK.sub("", shown_cause(announcement)), limit)


def shortened(text: str, limit: int, size: Callable[[str], int] = size_bytes) -> str:
    """Cut a cause or an explanation for a chat: about twelve lines, at most `limit` by `size`, without the middle."""
    return whole_lines(cut_middle(few_lines(text), limit, size))


def for_terminals(text: str) -> str:
    """Write ordinary spaces for no-break ones, where scripts search for words or headers are folded."""
    return text.replace(NO_BREAK, " ")
