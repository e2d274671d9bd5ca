"""bin/opwatch in each shell: with a scripted server, with faults, and once with the real service."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from api.openapi import VERSION
from tests.journeys.stage import Stage, document, staged
from tests.support.receiver import Receiver, Reply, RequestReceived
from tests.support.running import CALLER_TOKEN
from tests.support.script import PATIENCE_S, SCRIPT, SHELLS, Script

ID = "osc-fr1-5ed11f2c884fef000f5e502e"
LOCATION = "https://api.osc-fr1.scalingo.com/v1/apps/shop/operations/5ed11f2c884fef000f5e502e"
TOKEN = 'a-"token"-\\that-nobody-sees'  # noqa: S105 - it opens nothing
POST, GET, ERROR = "/v1/operations", f"/v1/operations/{ID}", f"/v1/operations/{ID}/error"
ACCEPTED = Reply(202, f"tracking {ID} shop: operation not seen yet\n")
SUCCEEDED = Reply(200, f"succeeded {ID} shop: restart succeeded after 17 s (usually 15–20 s)\n")
ENDS = {
    "succeeded": (0, "shop: restart succeeded after 17 s"),
    "failed": (1, "shop: restart failed after 42 s: no port"),
    "timed_out": (3, "shop: restart not finished after 1 h 0 min: still running after 3600 s; it may still succeed"),
    "lost": (3, "shop: restart lost from sight after 1 min 4 s: 404 (3 times over 64 s)"),
    "cancelled": (3, "shop: restart cancelled after 5 s"),
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """Return each shell in turn."""
    return str(request.param)


@pytest.fixture
def script(shell: str, tmp_path: Path, receiver: Receiver) -> Script:
    """Set the script up for the scripted server, which accepts, and answers `succeeded`."""
    receiver.script(POST, ACCEPTED)
    receiver.script(GET, SUCCEEDED)
    return Script.in_shell(shell, tmp_path, url=f"{receiver.base_url}/", token=TOKEN)


def still(words: str) -> Reply:
    return Reply(200, f"tracking {ID} shop: {words}\n")


def form(request: RequestReceived) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True))


# What it sends, and what it prints


def test_without_waiting_it_prints_the_id_and_has_sent_every_option_as_given(
    script: Script, receiver: Receiver
) -> None:
    odd = 'Jürgen "J" O\'Neil & söhne = 100 % + #1;\n\tline two\\n $(id) `id`\r\n'
    context = ["--context", f"actor={odd}", "--context=commit=a=b"]
    options = ["--notify", "", "--group=build 7", "--group-size", "2", "--timeout", "90", "--account", "agency"]
    ran = script.run("track", *context, f"{LOCATION}\r", "--region=osc-fr1", *options)
    assert (ran.code, ran.out) == (0, f"{ID}\n")
    assert ran.err == f"opwatch: {ACCEPTED.body!s}"
    (sent,) = receiver.requests
    assert form(sent) == {
        "operation_url": LOCATION,
        "context.actor": odd,
        "context.commit": "a=b",
        "notify": "",
        "group": "build 7",
        "group_size": "2",
        "timeout": "90",
        "account": "agency",
        "region": "osc-fr1",
    }
    assert (sent.method, sent.headers["Accept"]) == ("POST", "text/plain")
    assert sent.headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("state", ENDS)
def test_waiting_prints_the_verdict_alone_and_ends_with_its_exit_code(
    script: Script, receiver: Receiver, state: str
) -> None:
    code, words = ENDS[state]
    receiver.script(GET, still("restart running for 12 s"), Reply(200, f"{state} {ID} {words}\n"))
    receiver.script(ERROR, Reply(200, "no port\n"))
    ran = script.run("track", LOCATION, "--wait")
    assert (ran.code, ran.out) == (code, f"{state} {ID} {words}\n")
    assert ran.err == f"opwatch: tracking {ID}\nshop: operation not seen yet\nshop: restart running for 12 s\n"
    assert [seen.headers["Prefer"] for seen in receiver.requests if seen.path == GET] == ["wait=25"] * 2


def test_an_error_text_of_several_lines_is_printed_whole(script: Script, receiver: Receiver) -> None:
    receiver.script(GET, Reply(200, f"failed {ID} shop: restart failed after 42 s: first\n"))
    receiver.script(ERROR, Reply(200, "first\n\n  third ☠ \\n\n"))
    ran = script.run("wait", ID)
    assert (ran.code, ran.err) == (1, "first\n\n  third ☠ \\n\n")


def test_only_what_changes_is_said_and_now_and_then_that_it_goes_on(script: Script, receiver: Receiver) -> None:
    seconds = [still(f"restart running for {number} s") for number in range(2, 17)]
    receiver.script(GET, still("restart pending for 1 s"), *seconds, still("restart running for 1 min 2 s"), SUCCEEDED)
    ran = script.run("wait", ID)
    assert ran.err.splitlines() == [
        "shop: restart pending for 1 s",
        "shop: restart running for 2 s",
        "shop: restart running for 12 s",
        "shop: restart running for 1 min 2 s",
    ]


def test_on_a_terminal_it_is_one_line_that_lives(script: Script, receiver: Receiver) -> None:
    receiver.script(GET, still("restart running for 2 s"), still("restart running for 5 s"), SUCCEEDED)
    ran = script.run_on_terminal("track", LOCATION, "--wait")
    assert (ran.code, ran.out) == (0, SUCCEEDED.body)
    erase = "\r\x1b[K"
    words = ["operation not seen yet", "restart running for 2 s", "restart running for 5 s"]
    lines = "".join(f"{erase}\x1b[?7lshop: {each}\x1b[?7h" for each in words)
    assert ran.err == f"{erase}opwatch: tracking {ID}\r\n{lines}{erase}"
    assert [seen.headers["Prefer"] for seen in receiver.requests if seen.path == GET] == ["wait=2"] * 3


def test_what_is_tracked_can_be_shown_and_waited_for(script: Script, receiver: Receiver) -> None:
    receiver.script(GET, still("restart running for 12 s"), SUCCEEDED)
    shown = script.run("show", GET)  # the path, as in the service's Location
    assert (shown.code, shown.out, shown.err) == (0, f"tracking {ID} shop: restart running for 12 s\n", "")
    assert script.run("wait", ID).out == SUCCEEDED.body


# Scalingo's answer on standard input


TOLD = f"opwatch: {ACCEPTED.body!s}"
NOTHING_TO_DO = "opwatch: there is nothing to do: "
NO_ANSWER = "opwatch: no answer of Scalingo on standard input (use curl -i)\n"
ANSWERS = [
    (f"HTTP/1.1 202 Accepted\r\nLocation: {LOCATION}\r\nX-Other: y\r\n\r\n", 0, TOLD),
    (f"HTTP/1.1 100 Continue\r\n\r\nHTTP/2 202 \r\nlocation: {LOCATION}\r\n\r\n{{}}", 0, TOLD),
    (f'HTTP/1.1 200 OK\r\n\r\n{{"container":{{}},"operation_url":"{LOCATION}"}}\n', 0, TOLD),
    ('HTTP/1.1 200 OK\r\n\r\n{"containers":[]}', 0, NOTHING_TO_DO + '{"containers":[]}\n'),
    ('HTTP/1.1 400 No\r\n\r\n{"error":"no change in containers formation"}', 0, NOTHING_TO_DO),
    ('HTTP/1.1 404 No\r\n\r\n{"error":\n"x"}\n', 2, '{"error":\n"x"}\nopwatch: Scalingo answered HTTP 404\n'),
    ("", 2, NO_ANSWER),
    ("{}", 2, NO_ANSWER),
]


def test_it_finds_the_operation_in_an_answer(script: Script, receiver: Receiver) -> None:
    for answer, code, said in ANSWERS:
        ran = script.run("track", "-", stdin=answer)
        assert (answer, ran.code, ran.out) == (answer, code, f"{ID}\n" if said == TOLD else "")
        assert ran.err.startswith(said)
    assert [form(seen)["operation_url"] for seen in receiver.requests] == [LOCATION] * 3


# Faults


def test_an_outage_is_sat_out_with_growing_pauses_or_as_long_as_asked(script: Script, receiver: Receiver) -> None:
    busy = Reply(429, f"error 429 too many in flight; {TOKEN[:3]}\n", {"Retry-After": "7"})
    away = Reply(503, '{"status": 503}', {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"})
    receiver.script(POST, Reply(reset="after_read"), busy, away, Reply(502, "<html>\n"), ACCEPTED)
    receiver.script(GET, Reply(504), Reply(503, "", {"Retry-After": "9999"}), SUCCEEDED)
    ran = script.run("track", LOCATION, "--wait")
    assert (ran.code, ran.out) == (0, SUCCEEDED.body)
    assert script.slept == [1, 7, 4, 8, 1, 300]
    assert 'HTTP 429: too many in flight; a-"; trying again in 7 s\n' in ran.err
    assert len({seen.body for seen in receiver.requests if seen.path == POST}) == 1


def test_it_gives_up_on_what_cannot_be_reached(script: Script, receiver: Receiver) -> None:
    receiver.stop()
    ran = script.run("track", LOCATION, "--wait")
    assert (ran.code, ran.out) == (4, "")
    assert script.slept == [1, 2, 4, 8, 16, 30, 30, 30]
    assert re.search(r"^opwatch: \S+ does not serve: curl: \(7\) .*; gave up$", ran.err, re.MULTILINE)


def test_a_verdict_counts_although_its_error_text_cannot_be_had(script: Script, receiver: Receiver) -> None:
    receiver.script(GET, Reply(200, f"failed {ID} shop: restart failed after 42 s: first\n"))
    receiver.script(ERROR, Reply(500))
    ran = script.run("wait", ID)
    assert (ran.code, ran.out) == (1, f"failed {ID} shop: restart failed after 42 s: first\n")


def test_waiting_comes_again_when_the_service_says_where_too_many_wait(script: Script, receiver: Receiver) -> None:
    crowded = Reply(200, still("restart running for 2 s").body, {"Retry-After": "2"})
    receiver.script(GET, still("restart running for 1 s"), crowded, crowded, SUCCEEDED)
    assert script.run("wait", ID).code == 0
    assert script.slept == [2, 2]


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (Reply(401, "error 401 send a token\n"), 2, "refused by {url}: HTTP 401: send a token"),
        (Reply(422, "error 422 timeout: too short\n"), 2, "refused by {url}: HTTP 422: timeout: too short"),
        (Reply(404, "<html>no such app\n"), 2, "refused by {url}: HTTP 404"),
        (
            Reply(301, "", {"Location": "https://a.example/"}),
            2,
            "{url} redirects to https://a.example/; set OPWATCH_URL to the address of the service",
        ),
        (
            Reply(200, "<html>welcome\n"),
            4,
            "{url} does not answer like Opwatch; is the address right, and the service as new as this script?",
        ),
    ],
)
def test_what_waiting_cannot_mend_ends_it_at_once(
    script: Script, receiver: Receiver, reply: Reply, code: int, said: str
) -> None:
    receiver.script(POST, reply)
    ran = script.run("track", LOCATION)
    assert (ran.code, ran.out, script.slept) == (code, "", [])
    assert ran.err == f"opwatch: {said.format(url=script.env['OPWATCH_URL'])}\n"


def test_a_tracking_that_is_gone_leaves_the_end_unknown(script: Script, receiver: Receiver) -> None:
    receiver.script(GET, Reply(404, "error 404 no operation of this id is tracked\n"))
    assert script.run("wait", ID).code == 2
    assert script.run("track", LOCATION, "--wait").code == 3


def test_ctrl_c_ends_the_waiting_and_says_that_the_tracking_goes_on(script: Script, receiver: Receiver) -> None:
    receiver.script(GET, Reply(hang_s=60))
    with script.running("track", LOCATION, "--wait") as process:
        receiver.wait_for(1, GET)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (130, "")
    assert err.endswith(f"opwatch: no longer waiting; Opwatch goes on tracking {ID}\n")


def test_nothing_that_is_answered_steers_the_terminal(script: Script, receiver: Receiver) -> None:
    receiver.script(GET, Reply(200, f"failed {ID} shop: \x1b[2J\x07\x9b2J failed\n"))
    ran = script.run("wait", ID)
    assert ran.code == 1
    assert not {"\x1b", "\x07"} & set(ran.out + ran.err)


# Usage and secrets


WRONG: list[tuple[tuple[str, ...], dict[str, str], str]] = [
    ((), {}, "Usage: opwatch track LOCATION"),
    (("restart", "shop"), {}, "Usage: opwatch track LOCATION"),
    (("track",), {}, "LOCATION that is not empty"),
    (("track", LOCATION, "https://another.example"), {}, "one operation at a time"),
    (("track", ""), {}, "LOCATION that is not empty"),
    (("track", "\r"), {}, "LOCATION that is not empty"),
    (("track", LOCATION, "--context", "actor"), {}, "--context takes NAME=VALUE"),
    (("track", LOCATION, "--context", "a&notify=x"), {}, "--context takes NAME=VALUE"),
    (("track", LOCATION, "--group"), {}, "--group is no option, or lacks its value"),
    (("track", LOCATION, "--nonsense", "x"), {}, "--nonsense is no option of track"),
    (("show",), {}, "show takes one id"),
    (("wait", "../healthz?"), {}, "is no tracking's id"),
    (("track", LOCATION), {"OPWATCH_URL": ""}, "set OPWATCH_URL to the address"),
    (("track", LOCATION), {"OPWATCH_URL": "opwatch.example.com"}, "set OPWATCH_URL to the address"),
    (("track", LOCATION), {"OPWATCH_TOKEN": ""}, "set OPWATCH_TOKEN"),
    (("track", LOCATION), {"PATH": "/nowhere"}, "curl is not installed"),
]


def test_wrong_usage_is_said_and_sends_nothing(script: Script, receiver: Receiver) -> None:
    for arguments, env, said in WRONG:
        ran = script.run(*arguments, **env)
        assert (arguments, env, ran.code, ran.out) == (arguments, env, 2, "")
        assert said in ran.err
    assert receiver.requests == ()


def test_no_process_list_and_no_trace_shows_the_token(shell: str, tmp_path: Path) -> None:
    seen: list[str] = []

    def list_processes(_request: RequestReceived) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:  # it has ended
                continue

    with Receiver(on_request=list_processes) as receiver:
        receiver.script(POST, ACCEPTED)
        receiver.script(GET, Reply(503, "", {"Retry-After": "1"}), SUCCEEDED)
        script = Script.in_shell(shell, tmp_path, url=receiver.base_url, token=TOKEN)
        ran = script.run("track", LOCATION, "--context", "actor=jane", "--wait", options=["-x"])
    assert ran.code == 0
    assert any("curl" in line for line in seen)
    assert "+ curl" in ran.err
    assert [line for line in [*seen, ran.err, ran.out] if "nobody-sees" in line] == []


def test_help_says_how_to_use_it_and_the_version_is_the_services(script: Script) -> None:
    shown = script.run("--help")
    assert (shown.code, shown.err) == (0, "")
    options = set(re.findall(r"^ +(--[a-z-]+)(?:[, ]|\))", SCRIPT.read_text("utf-8"), re.MULTILINE))
    assert {"--wait", "--context", "--notify"} <= options
    assert [option for option in options if option not in shown.out] == []
    assert script.run("--version").out == f"opwatch {VERSION}\n"


def test_shellcheck_finds_nothing() -> None:
    assert os.access(SCRIPT, os.X_OK)
    shellcheck = Path(sys.executable).with_name("shellcheck")  # it is among the development requirements
    ran = subprocess.run([shellcheck, "--shell=sh", SCRIPT], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


# The real service


def test_the_real_service_does_what_the_script_asks(tmp_path: Path) -> None:
    with staged(tmp_path / "stage") as stage:
        url = f"http://127.0.0.1:{stage.opwatch.port}"
        scripts = {shell: Script.in_shell(shell, tmp_path, url=url, token=CALLER_TOKEN) for shell in SHELLS}
        fails_and_is_told(stage, scripts["busybox"])
        may_be_sent_again_and_cancelled(stage, scripts["dash"])


def fails_and_is_told(stage: Stage, script: Script) -> None:
    odd = 'Jürgen & "söhne" = 100 %\nline two'
    operation = stage.scalingo.operation("script-shop", duration_s=2, outcome="error", error="first\nsecond ☠")
    options = ["--context", f"actor={odd}", "--notify", "webhook", "--wait"]
    ran = script.run("track", f"{operation.url}\r", *options)
    assert ran.code == 1
    assert ran.out == f"failed osc-fr1-{operation.id} script-shop: restart failed after 2 s: first\n"
    assert ran.err.startswith(f"opwatch: tracking osc-fr1-{operation.id}\nscript-shop: operation not seen yet\n")
    assert ran.err.endswith("first\nsecond ☠\n")
    stage.opwatch.wait_for_delivery(f"osc-fr1-{operation.id}", "webhook", "delivered")
    (told,) = stage.told("/webhook", "script-shop")
    assert document(told)["data"]["context"] == {"actor": odd}


def may_be_sent_again_and_cancelled(stage: Stage, script: Script) -> None:
    operation = stage.scalingo.operation("script-blog", duration_s=None)
    identity = f"osc-fr1-{operation.id}"
    answer = f"HTTP/1.1 202 Accepted\r\nLocation: {operation.url}\r\n\r\n"
    assert [script.run("track", "-", stdin=answer).out for _ in range(2)] == [f"{identity}\n"] * 2
    assert script.run("show", identity).out.startswith(f"tracking {identity} script-blog: ")
    assert script.run("track", operation.url, "--timeout", "1").code == 2
    assert script.run("show", "osc-fr1-unknown").code == 2
    stranger = script.run("show", identity, OPWATCH_TOKEN="not-one")  # noqa: S106 - it opens nothing
    assert "HTTP 401: " in stranger.err
    assert stage.opwatch.request("DELETE", f"/v1/operations/{identity}").status == 200
    waited = script.run("wait", identity)
    assert waited.code == 3
    assert waited.out.startswith(f"cancelled {identity} script-blog: restart cancelled after ")
