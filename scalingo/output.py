"""Finds why a deployment failed in its output, the log of its build and start. Pure.

A failed deployment's output ends with a verdict: lines that begin with ` !`. If a buildpack failed, the verdict says no
more than that, and the lines before it say why. https://developers.scalingo.com/deployments and
https://doc.scalingo.com/platform/getting-started/common-deployment-errors
"""

import codecs
import re
from collections.abc import Iterable
from itertools import groupby

from scalingo.terminal import lines_shown

KEPT_BYTES = 65_536
LAST_LINES = 40
LINES_BEFORE = 30
LONGEST_LINE = 500
"""In characters. One minified source line in an error must not push all other lines out of the message."""

_SHOWN_OF_A_RUN = 4

_MARKED = re.compile(r"\s{0,8}!(\s(?!\[)|$)")
_VERDICT = re.compile(r"\s{0,8}!\s+(Error deploying the application|(→|->)\s)")
_SAYS_NOTHING = re.compile(
    r"\s*!\s+(Error deploying the application|An error occurr?ed during buildpack compilation"
    r"|(→|->) Invalid return code from buildpack)$"
)
_FAILED_BUILDPACK = re.compile(r"\s*!\s+(→|->)\s+Invalid return code from buildpack")
_LINKS_OR_EMPTY = re.compile(r"\s*!(\s+(Application Logs|Documentation)\b|$)")
_OF_GIT = re.compile(r"(To \S+|\s?! \[remote rejected\] .*|error: failed to push some refs .*)$")
_HOOK = re.compile(r".*\[postdeploy-\d+\]")
# Lines that come in long runs after an error: stack frames of Node.js, Java, Ruby and PHP (those of Python come before
# it), and the options that Ruby lists when a native extension cannot be built.
_RUN = re.compile(
    r"(.*\[postdeploy-\d+\])?\s*(at \S.*[:(]|from \S+:\d+:in |\S+:\d+:in [`']|\.\.\. \d+ more|#\d+ \S+\(\d+\): "
    r"|--with(out)?-\S+$)"
)
_FAILURE = re.compile(
    r"(?<![\w./-])(errors?|err!|fatal|emerg|fail(ed|ure)|cannot|can't|could not|couldn't|did not|didn't|unable"
    r"|undefined|killed|denied|forbidden|not found|no such file|requires)(?![\w/-]|\.\w)"
    r"|(?-i:[a-z](Error|Exception|Configured)\b|\bERR_|\*\* \()",
    re.IGNORECASE,
)
# Of the lines with such words, those that are no failure, or have better ones beside them.
_NO_FAILURE = re.compile(
    r"^\W*(npm )?(err!|error)\W*((code|errno|syscall|path)\b.*)?$|^\s*(\w+=|[-=]+>|npm http |raise |throw )"
    r"|\bwarn(ing)?s?\b|deprecat|\b0 (errors|failed)|\bif you\b|\byou may\b|we're sorry"
    r"|BUILD FAILURE|COMPILATION ERROR|failed to compile\.|build error occurred|rake aborted|migrations canceled"
    r"|native extension\.|subprocess-exited|with status 'error'",
    re.IGNORECASE,
)


class Tail:
    """The end of an output that is streamed: its last 64 kB. Memory stays below three times that."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._bytes = 0

    def add(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._bytes += len(chunk)
        self._kept += chunk[-KEPT_BYTES:]
        if len(self._kept) > 2 * KEPT_BYTES:
            del self._kept[:-KEPT_BYTES]

    @property
    def is_cut(self) -> bool:
        """Tell whether the output is longer than what is kept."""
        return self._bytes > KEPT_BYTES

    def text(self) -> str:
        """Return what is kept, without a first line or a character that was cut."""
        kept = bytes(self._kept[-KEPT_BYTES:])
        if self.is_cut:
            torn, _, rest = kept.partition(b"\n")
            kept = rest or torn.lstrip(bytes(range(0x80, 0xC0)))
        return codecs.getincrementaldecoder("utf-8")("replace").decode(kept)


def cause(text: str, status: str) -> str:
    """Return what of an output says why the deployment ended with this status; empty if the output is empty.

    If the output explains the reason, the line that seems to say most stands first, by itself. So a reader sees it at a
    glance, and a cut in the middle spares it. The rest follows in the order of the output.
    """
    before, verdict, after = _parts(lines_shown(text))
    hook = [line for line in (*before, *after) if _HOOK.match(line)] if status == "hook-error" else []
    if not verdict and not hook:
        return _without_verdict(_last(before, LAST_LINES), status)
    says_why = any(map(_VERDICT.match, verdict)) and not any(map(_FAILED_BUILDPACK.match, verdict))
    if hook:
        before, after = _without_runs(hook), []
    elif says_why and status != "hook-error":
        before, after = [], _without_runs(after)
    else:
        before = _before(before)
    if not any((*before, *after)):
        return _joined(sorted(verdict, key=lambda line: _SAYS_NOTHING.match(line) is not None))
    first = _first_failure([*before, *after])
    if hook and first:
        verdict = []
    first = first or [line for line in verdict if not _SAYS_NOTHING.match(line)][:1] or verdict[-1:]
    most = [line.strip().lstrip("! ") for line in first]
    return _joined([*most, "", *before, *verdict, *after])


def _without_verdict(lines: list[str], status: str) -> str:
    """Return the last lines, after the one of them that tells of a failure: a phone would show only their beginning."""
    failure = [] if status == "aborted" else _first_failure(lines)
    return _joined([*(line.strip() for line in failure), "", *lines])


def tail(text: str) -> str:
    """Return the last 40 lines of an output, as a terminal shows them."""
    return _joined(_last(lines_shown(text), LAST_LINES))


def _parts(lines: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Split into the lines before the verdict, the verdict and those after it, leaving out lines that only link."""
    if not lines:
        return [], [], []
    at = next((at for at in reversed(range(len(lines))) if _VERDICT.match(lines[at])), len(lines) - 1)
    start = end = at
    while start >= 0 and _MARKED.match(lines[start]):
        start -= 1
    while end < len(lines) and _MARKED.match(lines[end]):
        end += 1
    verdict = [line for line in lines[start + 1 : end] if not _LINKS_OR_EMPTY.match(line)]
    after = [line for line in lines[end:] if not _LINKS_OR_EMPTY.match(line) and not _OF_GIT.match(line)]
    return lines[: start + 1], verdict, after if verdict else []


def _last(lines: list[str], most: int) -> list[str]:
    """Return the last lines, of which at most `most` are not blank."""
    written = [at for at, line in enumerate(lines) if line]
    return lines[written[-most] :] if len(written) > most else lines


def _before(lines: list[str]) -> list[str]:
    """Return the 30 lines before the verdict, and all of a buildpack's own message in which they begin."""
    lines = _without_runs(lines)
    start = len(lines) - len(_last(lines, LINES_BEFORE))
    while start and _MARKED.match(lines[start]) and _MARKED.match(lines[start - 1]):
        start -= 1
    return lines[start:]


def _without_runs(lines: Iterable[str]) -> list[str]:
    """Shorten what would push the error out of the text."""
    kept = list[str]()
    for is_run, group in groupby(lines, key=lambda line: _RUN.match(line) is not None):
        run = list(group)
        more = len(run) - _SHOWN_OF_A_RUN if is_run else 0
        kept += [*run[:_SHOWN_OF_A_RUN], f"       … {more} more lines like these …"] if more > 1 else run
    return kept


def _first_failure(lines: list[str]) -> list[str]:
    """Return the first line that seems to tell of a failure: a buildpack's own message only if there is no other."""
    failures = [line for line in lines if _FAILURE.search(line) and not _NO_FAILURE.search(line)]
    return sorted(failures, key=lambda line: _MARKED.match(line) is not None)[:1]


def _joined(lines: Iterable[str]) -> str:
    return "\n".join(map(_shortened, lines)).strip("\n")


def _shortened(line: str) -> str:
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 100]} … {line[-90:]}"
