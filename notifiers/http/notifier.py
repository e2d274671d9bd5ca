"""Kind `http`: a request that the operator writes, with placeholders."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from html import escape
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from notifiers import Announcement, Posting, Request, SecretUrl, stripped
from notifiers.http import template

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,60}")
_FRAMING = {"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"}
_URL_PARTS = re.compile(r"([^:]*://[^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)


def _known(text: SecretStr) -> SecretStr:
    fault = template.fault(text.get_secret_value())
    if fault is not None:
        raise ValueError(fault)
    return text


def _placed(url: SecretStr) -> SecretStr:
    match = _URL_PARTS.fullmatch(url.get_secret_value())
    if match is None or "{{" in f"{match[1]}{match[4]}":
        raise ValueError("a placeholder may stand only in the path and in the query of a URL")
    return url


def _header(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().isprintable():
        raise ValueError("must be one line without control characters")
    return value


def _upper(method: object) -> object:
    return method.upper() if isinstance(method, str) else method


def _header_name(name: str) -> str:
    if _HEADER.fullmatch(name) is None or name.lower() in _FRAMING:
        raise ValueError("is not a header that can be set")
    return name


Template = Annotated[SecretStr, BeforeValidator(stripped), AfterValidator(_known)]


class Http(Posting):
    """Sends a request of your own making to any service that takes HTTP."""

    set_up: ClassVar[str] = """\
[Recipes](recipes.md) lists the placeholders, and has tried examples: Google Chat, PagerDuty, Grafana, Sentry, Matrix,
GitHub, GitLab and ntfy.

```toml
[targets.board]
kind = "http"
url = "https://board.example.com/apps/{{app}}?by={{context.actor}}"
method = "PUT"
headers = { Authorization = "Bearer ${BOARD_TOKEN}" }
body = '''{"text": "{{headline}}", "details": "{{cause}}"}'''
```

Any 2xx means success. After a 410, the delivery is given up. After every other answer, it is retried.
`python -m admin preview` shows a body without the texts that have no placeholder: they may be secret.
"""
    limits: ClassVar[str] = "a value in a header or in the URL is cut to 500 characters."

    url: Annotated[
        SecretUrl,
        AfterValidator(_known),
        AfterValidator(_placed),
        Field(description="where the request is sent; placeholders may stand in its path and query"),
    ]
    method: Annotated[
        Literal["POST", "PUT", "PATCH", "DELETE", "GET"],
        BeforeValidator(_upper),
        Field(description="a `GET` has no body unless you set one"),
    ] = "POST"
    headers: Annotated[
        dict[Annotated[str, AfterValidator(_header_name)], Annotated[Template, AfterValidator(_header)]],
        Field(default_factory=dict, description="your own headers, with placeholders"),
    ]
    body: Annotated[
        Template | None,
        Field(description="a text with placeholders; default: the JSON of [webhooks](messages.md#webhooks), unsigned"),
    ] = None

    @model_validator(mode="after")
    def _body_fits(self) -> Self:
        text = "" if self.body is None else self.body.get_secret_value()
        looks_like_json = text.startswith("[") or (text.startswith("{") and not text.startswith("{{"))
        meant = looks_like_json and not self._content_type("")
        if self.body is not None and self._document() is None and (meant or self._content_type("json")):
            message = (
                "body: is not JSON. A placeholder must stand inside a string; "
                'for another format, set the header Content-Type, such as "text/plain"'
            )
            raise ValueError(message)
        return self

    def request(self, announcement: Announcement, now: datetime) -> Request:  # noqa: ARG002 - nothing depends on it
        """Fill in the placeholders."""
        value = template.values(announcement)
        url = _URL_PARTS.fullmatch(self.url.get_secret_value())
        assert url is not None, "a validator has matched it"  # noqa: S101
        path, query = (url[2], template.in_path), (url[3] or "", template.in_url)
        dialled = url[1] + "".join(template.filled(text, value, escaped) for text, escaped in (path, query))
        body, content_type = self._written(announcement)
        own = {
            name: template.ascii_only(template.filled(text.get_secret_value(), value, template.one_line).strip())
            for name, text in self.headers.items()
        }
        typed = {} if body is None or self._content_type("") else {"content-type": content_type}
        return Request(self.method, dialled, typed | {name: text for name, text in own.items() if text}, body)

    def preview(self, announcement: Announcement) -> str:
        """Write the body, without the texts that may be secrets."""
        if self.body is None:
            return json.dumps(json.loads(announcement.body), ensure_ascii=False, indent=2)
        value, document = template.values(announcement), self._document()
        if document is None:
            used = dict.fromkeys(template.PLACEHOLDER.findall(self.body.get_secret_value()))
            return "\n".join(f"{{{{{name}}}}}: {value(name)}" for name in used)
        shown = template.walked(
            document, lambda text: template.filled(text, value, str) if template.PLACEHOLDER.search(text) else "…"
        )
        return json.dumps(shown, ensure_ascii=False, indent=2)

    def _written(self, announcement: Announcement) -> tuple[bytes | None, str]:
        """Write the body, and what its type is unless a header says it."""
        if self.body is None:
            return (None if self.method == "GET" else announcement.body), "application/json"
        value, document = template.values(announcement), self._document()
        if document is not None:
            written = template.walked(document, partial(template.filled, value=value, escaped=str))
            return json.dumps(written, ensure_ascii=False).encode(), "application/json"
        escaped: Callable[[str], str] = str
        if self._content_type("urlencoded"):
            escaped = partial(quote, safe="")
        elif self._content_type("xml") or self._content_type("html"):
            escaped = escape
        return template.filled(self.body.get_secret_value(), value, escaped).encode(), "text/plain; charset=utf-8"

    def _document(self) -> Any:
        """Return the body as JSON, before its placeholders are filled in; None if it is something else."""
        if self.body is None or (self._content_type("") and not self._content_type("json")):
            return None
        with suppress(ValueError, RecursionError):
            read = json.loads(self.body.get_secret_value())
            return read if isinstance(read, dict | list) else None
        return None

    def _content_type(self, word: str) -> bool:
        """Tell whether the settings have a Content-Type with this word in it."""
        given = (text.get_secret_value() for name, text in self.headers.items() if name.lower() == "content-type")
        return any(word in text.lower() for text in given)
