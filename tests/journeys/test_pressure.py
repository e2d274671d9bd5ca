"""Clients that are slow, many, or do not read: others are answered as usual."""

import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from select import select

import psutil
import pytest

from config.web import LARGEST_BODY_BYTES
from local.valkey import Valkey
from standin.api import ScalingoApi
from standin.operations import new_id
from tests.journeys.stage import Measure, Stage, staged
from tests.support.raw import RawClients, answered, until_closed
from tests.support.receiver import Receiver
from tests.support.running import CALLER_TOKEN, Opwatch, wait_until

CALM_TOKEN = "a-token-of-a-calm-caller-0123"  # noqa: S105 - it opens nothing
PROMPTLY_S = 9.0  # on a busy machine; a blocked request would wait ten seconds, for the deadline
SIGNED = f"Host: x\r\nAuthorization: Bearer {CALLER_TOKEN}\r\n".encode()
POST = b"POST /v1/operations HTTP/1.1\r\n" + SIGNED + b"Content-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HALF_A_HEAD = b"POST /v1/operations HTTP/1.1\r\nHost: x\r\nX-Slow: "
HALF_A_BODY = POST + b'Content-Length: 500\r\n\r\n{"app": "slow-shop", '


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run one service, with one web process."""
    with staged(tmp_path_factory.mktemp("pressure"), workers=("worker",)) as running:
        yield running


@pytest.fixture
def clients(stage: Stage) -> Iterator[RawClients]:
    """Open and close raw connections."""
    with RawClients(stage.opwatch.port) as opened:
        yield opened


def serving(stage: Stage) -> psutil.Process:
    """Return the process that serves the requests."""
    web = psutil.Process(stage.opwatch.pid("web"))
    (process,) = [each for each in web.children(recursive=True) if not each.children()]
    return process


def json_body() -> bytes:
    """Return the body of a valid request."""
    return json.dumps({"app": "raw-shop", "operation_id": new_id(), "notify": []}).encode()


def posts_promptly(stage: Stage, times: int = 5) -> None:
    """Post normally, and expect prompt answers."""
    for _ in range(times):
        began_s = time.monotonic()
        answer = stage.opwatch.post({"app": "prompt-shop", "operation_id": new_id(), "notify": []})
        assert (answer.status, time.monotonic() - began_s < PROMPTLY_S) == (202, True)


@pytest.mark.parametrize("half", [b"", HALF_A_HEAD, HALF_A_BODY, CHUNKED + b"1f4\r\n{"], ids=str)
def test_two_hundred_half_sent_requests_hold_nobody_up(stage: Stage, clients: RawClients, half: bytes) -> None:
    for _ in range(200):
        clients.connect(half)
    posts_promptly(stage)


def test_few_open_files_are_shared_and_no_process_ends(tmp_path: Path) -> None:
    with staged(tmp_path, wrapped="ulimit -n 256; {}") as stage, RawClients(stage.opwatch.port) as clients:
        process = serving(stage)
        for number in range(600):
            clients.connect((HALF_A_HEAD, HALF_A_BODY)[number % 2])
        posts_promptly(stage)
        assert serving(stage) == process
        stage.opwatch.track(stage.scalingo.operation("few-shop").url)
        stage.receiver.wait_for(1, path="/slack")


def test_too_few_open_files_stop_the_start(valkey: Valkey, scalingo: ScalingoApi, receiver: Receiver) -> None:
    opwatch = Opwatch(valkey.url, scalingo, receiver, wrapped="ulimit -n 64; {}")
    try:
        opwatch.start("web")
        assert opwatch.wait_for_exit("web") == 1
        assert opwatch.output("web") == "Opwatch cannot start. It needs 120 open files: raise `ulimit -n`"
    finally:
        opwatch.stop()


def test_clients_that_send_byte_by_byte_hold_nobody_up(stage: Stage, clients: RawClients) -> None:
    request = POST + b"Content-Length: %d\r\n\r\n" % len(body := json_body()) + body
    drippers = [clients.connect(request[:1]) for _ in range(40)]
    ended = threading.Event()

    def drip() -> None:
        for at in range(1, len(request) - 1):
            for dripper in drippers:
                dripper.sendall(request[at : at + 1])
            if ended.wait(0.01):
                break

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        posts_promptly(stage)
    finally:
        ended.set()
        dripping.join()


def test_a_request_that_comes_byte_by_byte_is_answered_in_the_end(clients: RawClients) -> None:
    body = json_body()
    for request in (
        POST + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        CHUNKED + b"5;x=y\r\n" + body[:5] + b"\r\n%x\r\n" % (len(body) - 5) + body[5:] + b"\r\n0\r\n\r\n",
    ):
        sock = clients.connect()
        for byte in request:
            sock.sendall(bytes([byte]))
        assert answered(sock)[0].status in (200, 202)


def test_what_does_not_arrive_in_time_gets_a_408_and_is_closed(clients: RawClients) -> None:
    began_s = time.monotonic()
    half_head, half_body = clients.connect(HALF_A_HEAD), clients.connect(HALF_A_BODY)
    for sock in (half_head, half_body):
        response, body = answered(sock)
        assert response.status == 408
        assert response.headers["Content-Type"] == "application/problem+json"
        assert json.loads(body)["status"] == 408
        assert until_closed(sock) == b""
    assert time.monotonic() - began_s > 9


def large_listing(stage: Stage, app: str) -> bytes:
    """Track enough operations of an app that its listing has half a megabyte. Returns the head of a request for it."""
    for _ in range(100):
        context = {f"key-{number}": "x" * 480 for number in range(8)}
        assert (
            stage.opwatch.post({"app": app, "operation_id": new_id(), "notify": [], "context": context}).status == 202
        )
    return b"GET /v1/operations?app=%s&limit=100 HTTP/1.1\r\n" % app.encode() + SIGNED


def test_clients_that_do_not_read_their_answers_hold_nobody_up(stage: Stage, clients: RawClients) -> None:
    listing = large_listing(stage, "large-shop")
    # Ten answers of half a megabyte exceed the system's buffer of one connection.
    asked = (listing + b"\r\n") * 9 + listing + b"Connection: close\r\n\r\n"
    for _ in range(24):
        clients.connect(asked, receive_buffer=2048)
    time.sleep(1)  # time for their answers, and for harm
    posts_promptly(stage)
    # A client that reads slowly, but reads, gets everything, next to those that do not read.
    received = until_closed(clients.connect(asked, receive_buffer=32_768))
    assert received.count(b"HTTP/1.1 200 OK") == 10
    assert received.count(b'"app":"large-shop"') == 1000


def test_answers_that_nobody_reads_do_not_fill_the_memory(stage: Stage, clients: RawClients) -> None:
    listing = large_listing(stage, "deaf-shop")
    process = serving(stage)
    before = process.memory_info().rss
    for _ in range(250):
        clients.connect(listing + b"\r\n", receive_buffer=2048)
    own = clients.connect(b"GET /v1/operations?limit=1 HTTP/1.1\r\n" + SIGNED + b"\r\n")  # queues behind the others
    most = before
    while not select([own], [], [], 0.02)[0]:
        most = max(most, process.memory_info().rss)
    assert most - before < 60_000_000  # all 250 answers have 125 MB


def test_a_client_that_leaves_its_connection_open_delays_nobody(stage: Stage, clients: RawClients) -> None:
    for _ in range(20):
        clients.connect(b"GET /healthz HTTP/1.0\r\n\r\n")
    posts_promptly(stage)


def test_a_client_that_asks_may_send_its_body_then(clients: RawClients) -> None:
    body = json_body()
    sock = clients.connect(POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
    assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.sendall(body)
    assert sock.recv(12) == b"HTTP/1.1 202"  # and it is not repeated


def test_requests_sent_in_one_go_are_answered_in_their_order(clients: RawClients) -> None:
    body = json_body()
    post = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    closing = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    sock = clients.connect(post + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + post + closing)
    received = until_closed(sock)
    assert [line.split()[1] for line in received.split(b"\n") if line.startswith(b"HTTP/1.1")] == [
        b"202",
        b"200",
        b"200",
        b"404",
    ]


def test_clients_that_never_stop_sending_in_one_go_take_turns_with_others(stage: Stage, clients: RawClients) -> None:
    """Counted in answers, not in time: without a pause, others read 3,000 while one waits for twenty of its own."""
    ended, answers = threading.Event(), itertools.count()

    def send(sock: socket.socket) -> None:
        with suppress(OSError):
            while not ended.is_set():
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 200)

    def read(sock: socket.socket) -> None:
        with suppress(OSError):
            while not ended.is_set():
                for _ in range(sock.recv(65_536).count(b"HTTP/1.1 200")):
                    next(answers)

    socks = [clients.connect() for _ in range(8)]
    threads = [threading.Thread(target=do, args=(sock,)) for sock in socks for do in (send, read)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: next(answers) > 100, what="the first answers")
        before = next(answers)
        posts_promptly(stage, 20)
        meanwhile = next(answers) - before
    finally:
        ended.set()
        for sock in socks:
            sock.shutdown(socket.SHUT_RDWR)  # ends what its threads wait for
        for thread in threads:
            thread.join()
    assert meanwhile < 1_500


def test_a_body_that_breaks_off_is_said_to(clients: RawClients) -> None:
    sock = clients.connect(HALF_A_BODY)
    sock.shutdown(1)
    response, body = answered(sock)
    assert (response.status, json.loads(body)["detail"]) == (400, "the request ended too early")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET /" + b"x" * 5_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 9_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000, 431),
        (POST + b"Transfer-Encoding: odd\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (POST + b"Expect: 100-continue\r\nContent-Length: 70000\r\n\r\n", 413),
        (POST + b"Expect: miracles\r\n\r\n", 417),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (CHUNKED + b"zz\r\n", 400),
    ],
    ids=range(12),
)
def test_what_never_reaches_the_app_gets_a_problem_too(clients: RawClients, request_bytes: bytes, status: int) -> None:
    response, body = answered(clients.connect(request_bytes))
    problem = json.loads(body)
    assert (response.status, response.headers["Content-Type"]) == (status, "application/problem+json")
    assert (set(problem), problem["status"]) == ({"type", "title", "status", "detail", "errors", "request_id"}, status)
    assert problem["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("content_type", [b"application/json", b"application/x-www-form-urlencoded"])
def test_a_body_over_64_kb_is_refused_however_it_is_sent_and_costs_no_memory(
    stage: Stage, clients: RawClients, content_type: bytes
) -> None:
    head = b"POST /v1/operations HTTP/1.1\r\n" + SIGNED + b"Content-Type: " + content_type + b"\r\n"
    process = serving(stage)
    before = process.memory_info().rss
    megabyte = b"x" * 1024 * 1024
    framings = (
        (b"Content-Length: %d\r\n\r\n" % (20 * len(megabyte)), b"", b""),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n" % len(megabyte), b"\r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (20 * len(megabyte)), b"", b""),
    )
    for framing, opening, ending in framings:
        sock = clients.connect(head + framing)
        with suppress(ConnectionError):  # answered and closed during sending
            for _ in range(20):
                sock.sendall(opening + megabyte + ending)
        response, body = answered(sock)
        assert (response.status, json.loads(body)["status"]) == (413, 413)
    assert process.memory_info().rss - before < 8 * len(megabyte)


def test_a_body_of_just_64_kb_is_read(clients: RawClients) -> None:
    body = json_body().ljust(LARGEST_BODY_BYTES)
    sock = clients.connect(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert answered(sock)[0].status == 202
    sock = clients.connect(CHUNKED + b"%x\r\n" % (len(body) + 1) + body + b" \r\n0\r\n\r\n")
    assert answered(sock)[0].status == 413


@pytest.mark.alone
@pytest.mark.parametrize("flooding", ["a token", "no token", "many connections"])
def test_a_flood_does_not_starve_another_token_even_one_that_was_silent_until_then(
    tmp_path: Path, record_property: Measure, flooding: str
) -> None:
    settings = {"OPWATCH_TOKENS": f"ci:{CALLER_TOKEN},calm:{CALM_TOKEN}"}
    listing = b"GET /v1/operations?app=none HTTP/1.1\r\n" + SIGNED + b"\r\n"
    body = json_body()
    post = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    tiny = POST.replace(b"Authorization", b"X-Nobody") + b"Transfer-Encoding: chunked\r\n\r\n"
    with staged(tmp_path, settings=settings) as stage, RawClients(stage.opwatch.port) as clients:
        for _ in range(300):
            assert stage.opwatch.post({"app": "many-shop", "operation_id": new_id(), "notify": []}).status == 202
        match flooding:
            case "a token":
                requests, times = [(listing * 3 + post) * 40], 64
            case "no token":
                requests, times = [tiny + b"1\r\na\r\n" * 12_000 + b"0\r\n\r\n"], 80
            case _:
                requests, times = [listing, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"], 500
        for request in requests * times:
            clients.connect(request)
        took_s = []
        for _ in range(20):
            began_s = time.monotonic()
            fields = {"app": "calm-shop", "operation_id": new_id(), "notify": []}
            assert stage.opwatch.post(fields, token=CALM_TOKEN).status == 202
            assert stage.opwatch.get("/healthz", token=None).status == 200
            took_s.append(time.monotonic() - began_s)
        median_s, slowest_s = sorted(took_s)[10], max(took_s)
        record_property(f"a POST and a GET beside a flood of {flooding}, median", median_s)
        record_property(f"a POST and a GET beside a flood of {flooding}, slowest", slowest_s)
        assert median_s < 2
        assert slowest_s < 10  # the first one comes while the flood still arrives


def test_a_request_on_its_way_is_not_dropped_for_connections_that_say_nothing(
    stage: Stage, clients: RawClients
) -> None:
    body = json_body()
    slow = clients.connect(POST + b"Content-Length: %d\r\n\r\n" % len(body))
    for _ in range(250):
        clients.connect()
    posts_promptly(stage, 1)  # so that all of them have been accepted
    slow.sendall(body)
    assert answered(slow)[0].status == 202


def test_who_has_only_just_come_is_not_dropped_for_whoever_comes_next(stage: Stage, clients: RawClients) -> None:
    for _ in range(250):
        clients.connect(HALF_A_BODY)
    newcomer = clients.connect()
    posts_promptly(stage, 1)  # it came later, so the newcomer has been accepted
    body = json_body()
    newcomer.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert answered(newcomer)[0].status == 202


def test_whoever_waits_for_an_end_is_answered_at_once_when_the_process_stops(tmp_path: Path) -> None:
    with staged(tmp_path) as stage, RawClients(stage.opwatch.port) as clients:
        running = stage.opwatch.track(stage.scalingo.operation("endless-shop", duration_s=None).url)
        waiting = clients.connect(
            b"GET /v1/operations/%s HTTP/1.1\r\nPrefer: wait=25\r\n" % running.encode() + SIGNED + b"\r\n"
        )
        posts_promptly(stage, 1)
        stage.opwatch.terminate("web")
        response, answer = answered(waiting)
        assert response.status == 200
        assert b'"state":"tracking"' in answer
        assert stage.opwatch.wait_for_exit("web") == 0


def test_half_sent_requests_delay_a_stop_by_seconds_only(tmp_path: Path) -> None:
    with staged(tmp_path, workers=("worker",)) as stage, RawClients(stage.opwatch.port) as clients:
        half = [clients.connect(each) for each in (b"", HALF_A_HEAD, HALF_A_BODY)]
        posts_promptly(stage, 1)  # so that all of them have been accepted
        body = json_body()
        late = clients.connect(POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert late.recv(100).startswith(b"HTTP/1.1 100")  # and this one, too
        stage.opwatch.terminate("web")
        late.sendall(body)
        assert answered(late)[0].status == 202
        assert stage.opwatch.wait_for_exit("web", timeout_s=30) == 0  # a platform would kill it
        assert [until_closed(sock)[9:12] for sock in half] == [b"", b"408", b"408"]
