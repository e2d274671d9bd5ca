"""A stand-in receiver for each kind, which accepts messages, refuses them or misbehaves."""

import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from notifiers import BUILT_IN, kinds
from operations.errors import OpwatchError
from tests.support.mail_server import BREAK_OFF, HANG, MailServer
from tests.support.receiver import Receiver, Reply
from workers.deliver import failure_of
from workers.loop import HttpLoop

SECRET = "sEkrEt-of-nobody"  # noqa: S105 - it opens nothing
SIGNING_SECRET = "whsec_c0VrckV0LXNpZ25pbmcta2V5LW9mLW5vYm9keS0wMTIz"  # noqa: S105
LANDING = "/landing"
PAGE = Reply(200, "<html>Sign in</html>", {"Content-Type": "text/html"})
JSON = {"Content-Type": "application/json"}
DEADLINE_S = 20.0


class Stage(ABC):
    """A target and its stand-in receiver."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The target's table in a targets file."""

    @property
    @abstractmethod
    def told(self) -> int:
        """How many messages came in, accepted or not."""

    @abstractmethod
    def behave(self, how: str) -> None:
        """Misbehave from now on: `refuse`, `busy`, `hang` or `break off`."""

    @abstractmethod
    def leave(self) -> None:
        """Refuse connections."""


@dataclass(frozen=True)
class Way:
    """A kind that uses HTTP, with these settings; `{url}` is the stand-in's."""

    kind: str
    settings: Mapping[str, Any]
    path: str = f"/{SECRET}"
    taken: Reply = field(default_factory=Reply)
    refusal: Reply = field(default_factory=lambda: Reply(404, "no_service"))
    says_why: bool = True
    """Whether it distinguishes a refusal from a failure, and reads a pause."""
    knows_its_answers: bool = False
    """Whether a 200 with a foreign page is a failure."""


class HttpStage(Stage):
    """A scripted HTTP server."""

    def __init__(self, way: Way, receiver: Receiver) -> None:
        self.way, self.receiver = way, receiver
        self.answer(way.taken)

    @property
    def settings(self) -> dict[str, Any]:
        """The table, with the server's address."""
        url = self.receiver.base_url.removeprefix("http://")
        settled = {k: v.format(url=url) if isinstance(v, str) else v for k, v in self.way.settings.items()}
        return {"kind": self.way.kind, **settled}

    @property
    def told(self) -> int:
        """How many requests came."""
        return len([request for request in self.receiver.requests if request.path == self.way.path])

    def answer(self, reply: Reply) -> None:
        """Answer so from now on."""
        self.receiver.script(self.way.path, reply)

    def behave(self, how: str) -> None:
        """Misbehave."""
        replies = {
            "refuse": self.way.refusal,
            "busy": Reply(503, "try again"),
            "hang": Reply(hang_s=600),
            "break off": Reply(reset="after_read"),
        }
        self.answer(replies[how])

    def leave(self) -> None:
        """Stop the server."""
        self.receiver.stop()


class MailStage(Stage):
    """A mail server."""

    def __init__(self, server: MailServer) -> None:
        self.server = server

    @property
    def settings(self) -> dict[str, Any]:
        """The table, with the server's address."""
        return {
            "kind": "email", "host": "127.0.0.1", "port": self.server.port, "encryption": "none",
            "from": "Opwatch <opwatch@example.com>", "to": ["ops@example.com", "dev@example.com"],
        }  # fmt: skip

    @property
    def told(self) -> int:
        """How many messages were accepted."""
        return len(self.server.taken)

    def behave(self, how: str) -> None:
        """Misbehave."""
        replies = {"refuse": "550 5.1.1 no such user", "busy": "451 4.3.0 later", "hang": HANG, "break off": BREAK_OFF}
        self.server.replies = {"DATA": replies[how]}

    def leave(self) -> None:
        """Stop the server."""
        self.server.stop()


def _code(name: str, value: str | int) -> str:
    return json.dumps({name: value, "message": f"{SECRET} said no"})


def _plain(kind: str) -> Way:
    """A kind that needs only a URL in each required field."""
    fields = kinds()[kind].load().model_fields
    return Way(kind, {name: f"http://{{url}}/{SECRET}" for name, field in fields.items() if field.is_required()})


MAIL, SILENT = "email", "console"
"""The kinds without HTTP: one uses a mail server, one prints."""

WAYS = {
    **{point.name: _plain(point.name) for point in BUILT_IN if point.name not in (MAIL, SILENT)},
    "apprise": Way("apprise", {"url": f"json://user:{SECRET}@{{url}}/{SECRET}?cto=1&rto=1"}, says_why=False),
    "discord": Way(
        "discord",
        {"webhook_url": f"http://{{url}}/{SECRET}", "mention": "<@&42>"},
        taken=Reply(200, '{"id": "1"}', JSON),
        refusal=Reply(404, _code("code", 10015), JSON),
    ),
    "http": Way(
        "http",
        {
            "url": f"http://{{url}}/{SECRET}",
            "headers": {"Authorization": f"Bearer {SECRET}"},
            "body": f'{{{{"key": "{SECRET}", "text": "{{{{{{{{headline}}}}}}}}"}}}}',
        },
        refusal=Reply(410, ""),
    ),
    "mattermost": Way(
        "mattermost",
        {"webhook_url": f"http://{{url}}/{SECRET}", "mention": "@here", "channel": "town-square"},
        refusal=Reply(400, _code("id", "web.incoming_webhook.invalid.app_error"), JSON),
        knows_its_answers=True,
    ),
    "ntfy": Way("ntfy", {"url": f"http://{{url}}/{SECRET}"}),
    "rocketchat": Way(
        "rocketchat",
        {"webhook_url": f"http://{{url}}/{SECRET}", "mention": "@all"},
        taken=Reply(200, '{"success": true}', JSON),
        refusal=Reply(400, _code("error", "error-room-not-found"), JSON),
        knows_its_answers=True,
    ),
    "slack": Way("slack", {"webhook_url": f"http://{{url}}/{SECRET}", "mention": "<!here>"}, knows_its_answers=True),
    "slack bot": Way(
        "slack",
        {"bot_token": f"xoxb-{SECRET}", "channel": "C1", "api_url": "http://{url}/api"},
        path="/api/chat.postMessage",
        taken=Reply(200, '{"ok": true, "channel": "C1", "ts": "1.2"}', JSON),
        refusal=Reply(200, '{"ok": false, "error": "invalid_auth"}', JSON),
        knows_its_answers=True,
    ),
    "teams": Way(
        "teams",
        {"webhook_url": f"http://{{url}}/{SECRET}?sig={SECRET}", "mention": "jane@example.com"},
        taken=Reply(202, ""),
        refusal=Reply(401, json.dumps({"error": {"code": "DirectApiAuthorizationRequired"}}), JSON),
    ),
    "webhook": Way(
        "webhook",
        {"url": f"http://{{url}}/{SECRET}", "secret": SIGNING_SECRET},
        taken=Reply(204, ""),
        refusal=Reply(410, ""),
    ),
}
"""Other kinds use the plain stage."""


@contextmanager
def staged(name: str) -> Iterator[Stage]:
    """Set up the stage of one kind."""
    if name == MAIL:
        with MailServer() as server:
            yield MailStage(server)
    else:
        with Receiver() as receiver:
            yield HttpStage(WAYS[name], receiver)


def attempted(
    loop: HttpLoop, make: Callable[[], Awaitable[object]], deadline_s: float = DEADLINE_S
) -> OpwatchError | None:
    """Make one attempt on a worker's event loop, within the deadline; return its error, if any."""
    ended: Future[OpwatchError | None] = Future()

    async def attempt() -> None:
        ended.set_result(await failure_of(make(), deadline_s))

    loop.submit(attempt)
    return ended.result(DEADLINE_S + 10)
