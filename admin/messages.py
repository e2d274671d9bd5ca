"""Test messages: `send-test` sends one through the target's own notifier, `preview` shows it and sends nothing."""

import asyncio
import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType
from pydantic import BaseModel, SecretStr

from admin import sample
from config.settings import Settings
from notifiers import Notifier, Previewable, editing
from notifiers.targets import Target
from operations.errors import OpwatchError
from operations.telling.announcement import Announcement
from workers.deliver import ATTEMPT_DEADLINE_S, failure_of
from workers.loop import targets_session

_WAYS_OUT = frozenset(
    [
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.sendmsg",
        "socket.sendto",
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.system",
        "subprocess.Popen",
    ]
)
"""Python's own names for them: https://docs.python.org/3/library/audit_events.html"""

_SHORTEST_SECRET = 6
_TAKEN = b'{"ok": true, "channel": "C0000000000", "ts": "1.000000"}'
_EVERYTHING = object()
_allowed: list[object] = []


def send_test(target: Target, announcement: Announcement, settings: Settings) -> int:
    """Send, and say how that went; nothing is stored."""
    begun_s = time.monotonic()
    failure = asyncio.run(_sent(target, announcement, settings))
    took_s = time.monotonic() - begun_s
    if failure is None:
        print(f"ok    target {target.name}: took the test message, in {took_s:.1f} s")
        return 0
    print(f"FAIL  target {target.name}: {failure}")
    return 1


async def _sent(target: Target, announcement: Announcement, settings: Settings) -> OpwatchError | None:
    async with targets_session(allow_private=settings.allow_private_targets) as http:
        return await failure_of(_told(target.notifier, announcement, http), ATTEMPT_DEADLINE_S)


async def _told(notifier: Notifier, announcement: Announcement, http: aiohttp.ClientSession) -> None:
    """Tell a target as it is told of an operation: where messages are live, of its run first."""
    live = editing(notifier)
    if live is None:
        await notifier.send(announcement, http)
    else:
        posted = await live.show(sample.running(announcement), None, http)
        await live.follow_up(announcement, posted, http)


def preview(target: Target, announcement: Announcement) -> int:
    """Print what would be sent: the body of the request, or the text. Nothing leaves the process meanwhile."""
    if isinstance(target.notifier, Previewable):
        shown = [target.notifier.preview(announcement)]
    else:
        shown = asyncio.run(_captured(target, announcement))
    for text in shown:
        print(_without(_secrets_of(target.notifier), text))
    if shown or target.kind == "console":
        return 0
    print(
        f"the kind {target.kind} sends by other means than HTTP and has no preview; nothing was sent", file=sys.stderr
    )
    return 1


async def _captured(target: Target, announcement: Announcement) -> list[str]:
    """Let the notifier send, each request being answered here; returns the bodies that would have been sent."""
    bodies: list[str] = []
    stand_in = await asyncio.start_server(_take, "127.0.0.1", 0)
    address = stand_in.sockets[0].getsockname()
    async with stand_in, aiohttp.ClientSession() as local:

        async def keep(request: aiohttp.ClientRequest, _handler: ClientHandlerType) -> aiohttp.ClientResponse:
            print(f"{request.method} {request.url.origin()}/… (not sent)", file=sys.stderr)  # its path may be a secret
            bodies.append(_readable(await request.body.as_bytes() if request.body else b""))
            return await local.get(f"http://127.0.0.1:{address[1]}/")

        async with aiohttp.ClientSession(middlewares=(keep,)) as http:
            with _nothing_leaves(besides=address):
                failure = await failure_of(_told(target.notifier, announcement, http), ATTEMPT_DEADLINE_S)
    if failure is not None and not bodies:
        print(f"before it sent anything: {failure}", file=sys.stderr)
    return bodies


async def _take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as Slack does when it has posted a message; to most others any 200 will do."""
    await reader.readuntil(b"\r\n\r\n")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(_TAKEN)}\r\nConnection: close"
    writer.write(head.encode() + b"\r\n\r\n" + _TAKEN)
    await writer.drain()
    writer.close()


@contextmanager
def _nothing_leaves(*, besides: object) -> Iterator[None]:
    """Have Python refuse connections and programs: a kind may be somebody else's, and send in a way of its own."""
    if not _allowed:  # a hook stays for as long as the process
        sys.addaudithook(_refuse_ways_out)
    _allowed[:] = [besides]
    try:
        yield
    finally:
        _allowed[:] = [_EVERYTHING]


def _refuse_ways_out(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _WAYS_OUT and _allowed not in ([_EVERYTHING], [arguments[-1]]):
        raise PermissionError("a preview sends nothing")


def _readable(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), ensure_ascii=False, indent=2)
    except ValueError:
        return body.decode(errors="replace")


def _without(secrets: Iterable[str], text: str) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    return text


def _secrets_of(value: object) -> Iterator[str]:
    """Find what the settings of a target keep secret."""
    if isinstance(value, SecretStr):
        if len(secret := value.get_secret_value()) >= _SHORTEST_SECRET:
            yield secret
    elif isinstance(value, BaseModel):
        yield from _secrets_of(list(dict(value).values()))
    elif isinstance(value, dict):
        yield from _secrets_of(list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _secrets_of(item)
