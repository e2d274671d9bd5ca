"""A message that a receiver accepted is not sent again, whatever follows the status; and no answer fills the memory."""

import asyncio
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, repeat
from typing import Any

import pytest

from notifiers import Notifier
from notifiers.targets import build
from operations.errors import OpwatchError, PermanentError, RateLimitedError, Reason, TransientError
from tests.integration.test_kinds import FAILED
from tests.support.raw import CLOSE, RESET, RawServer, Step
from tests.support.stages import WAYS, attempted
from workers.loop import HttpLoop

KINDS = [name for name in WAYS if name not in ("apprise", "ntfy")]
OK = b"HTTP/1.1 200 OK\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
DRIP = [each for _ in range(40) for each in (0.1, b" ")]

ACCEPTED: dict[str, Sequence[Step]] = {
    "204 with a body": [NO_CONTENT + b"ok"],
    "204 with a page": [NO_CONTENT + b"<html>thanks</html>", CLOSE],
    "204 with a length": [b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok"],
    "202 and a reset": [b"HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\n", 0.1, RESET],
    "a body that never comes": [OK + b"Content-Length: 1000\r\n\r\n"],
    "a body that drips": [OK + b"Content-Length: 1000\r\n\r\n", *DRIP],
    "a body that breaks off": [OK + b"Content-Length: 1000\r\n\r\n", CLOSE],
    "no chunk size": [OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"],
    "no chunk size, later": [OK + b"Transfer-Encoding: chunked\r\n\r\n", 0.1, b"zz\r\n"],
    "length and chunks": [OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
    "two lengths": [OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"],
    "a blank in a header's name": [OK + b"X Y: z\r\nContent-Length: 2\r\n\r\nok"],
    "a long header": [OK + b"X-Long: " + b"x" * 9_000 + b"\r\nContent-Length: 2\r\n\r\nok"],
    "headers that end": [OK + b"X-Half: ", CLOSE],
    "headers that are reset": [OK + b"X-Half: ", 0.1, RESET],
    "headers that never end": [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 2", 0.1, b"01 Created\r\nX: y\r\nX-Half: "],
    "gzip that is none": [OK + b"Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"],
}


def made(name: str, server: RawServer) -> Notifier:
    address = f"127.0.0.1:{server.port}"
    settings = {k: v.format(url=address) if isinstance(v, str) else v for k, v in WAYS[name].settings.items()}
    return build("target", {"kind": WAYS[name].kind, **settings}, {}, plain_http=True).notifier


def told(loop: HttpLoop, notifier: Notifier, within_s: float = 20.0) -> OpwatchError | None:
    return attempted(loop, lambda: notifier.send(FAILED, loop.targets), within_s)


@pytest.mark.parametrize("name", KINDS)
def test_what_was_accepted_is_told_whatever_follows(name: str, loop: HttpLoop) -> None:
    def tell(how: str) -> tuple[str, OpwatchError | None, int]:
        with RawServer(ACCEPTED[how]) as server:
            return how, told(loop, made(name, server), within_s=5.0), len(server.requests.snapshot())

    with ThreadPoolExecutor(len(ACCEPTED)) as pool:
        assert [result for result in pool.map(tell, ACCEPTED) if result[1:] != (None, 1)] == []


REFUSED: dict[str, Sequence[Step]] = {
    "gone, in headers that are not HTTP": [b"HTTP/1.1 410 Gone\r\nX Y: z\r\n\r\n"],
    "gone, with a body that breaks off": [b"HTTP/1.1 410 Gone\r\nContent-Length: 1000\r\n\r\n", RESET],
}


@pytest.mark.parametrize("how", REFUSED)
def test_a_refusal_counts_whatever_follows(how: str, loop: HttpLoop) -> None:
    for name in ("webhook", "discord", "teams", "mattermost", "rocketchat"):
        with RawServer(REFUSED[how]) as server:
            error = told(loop, made(name, server))
            assert type(error) is PermanentError, name
            assert error.reason is Reason.GONE


SAID_NO: dict[str, tuple[Sequence[Step], type[OpwatchError]]] = {
    "ok is false": ([OK + b'Content-Length: 36\r\n\r\n{"ok": false, "error": "no_service"}'], PermanentError),
    "ok is false, then nothing": (
        [OK + b'Content-Length: 999\r\n\r\n{"ok":false,"error":"no_service","more":"'],
        PermanentError,
    ),
    "a code": ([OK + b"Content-Length: 10\r\n\r\nno_service"], PermanentError),
    "a code, then a reset": ([OK + b"Content-Length: 99\r\n\r\nno_service", 0.2, RESET], PermanentError),
    "ratelimited": ([OK + b'Content-Length: 37\r\n\r\n{"ok": false, "error": "ratelimited"}'], RateLimitedError),
    "a page": ([OK + b"Content-Length: 13\r\n\r\n<html></html>"], TransientError),
    "no JSON object": ([OK + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"], TransientError),
    "half a page": ([OK + b"Content-Length: 99\r\n\r\n<html>"], TransientError),
}


@pytest.mark.parametrize("name", ["slack", "slack bot"])
@pytest.mark.parametrize("how", SAID_NO)
def test_what_slack_says_with_a_200_counts(how: str, name: str, loop: HttpLoop) -> None:
    said, kind = SAID_NO[how]
    with RawServer(said) as server:
        assert type(told(loop, made(name, server))) is kind


@pytest.mark.parametrize("body", [b"ok", b'{"ok":true}', b'{"ok": true, "channel": "C1", "ts": "1.2"}', b""])
@pytest.mark.parametrize("content", [b"text/plain", b"application/json", b"application/gzip", b"text/html; charset=x"])
def test_slack_may_say_yes_in_any_form(body: bytes, content: bytes, loop: HttpLoop) -> None:
    head = OK + b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n" % (content, len(body))
    for name in ("slack", "slack bot"):
        with RawServer([head + body]) as server:
            assert told(loop, made(name, server)) is None


def test_what_is_no_http_is_a_failure_that_says_so(loop: HttpLoop) -> None:
    with RawServer([b"220 mail.example ESMTP\r\n"]) as server:
        error = told(loop, made("webhook", server))
    assert type(error) is TransientError
    assert str(error) == "no answer: what came is not HTTP"


LEFT: dict[str, tuple[Sequence[Step], Sequence[Step]]] = {
    "with it": ([NO_CONTENT + b"ok"], [NO_CONTENT]),
    "before the next request": ([NO_CONTENT, 0.2, b"ok"], [NO_CONTENT]),
    "an answer of its own": ([NO_CONTENT, 0.2, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"], [NO_CONTENT]),
    "after the next request": ([NO_CONTENT], [b"ok", 0.1, NO_CONTENT]),
    "a line after the next request": ([NO_CONTENT], [b"ok\r\nthanks\n" + NO_CONTENT]),
}


@pytest.mark.parametrize("when", LEFT)
def test_what_is_left_on_a_connection_spoils_no_other_message(when: str, loop: HttpLoop) -> None:
    first, second = LEFT[when]
    with RawServer(first, second) as server:
        notifier = made("webhook", server)
        assert told(loop, notifier) is None
        if len(first) > 1:
            assert attempted(loop, lambda: asyncio.sleep(0.5)) is None
        assert told(loop, notifier) is None
        assert len(server.requests.snapshot()) == 2


def test_a_connection_is_kept_for_the_next_message(loop: HttpLoop) -> None:
    answer = OK + b'Content-Type: application/json\r\nContent-Length: 11\r\n\r\n{"id": "1"}'
    for name, said in (("webhook", [NO_CONTENT]), ("discord", [answer])):
        with RawServer(said) as server:
            for _ in range(3):
                assert told(loop, made(name, server)) is None
            assert server.connections == 1, name


CHUNK = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
MANY = 2_000
"""Chunks, 131 MB in all."""


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("name", KINDS)
def test_no_answer_fills_the_memory(name: str, status: int, loop: HttpLoop) -> None:
    head = b"HTTP/1.1 %d Well\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" % status
    endless: Any = _Endless(head)
    with RawServer(endless) as server:
        notifier = made(name, server)
        tracemalloc.start()
        try:
            error = told(loop, notifier)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < 20_000_000
        assert error is None or not isinstance(error, PermanentError)
        assert (error is None) is (status == 200 and not WAYS[name].knows_its_answers)


class _Endless:
    """A script without end."""

    def __init__(self, head: bytes) -> None:
        self._head = head

    def __iter__(self) -> Any:
        yield self._head
        yield from islice(repeat(CHUNK), MANY)
