"""The words for context, group and links, below the headline of a message; and how a kind marks up any text. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from operations.kind import NO_LINKS, Links
from operations.telling.announcement import Announcement
from operations.text import first_line, plain, url_fault

GROUP_LIMIT = 80  # characters of a name
_VALUE_LIMIT, _URL_LIMIT, _OWN_URL_LIMIT = 150, 1_000, 250
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_SHOWN_ELSEWHERE = ("environment", "actor", "commit", "url")


@dataclass(frozen=True, slots=True)
class Markup:
    """How a kind writes a text from outside (`safe`, or as `code`), what is `strong`, a link, and a time.

    The default is plain text. A time is given also as text. Without `link`, links are left out.
    """

    safe: Callable[[str], str] = str
    code: Callable[[str], str] = str
    strong: Callable[[str], str] = str
    link: Callable[[str, str], str] | None = None
    dated: Callable[[datetime, str], str] = lambda _, text: text


PLAIN = Markup()


def phrases(announcement: Announcement, markup: Markup) -> Iterator[str]:
    """Yield what stands below a message: `by jane`, `commit 4f2c1aa`, the links, `group: build 7`, `team: web`."""
    given = announcement.context
    for name, value in known_context(given):
        yield f"by {markup.safe(value)}" if name == "actor" else f"commit {markup.code(value)}"
    if markup.link is not None:
        yield from (markup.link(word, url) for word, url in links(given, announcement.links))
    for name, value in other_context(given, announcement.group):
        yield f"{markup.safe(name)}: {markup.safe(value)}"


def known_context(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield name and value of `actor` and `commit`, each in one short line. A commit with a link is among the links."""
    for name in ("actor", "commit"):
        value = first_line(plain(given.get(name, "")), _VALUE_LIMIT)
        if value and (name != "commit" or commit_url(given) is None):
            yield name, value


def other_context(given: Mapping[str, str], group: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield the name of the group, if any, and the other entries of the context, each in one short line."""
    if name := first_line(plain(group or ""), GROUP_LIMIT):
        yield "group", name
    for name, text in given.items():
        if name in _SHOWN_ELSEWHERE or (name == "repository" and commit_url(given) is not None):
            continue
        label, value = first_line(plain(name), _VALUE_LIMIT), first_line(plain(text), _VALUE_LIMIT)
        if label and value:
            yield label, value


def links(given: Mapping[str, str], own: Links = NO_LINKS) -> Iterator[tuple[str, str]]:
    """Yield the pages that say more: `commit 4f2c1aa`, `CI run` (the `url` of a context), `logs` and `story`.

    Only http(s) URLs that cannot pass for markup.
    """
    for word, url, limit in (
        (f"commit {given.get('commit', '')[:12]}", commit_url(given), _OWN_URL_LIMIT),
        ("CI run", given.get("url"), _URL_LIMIT),
        ("logs", own.logs, _OWN_URL_LIMIT),
        ("story", own.story, _OWN_URL_LIMIT),
    ):
        if url is not None and url_fault(url) is None and len(url) <= limit:
            yield word, url


def commit_url(given: Mapping[str, str]) -> str | None:
    """Return the commit's page in its repository, at GitHub, GitLab, Gitea, Forgejo or Bitbucket; None if unknown."""
    repository, commit = given.get("repository", ""), given.get("commit", "")
    if _COMMIT.fullmatch(commit) is None or url_fault(repository, base=True) is not None:
        return None
    page = "commits" if "://bitbucket.org/" in repository else "commit"
    url = f"{repository.rstrip('/').removesuffix('.git')}/{page}/{commit}"
    return url if len(url) <= _OWN_URL_LIMIT else None
