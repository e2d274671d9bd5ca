"""The words of a message, the same in every kind. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from notifiers.time_wording import NO_BREAK, duration, since, span
from operations.kind import NO_LINKS, Kind, Links
from operations.model import DeliveryState, State, Verdict
from operations.telling.announcement import Announcement
from operations.telling.progress import Progress
from operations.text import cut_middle, first_line, plain, url_fault, whole_lines

ONE_OFF = "start-one-off"  # its success means that it has started; how it ends is unknown
ALERT_MARK = "⚠️"
SLOW_MARK = "⏳"
PENDING_MARK = "🕐"
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
    State.LOST: "lost from sight",
    State.CANCELLED: "cancelled",
}
DELIVERY_WORDS = {state: "given up" if state is DeliveryState.DEAD else state.value for state in DeliveryState}
"""The words for states in messages, one-line answers and on the page."""

NO_ERROR_TEXT = "Scalingo gave no error text"

GROUP_LIMIT = 80  # characters of a name
_VALUE_LIMIT, _URL_LIMIT, _OWN_URL_LIMIT = 150, 1_000, 250
_KNOWN_FIRST = ("environment", "actor", "commit")
_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
_VERDICT_MARK = re.compile(r"\A\s*!\s+(?:→\s*)?(?=\S)")
_PING = re.compile(r"[@<](?=[\w!@#&])")


def app(told: Announcement | Progress) -> str:
    """Name the app: `shop`; in another region or account than the default, `shop (agency in osc-secnum-fr1)`."""
    return f"{told.app} ({told.place})" if told.place else told.app


def what(announcement: Announcement | Progress) -> str:
    """Name what ran, in the API's word if known: `restart`, `scale`, `deployment`, `database upgrade`, `backup`."""
    return type_name(announcement.kind, announcement.type)


def type_name(kind: Kind, word: str | None) -> str:
    """Name a type of operation for people; `word` is the API's."""
    shown = first_line(plain(word or ""), 40)
    if kind is Kind.DATABASE:
        return f"database {shown or 'operation'}"
    return "one-off" if word == ONE_OFF else shown or kind.value


def state_word(state: State, word: str | None) -> str:
    """Write a state for people; `word` is the API's type of operation. A one-off that is done has only started."""
    return "started" if word == ONE_OFF and state is State.SUCCEEDED else WORDS[state]


def progress(seen: Progress) -> str:
    """Write the progress: `pending for 3 s`, `running for 42 s`, `cancelled after 42 s`."""
    age = duration(seen.age_s)
    if seen.over:
        return f"{WORDS[State.CANCELLED]} after {age}"
    status = first_line(plain(seen.status), 40) or WORDS[State.TRACKING]
    return f"still {status} after {age}" if seen.slow else f"{status} for {age}"


def progress_mark(seen: Progress) -> str:
    """Return the emoji for an operation without an outcome."""
    if seen.over:
        return MARKS[State.CANCELLED]
    if seen.slow:
        return SLOW_MARK
    return PENDING_MARK if seen.waiting else MARKS[State.TRACKING]


def usually(seen: Progress) -> str:
    """Write how long such operations usually take: ` (usually 15–20 s)`; empty if unknown."""
    return "" if seen.usual is None or seen.over else f" (usually {span(seen.usual)})"


def verdict(announcement: Announcement) -> str:
    """Write verdict and duration: `failed after 42 s`; for a slow operation, `still running after 42 s`."""
    took = duration(announcement.duration_s)
    if announcement.slow:
        return f"still running after {took}"
    word = state_word(State(announcement.verdict), announcement.type)
    return f"{word} after {took}" if took else word


def compared(announcement: Announcement, dated: Callable[[datetime, str], str] | None = None) -> str:
    """Write what is added to the duration: ` (usually 15–20 s), ended 16:20 UTC, told 25 min late`.

    The usual duration is left out if either is unknown, and for `lost`, whose duration is not that of the operation.
    The end is added if the message is late or overtaken. `dated` writes a time, given also as text, in another way.
    """
    lost = announcement.verdict is Verdict.LOST and not announcement.slow
    known = announcement.usual is not None and announcement.duration_s is not None and not lost
    usual = f" (usually {span(announcement.usual)})" if announcement.usual is not None and known else ""
    return usual + "".join(f", {each}" for each in since(announcement, dated or (lambda _, text: text)))


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


def explanation(announcement: Announcement) -> str:
    """Return the text below the headline: the cause; for an alert, the outcome that could not be delivered."""
    if announcement.alert is None:
        return shown_cause(announcement)
    return f"{outcome(announcement)}\n{shown_cause(announcement)}".rstrip() if announcement.ended else ""


def went_wrong(announcement: Announcement) -> bool:
    """Tell whether to mention somebody: not for a success, a slow operation, or an outcome that was overtaken."""
    if announcement.slow or announcement.quiet:
        return False
    bad = announcement.verdict is not Verdict.SUCCEEDED and not announcement.overtaken
    return announcement.alert is not None or bad


def known_context(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield name and value of the well-known entries of the caller's context, each in one short line."""
    for name in _KNOWN_FIRST:
        if value := first_line(plain(given.get(name, "")), _VALUE_LIMIT):
            yield name, value


def other_context(given: Mapping[str, str], group: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield the name of the group, if any, and the other entries of the context, each in one short line."""
    if name := first_line(plain(group or ""), GROUP_LIMIT):
        yield "group", name
    for name, text in given.items():
        if name in (*_KNOWN_FIRST, "url"):
            continue
        label, value = first_line(plain(name), _VALUE_LIMIT), first_line(plain(text), _VALUE_LIMIT)
        if label and value:
            yield label, value


def links(given: Mapping[str, str], own: Links = NO_LINKS) -> Iterator[tuple[str, str]]:
    """Yield the pages that say more: `details` (the `url` of a context), `logs` and `story`.

    Only http(s) URLs that cannot pass for markup.
    """
    for word, url, limit in (
        ("details", given.get("url"), _URL_LIMIT),
        ("logs", own.logs, _OWN_URL_LIMIT),
        ("story", own.story, _OWN_URL_LIMIT),
    ):
        if url is not None and url_fault(url) is None and len(url) <= limit:
            yield word, url


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


def outcome(announcement: Announcement) -> str:
    """Write the outcome, or that it is slow: `❌ shop: restart failed after 42 s (usually 15–20 s)`."""
    return f"{mark(announcement)} {in_words(announcement)}"


def in_words(announcement: Announcement) -> str:
    """Write the outcome without an emoji: `shop: restart failed after 42 s (usually 15–20 s)`."""
    if announcement.closing is not None:
        from notifiers import group_wording  # noqa: PLC0415 - it uses this module

        return group_wording.in_words(announcement, announcement.closing)
    return f"{app(announcement)}: {what(announcement)} {verdict(announcement)}{compared(announcement)}"


def cause(announcement: Announcement) -> str:
    """Return the error text or else the reason of the verdict, without colours and control characters.

    The blanks before its first line stay: lines of a log are aligned.
    """
    return _BLANK_LINES.sub("", plain(announcement.error or announcement.reason or "").rstrip())


def shown_cause(announcement: Announcement) -> str:
    """Return the cause as messages show it. A failure without an error text says so: readers would look for it."""
    if announcement.closing is not None:
        from notifiers import group_wording  # noqa: PLC0415 - it uses this module

        return group_wording.text(announcement.closing)
    failed = announcement.ended and announcement.verdict is Verdict.FAILED
    return cause(announcement) or (NO_ERROR_TEXT if failed else "")


def short_cause(announcement: Announcement, limit: int) -> str:
    """Return the first line of the cause, without the ` !   →` of Scalingo's verdict on a deployment."""
    if announcement.closing is not None:
        return ""
    return first_line(_VERDICT_MARK.sub("", shown_cause(announcement)), limit)


def cut_cause(announcement: Announcement, limit: int, size: Callable[[str], int] = len) -> str:
    """Return the cause. A long one loses whole lines in its middle, so that `size` of the result is at most `limit`."""
    return whole_lines(cut_middle(shown_cause(announcement), limit, size))


def for_terminals(text: str) -> str:
    """Write ordinary spaces for no-break ones, where scripts search for words or headers are folded."""
    return text.replace(NO_BREAK, " ")
