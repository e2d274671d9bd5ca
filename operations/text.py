"""Texts from outside made safe to store, cut and show. Pure."""

import json
import re
from collections.abc import Callable
from urllib.parse import urlsplit

CUT_MARK = "\n… cut …\n"

# ECMA-48 control sequences (colours, cursor moves), operating system commands (titles, links), and the short escapes.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])|\x9b[0-?]*[ -/]*[@-~]")
# Everything that is neither printed nor white space, and the marks that reverse the reading direction.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Strip terminal colours, control characters and direction marks; line ends become newlines."""
    text = _ANSI.sub("", text.replace("\r\n", "\n")).replace("\r", "\n")
    return _CONTROL.sub("", text)


def encodable(text: str) -> str:
    """Replace lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def json_bytes(text: str) -> int:
    """Count the bytes that a text takes inside a JSON document in UTF-8."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")) - 2


def cut_middle(text: str, limit: int, size: Callable[[str], int] = len) -> str:
    """Keep head and tail of a text so that `size` of the result is at most `limit`; short texts stay as they are.

    The cause of a failure stands at the end of its output as often as at its start.
    """
    if size(text) <= limit:
        return text
    low, high = 0, len(text) // 2
    while low < high:
        keep = (low + high + 1) // 2
        if size(_middle_out(text, keep)) <= limit:
            low = keep
        else:
            high = keep - 1
    return _middle_out(text, low)


def whole_lines(cut: str, most: int = 200) -> str:
    """Drop what is left of lines on both sides of where a text was cut, unless that is more than `most` characters."""
    head, mark, tail = cut.partition(CUT_MARK)
    end, start = head.rfind("\n"), tail.find("\n") + 1
    if mark and end > 0 and len(head) - end <= most:
        head = head[:end]
    return head + mark + (tail[start:] if start <= most else tail)


def first_line(text: str, limit: int) -> str:
    """Give the first line that says something, at most `limit` characters of it."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= limit else line[: limit - 1] + "…"


def url_fault(url: str, *, https_only: bool = False, base: bool = False) -> str | None:
    """Say why a text is not a usable http(s) URL, as a fault to show; None where it is one. The text is not repeated.

    `https_only` refuses plain http. `base` refuses what cannot be extended by a path: a user name, a query, a fragment.
    Blanks, control characters and `<>|` are refused: no URL holds them unencoded, and chats read them as markup.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or set(url) & set(" <>|"):
        return "must be a URL that begins with https://"
    if https_only and parts.scheme == "http":
        return "must begin with https:// (plain http needs OPWATCH_ALLOW_PRIVATE_TARGETS=true)"
    if base and set(url) & set("?#@"):
        return "must be a URL without user name, query and fragment"
    return None


def _middle_out(text: str, keep: int) -> str:
    return text[:keep] + CUT_MARK + text[len(text) - keep :]
