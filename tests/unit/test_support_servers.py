"""The scripted receiver, and both stand-in servers as processes; over real HTTP on loopback."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from standin.api import DEFAULT_TOKENS
from tests.support.caller import call, sign_in
from tests.support.receiver import Receiver, Reply

ROOT = Path(__file__).parents[2]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Serve a receiver."""
    with Receiver() as running:
        yield running


class TestOutages:
    """A server can stop and start again."""

    def test_while_clients_come_it_leaves_nothing_open(self, receiver: Receiver) -> None:
        ended, parts = threading.Event(), urlsplit(receiver.url())

        def come() -> None:
            while not ended.is_set():
                with suppress(OSError), socket.create_connection((parts.hostname, parts.port), 1):
                    pass

        with ThreadPoolExecutor(2) as pool:
            coming = [pool.submit(come) for _ in range(2)]
            for _ in range(50):
                receiver.stop()
                receiver.start()
            ended.set()
        assert [each.result() for each in coming] == [None, None]
        gc.collect()  # what was left open is an error
        assert call(receiver.url()).status == 200

    def test_an_outage_breaks_what_is_under_way(self, receiver: Receiver) -> None:
        receiver.script("/", Reply(hang_s=30))
        with ThreadPoolExecutor() as pool:
            caller = pool.submit(call, receiver.url())
            receiver.wait_for(1)
            receiver.stop()
            assert isinstance(caller.exception(5), ConnectionError)
        receiver.start()
        receiver.script("/", Reply())
        assert call(receiver.url()).text == "ok"
        assert len(receiver.requests) == 2

    def test_an_outage_breaks_connections_kept_alive(self, receiver: Receiver) -> None:
        connection = HTTPConnection(urlsplit(receiver.url()).netloc, timeout=5)
        connection.request("GET", "/")
        connection.getresponse().read()
        receiver.stop()
        assert connection.sock.recv(1) == b""
        connection.close()

    def test_starting_twice_is_an_error_and_stopping_twice_is_not(self) -> None:
        receiver = Receiver()
        with receiver:
            with pytest.raises(RuntimeError):
                receiver.start()
            receiver.stop()
            receiver.stop()


class TestReceiver:
    """Scripts, misbehaviour and what is recorded."""

    def test_it_answers_ok_and_keeps_the_request(self, receiver: Receiver) -> None:
        before = time.time()
        assert call(receiver.url("/hook?x=1"), "POST", auth="secret", body=b"\x00raw").text == "ok"
        (seen,) = receiver.requests
        assert (seen.method, seen.path, seen.query, seen.body) == ("POST", "/hook", "x=1", b"\x00raw")
        assert (seen.headers["authorization"], seen.headers["AUTHORIZATION"]) == ("secret", "secret")
        assert before <= seen.received_at <= time.time()

    def test_the_time_is_that_of_the_headers_not_of_the_body(self, receiver: Receiver) -> None:
        connection = HTTPConnection(urlsplit(receiver.url()).netloc, timeout=5)
        connection.putrequest("POST", "/")
        connection.putheader("Content-Length", "2")
        connection.endheaders()
        time.sleep(1)  # far longer than the headers take
        body_sent_at = time.time()
        connection.send(b"hi")
        assert connection.getresponse().status == 200
        connection.close()
        assert receiver.requests[0].received_at < body_sent_at
        assert receiver.requests[0].body == b"hi"

    def test_a_script_is_followed_and_its_last_reply_repeats(self, receiver: Receiver) -> None:
        receiver.script("/a", Reply(500, "no"), Reply(429, headers={"Retry-After": "2"}), Reply(201, b"yes"))
        assert [call(receiver.url("/a")).status for _ in range(4)] == [500, 429, 201, 201]
        assert call(receiver.url("/b")).status == 200
        receiver.script("/a")
        assert call(receiver.url("/a")).status == 200

    def test_the_default_can_be_chosen(self) -> None:
        with Receiver(default=Reply(404, "{}", {"content-type": "application/json"})) as receiver:
            answer = call(receiver.url("/any"))
            assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json")

    def test_it_redirects(self, receiver: Receiver) -> None:
        receiver.script("/", Reply(302, "", {"Location": "http://example.com/"}))
        answer = call(receiver.url())
        assert (answer.status, answer.headers["Location"]) == (302, "http://example.com/")

    def test_it_resets_before_or_after_reading(self, receiver: Receiver) -> None:
        receiver.script("/", Reply(reset="before"), Reply(reset="after_read"), Reply())
        for _ in range(2):
            with pytest.raises(ConnectionResetError) as caught:
                call(receiver.url(), "POST", body=b"x" * 100_000)
            assert not isinstance(caught.value, RemoteDisconnected)
        assert call(receiver.url()).status == 200
        assert [len(seen.body) for seen in receiver.requests] == [0, 100_000, 0]

    def test_it_delays_drips_and_hangs(self, receiver: Receiver) -> None:
        receiver.script("/", Reply(delay_s=0.1), Reply(body="slowly", drip_s=0.02), Reply(hang_s=0.05))
        for least_s, text in ((0.1, "ok"), (0.1, "slowly")):
            started = time.monotonic()
            assert call(receiver.url(), timeout_s=1).text == text
            assert time.monotonic() - started >= least_s
        with pytest.raises(RemoteDisconnected):
            call(receiver.url())

    def test_a_client_that_leaves_a_dripping_answer_is_no_error(
        self, receiver: Receiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        receiver.script("/", Reply(body="x" * 1_000, drip_s=0.01), Reply(delay_s=0.1))
        connection = HTTPConnection(urlsplit(receiver.url()).netloc, timeout=5)
        connection.request("GET", "/")
        connection.getresponse().read(1)
        connection.close()
        assert call(receiver.url()).status == 200
        receiver.stop()
        assert not caplog.records

    def test_waiting_returns_as_soon_as_enough_has_come(self, receiver: Receiver) -> None:
        sender = threading.Timer(0.05, lambda: [call(receiver.url(path)) for path in ("/b", "/a", "/a")])
        sender.start()
        assert [seen.path for seen in receiver.wait_for(2, "/a")] == ["/a", "/a"]
        assert len(receiver.wait_for(3, timeout_s=0)) == 3
        sender.join()

    def test_waiting_in_vain_says_what_was_seen(self, receiver: Receiver) -> None:
        call(receiver.url("/b"), "POST", body=b"hello")
        with pytest.raises(AssertionError, match=r"0 of 1 requests .*\n  POST /b 'hello'"):
            receiver.wait_for(1, "/a", timeout_s=0.01)


class TestProcesses:
    """Both servers as `make run` uses them."""

    def start(self, *arguments: str) -> tuple["subprocess.Popen[str]", str]:
        """Start one, and return it with its address."""
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments, "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        return process, process.stdout.readline().removeprefix("listening on ").strip()

    def stop(self, process: "subprocess.Popen[str]", number: int) -> str:
        """Signal it, and return the rest of its output."""
        os.kill(process.pid, number)
        printed, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        return printed

    def test_the_api_begins_operations_over_http_and_says_what_came(self) -> None:
        process, url = self.start("standin", "--limit", "4")
        try:
            begun = call(f"{url}/_standin/operations", "POST", body={"app": "shop", "duration_s": None}).json()
            bearer = sign_in(url, DEFAULT_TOKENS["default"])
            assert call(begun["operation_url"], auth=bearer).json()["operation"]["status"] == "running"
            assert [call(begun["operation_url"], auth=bearer).status for _ in range(3)] == [200, 200, 429]
            log = call(f"{url}/_standin/requests").json()
            assert [seen["status"] for seen in log["requests"]] == [200, 200, 200, 200, 429]
            assert (log["requests"][1]["account"], log["requests"][1]["operation_id"]) == ("default", begun["id"])
            assert log["rate_limited"] == 1
        finally:
            self.stop(process, signal.SIGTERM)

    def test_the_receiver_prints_what_comes(self) -> None:
        process, url = self.start("tests.support.receiver")
        assert call(url + "/hook", "POST", body=b"hello").text == "ok"
        assert self.stop(process, signal.SIGINT) == "POST /hook 'hello'\n"
