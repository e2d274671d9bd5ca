"""Makes texts from outside safe to store and show, and cuts them. Pure."""

import json
import re
from collections.abc import Callable
from urllib.parse import urlsplit

CUT_MARK = "\n… cut …\n"

# Terminal sequences (ECMA-48): control strings (titles, links) that end on their line, CSI (colours, cursor moves), and
# short ones. Of an unfinished one only its beginning matches: what follows may be the cause of a failure.
_SEQUENCE = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x00-\x08\x0a-\x1f\x7f-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,2}[@-~]"
    r"|\x1b[ -/]{0,2}[0-~]"
)
_LINE_END = re.compile("\r\n?|[\u2028\u2029]")
# Invisible characters: controls but tabs and newlines; marks that change the direction (Bidi_Control); soft hyphens,
# zero-width spaces and other format characters, and tags. Joiners stay: emoji and some scripts need them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    "\xad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def plain(text: str) -> str:
    """Strip terminal sequences and invisible characters; line ends become newlines."""
    return _INVISIBLE.sub("", _SEQUENCE.sub("", _LINE_END.sub("\n", text)))


def encodable(text: str) -> str:
    """Replace lone surrogates, which JSON allows and UTF-8 does not."""
    return text.encode("utf-8", "replace").decode("utf-8")


def json_bytes(text: str) -> int:
    """Count the bytes that a text takes inside a JSON document in UTF-8."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")) - 2


def cut_middle(text: str, limit: int, size: Callable[[str], int] = len) -> str:
    """Cut the middle of a text, so that `size` of the result is at most `limit`. Short texts stay unchanged.

    Both ends are kept, since either can have the cause of a failure.
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
    """Drop the partial lines on both sides of a cut, unless they are longer than `most` characters."""
    head, mark, tail = cut.partition(CUT_MARK)
    end, start = head.rfind("\n"), tail.find("\n") + 1
    if mark and end > 0 and len(head) - end <= most:
        head = head[:end]
    return head + mark + (tail[start:] if start <= most else tail)


def few_lines(text: str, first: int = 3, last: int = 9) -> str:
    """Keep the first and the last lines of a long text, and say how many are missing. A phone shows about twelve.

    If some were cut before, nobody knows how many.
    """
    lines = text.split("\n")
    missing = len(lines) - first - last
    if missing < 2:  # noqa: PLR2004
        return text
    cut_before = CUT_MARK.strip() in lines[first:-last]
    how_many = f"more than {missing - 1}" if cut_before else str(missing)
    return "\n".join([*lines[:first], f"… {how_many} lines …", *lines[-last:]])


def first_line(text: str, limit: int) -> str:
    """Return the first non-empty line, cut to `limit` characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= limit else line[: limit - 1] + "…"


def url_fault(url: str, *, https_only: bool = False, base: bool = False) -> str | None:
    """Return why a text is not a usable http(s) URL, without repeating it; None if it is usable.

    `https_only` refuses plain http. `base` refuses a user name, a query and a fragment, so that a path can be appended.
    Blanks, control characters and `<>|` are refused: no URL has them unencoded, and chats read them as markup.
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
