"""One request, one answer: no client gets the answer to another client's request."""

import re
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.journeys.stage import Stage, staged
from tests.support.raw import RawClients, answered, until_closed
from tests.support.reverse_proxy import reverse_proxy
from tests.support.running import CALLER_TOKEN

SIGNED = f"Authorization: Bearer {CALLER_TOKEN}\r\n".encode()
HEADS = {
    "200": b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
    "200 signed": b"GET /v1/operations?limit=1 HTTP/1.1\r\nHost: x\r\n" + SIGNED,
    "401": b"POST /v1/operations HTTP/1.1\r\nHost: x\r\n",
    "403": b"POST /sign-in HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: cross-site\r\n",
    "404": b"GET /nowhere HTTP/1.1\r\nHost: x\r\n",
    "405": b"PUT /healthz HTTP/1.1\r\nHost: x\r\n",
    "415": b"POST /v1/operations HTTP/1.1\r\nHost: x\r\n" + SIGNED,
    "HEAD": b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n",
}
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
MALFORMED = {
    "host": b"0\r\nHost: b\r\n\r\n",
    "coding": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "length": b"0\r\nContent-Length: 5\r\n\r\n",
    "authorization": b"0\r\nAuthorization: Bearer x\r\n\r\n",
    "no colon": b"0\r\nfoo\r\n\r\n",
    "blank in a name": b"0\r\nX Y: z\r\n\r\n",
    "bare LF": b"0\r\nX: y\n\r\n\r\n",
    "CR in an extension": b"2;a\rb\r\nhi\r\n0\r\n\r\n",
    "NUL in an extension": b"2;a\0b\r\nhi\r\n0\r\n\r\n",
    "blank after a size": b"2 \r\nhi\r\n0\r\n\r\n",
    "blank before a size": b" 2\r\nhi\r\n0\r\n\r\n",
    "sign before a size": b"+2\r\nhi\r\n0\r\n\r\n",
    "no size": b"\r\nhi\r\n0\r\n\r\n",
    "too long a chunk": b"2\r\nhiho\r\n0\r\n\r\n",
}
INNOCENT = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run one service, with one web process."""
    with staged(tmp_path_factory.mktemp("one-answer")) as running:
        yield running


@pytest.fixture
def clients(stage: Stage) -> Iterator[RawClients]:
    """Open and close raw connections."""
    with RawClients(stage.opwatch.port) as opened:
        yield opened


@pytest.mark.parametrize("body", MALFORMED)
@pytest.mark.parametrize("head", HEADS)
def test_a_malformed_body_gets_one_answer_and_ends_the_connection(clients: RawClients, head: str, body: str) -> None:
    answers = ANSWER.findall(until_closed(clients.connect(HEADS[head] + CHUNKED + MALFORMED[body] + INNOCENT)))
    assert len(answers) == 1
    assert answers[0] in (b"400", b"413")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("body", [b"2\r\nhi\r\n0\r\nX-Good: trailer\r\n\r\n", b"2 ; name=value\r\nhi\r\n0\r\n\r\n"])
def test_a_well_formed_body_that_nobody_wants_is_not_taken_for_the_next_request(
    clients: RawClients, head: str, body: bytes
) -> None:
    for framed in (CHUNKED + body, b"Content-Length: 2\r\n\r\nhi"):
        answers = ANSWER.findall(until_closed(clients.connect(HEADS[head] + framed + INNOCENT)))
        assert answers == [{"HEAD": b"200"}.get(head, head[:3].encode()), b"200"]


@pytest.mark.parametrize("head", HEADS)
def test_a_body_that_is_too_large_gets_one_answer_and_ends_the_connection(clients: RawClients, head: str) -> None:
    body = b"x" * 70_000
    for framed in (b"Content-Length: 70000\r\n\r\n" + body, CHUNKED + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"):
        received = until_closed(clients.connect(HEADS[head] + framed + INNOCENT))
        assert len(ANSWER.findall(received)) == 1
        assert b"\r\nConnection: close\r\n" in received


def test_an_empty_line_behind_a_request_is_no_request(clients: RawClients) -> None:
    sock = clients.connect(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\r\n")
    assert answered(sock)[0].status == 200
    assert until_closed(sock) == b""
    following = clients.connect(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\r\n" + INNOCENT)
    assert ANSWER.findall(until_closed(following)) == [b"200", b"200"]


@pytest.mark.parametrize("connection", [b"close", b"keep-alive, close", b"Close , x", b"x\r\nConnection: close"])
def test_a_client_that_wants_the_connection_closed_gets_it_closed(clients: RawClients, connection: bytes) -> None:
    asked = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: " + connection + b"\r\n\r\n"
    assert ANSWER.findall(until_closed(clients.connect(asked + INNOCENT))) == [b"200"]


def test_behind_a_proxy_that_shares_connections_no_innocent_request_is_harmed(stage: Stage, tmp_path: Path) -> None:
    attacks = [HEADS[head] + CHUNKED + body for head in ("200", "401", "403", "405") for body in MALFORMED.values()]
    ended = threading.Event()
    attacked: list[int] = []

    def attack(port: int) -> None:
        while not ended.is_set():
            for request in attacks:
                with RawClients(port) as clients:
                    attacked.append(answered(clients.connect(request))[0].status)

    with reverse_proxy(tmp_path, stage.opwatch.port, most=2) as port:
        attackers = [threading.Thread(target=attack, args=(port,)) for _ in range(4)]
        for attacker in attackers:
            attacker.start()
        try:
            statuses = [status_through(port) for _ in range(1000)]
        finally:
            ended.set()
            for attacker in attackers:
                attacker.join()
    assert {status: statuses.count(status) for status in set(statuses)} == {200: 1000}
    assert 400 in attacked


def status_through(port: int) -> int:
    """Send an innocent request through the proxy. Returns its status."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/v1/operations?limit=1", headers={"Authorization": f"Bearer {CALLER_TOKEN}"})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()
