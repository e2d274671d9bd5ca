"""bin/opwatch in each shell: with a scripted server, with faults, and once with the real service."""

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import trustme

from api.openapi import VERSION
from tests.journeys.stage import Stage, document, staged
from tests.support.mail_server import MailServer
from tests.support.receiver import Receiver, Reply, RequestReceived
from tests.support.running import CALLER_TOKEN
from tests.support.script import APPLETS, PATIENCE_S, SCRIPT, SHELLS, Script

ID = "osc-fr1-5ed11f2c884fef000f5e502e"
LOCATION = "https://api.osc-fr1.scalingo.com/v1/apps/shop/operations/5ed11f2c884fef000f5e502e"
TOKEN = 'a-"token"-\\that-nobody-sees'  # noqa: S105 - it opens nothing
POST, GET, ERROR = "/v1/operations", f"/v1/operations/{ID}", f"/v1/operations/{ID}/error"
ACCEPTED = Reply(202, f"tracking {ID} shop: operation not seen yet\n")
SUCCEEDED = Reply(200, f"succeeded {ID} shop: restart succeeded after 17 s (usually 15–20 s)\n")
ENDS = {
    "succeeded": (0, "shop: restart succeeded after 17 s"),
    "failed": (1, "shop: restart failed after 42 s: no port"),
    "timed_out": (3, "shop: restart still running after 1 h; Opwatch stopped watching: it may still succeed"),
    "lost": (3, "shop: restart: end unknown (Scalingo no longer knows this operation): 404 (3 times over 64 s)"),
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


def test_a_group_is_waited_for_by_the_name_that_track_was_given(script: Script, receiver: Receiver) -> None:
    name = f"build 7/Jürgen's `id` $(id)\n{'x' * 200}"
    assert script.run("track", LOCATION, f"--group= {name} ").code == 0
    path = f"/v1/groups/{form(receiver.requests[-1])['group']}"  # the receiver decodes it
    members = (
        "1 of 3 ended after 5 s (1 succeeded)",
        "1 of 3 ended after 1 min 2 s (1 succeeded)",
        "2 of 3 ended after 3 min",
    )
    running = [Reply(200, f"tracking build%207 {each}\n") for each in members]
    ended = Reply(200, "failed build%207 failed after 9 s\n")
    receiver.script(path, running[0], Reply(401, "error 401 no\n"), *running, ended)
    given_up = script.run("wait", "--group", f"{name}\n")
    assert (given_up.code, given_up.out) == (3, "")
    pasted = given_up.err.partition("opwatch: wait for it later with: ")[2]
    assert pasted.startswith("opwatch wait --group 'build 7/")
    ran = script.run_in_shell(f"${pasted}")
    assert (ran.code, ran.out, ran.err) == (1, ended.body, f"{members[0]}\n{members[2]}\n")
    assert script.run("show", f"--group={name}").out == ended.body
    receiver.script(path, Reply(200, "tracking 7 1 of 2 ended, 1 not begun; no other has joined for 30 min\n"))
    incomplete = script.run("wait", "--group", name)
    assert (incomplete.code, "the group is not complete: 1 of 2 ended" in incomplete.err) == (3, True)
    assert {seen.path for seen in receiver.requests} == {POST, "/readyz", path}  # a group has no error text of its own


# Scalingo's answer on standard input


ACCEPTED_HEAD = f"HTTP/1.1 202 Accepted\r\nLocation: {LOCATION}\r\n"
ESCAPED = LOCATION.replace("/", "\\/")
OK, JSON = "HTTP/1.1 200 OK\r\n", "Content-Type: application/json\r\n"
LIMITED = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 11\r\n\r\nRetry later"
NAMES_IT: Mapping[str, str] = {
    "plain": f"{ACCEPTED_HEAD}X-Other: y\r\n\r\n",
    "100": f"HTTP/1.1 100 Continue\r\n\r\nHTTP/2 202 \r\nlocation: {LOCATION}\r\n\r\n{{}}",
    "103, and a trailing 1xx": f"HTTP/2 103\r\nlink: </x>\r\n\r\n{ACCEPTED_HEAD}\r\nHTTP/1.1 102 Processing\r\n\r\n",
    "a proxy": f"HTTP/1.1 200 Connection established\r\nVia: p\r\n\r\nHTTP/2 202 \r\nlocation: {LOCATION}\r\n\r\n",
    "two proxies": f"HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 407 No\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{ACCEPTED_HEAD}\r\n",
    "a redirect": f"HTTP/1.1 307 Moved\r\nLocation: https://elsewhere.example/\r\n\r\n{ACCEPTED_HEAD}\r\n",
    "a retry, glued": f"{LIMITED}{ACCEPTED_HEAD}\r\n",
    "retries, glued": f"{LIMITED}{LIMITED}HTTP/1.1 100 Continue\r\n\r\n{ACCEPTED_HEAD}\r\n{{}}",
    "a retry, pretty": f'HTTP/1.1 503 No\r\n\r\n{{\n  "error": "no"\n}}{ACCEPTED_HEAD}\r\n',
    "line ends": f"HTTP/1.1 202 Accepted\nLocation: {LOCATION}\n\n",
    "no end": f"HTTP/1.1 202 Accepted\r\nLocation: {LOCATION}",
    "odd": f"HTTP/1.1 202\r\nServer:\r\nLOCATION:{LOCATION} \t\r\n\r\n",
    "tabs": f"HTTP/1.1 202 Accepted\r\nlOcAtIoN \t:\t {LOCATION}\r\n\r\n",
    "folded": f"HTTP/1.1 202 Accepted\r\nLocation:\r\n  {LOCATION[:40]}\r\n\t{LOCATION[40:]}\r\nX: y\r\n\r\n",
    "not folded": f"{ACCEPTED_HEAD}Via: 1\r\n 2\r\n\r\n",
    "noise": f"* Trying…\n\0\n{ACCEPTED_HEAD}\r\n",
    "an error that quotes": f'{ACCEPTED_HEAD}\r\n{{"was": "HTTP/1.1 502 Bad Gateway"}}\n<p>HTTP/1.1 503 Busy</p>\n\n',
    "a one-off": f'{OK}\r\n{{"container":{{"id":"1"}},"operation_url":"{LOCATION}"}}\n',
    "a pretty one-off": f'{OK}{JSON}\r\n{{\n  "container" : {{ }},\n  "operation_url" :\n\t"{LOCATION}"\n}}\n',
    "an escaped one-off": f'{OK}\r\n{{"a":["\\"operation_url\\":\\"x"],"operation_url":"{ESCAPED}"}}',
    "a one-off, and -w": f'{OK}\r\n{{"operation_url":"{LOCATION}"}}\n200',
}
NO_CHANGE = 'HTTP/1.1 400 Bad Request\r\n\r\n{"error":"no change in containers formation"}'
NAMES_IT = {
    **NAMES_IT,
    "the header twice": f"{ACCEPTED_HEAD}Location: {LOCATION}\r\n\r\n",
    "an odd reason": ACCEPTED_HEAD.replace("Accepted", 'OK: "begun"!') + "\r\n",
    "an escaped URL": f'HTTP/1.1 200 OK\r\n\r\n{{"operation_url":"{LOCATION}"}}'.replace("//api", "\\u002f\\u002Fapi"),
}
NOTHING_TO_DO: Mapping[str, str] = {
    "same": f'{OK}\r\n{{"containers":[]}}',
    "pretty": f'{OK}{JSON}\r\n{{\n "meta": {{"a": [1, "}}"]}},\n "containers" : [\n  {{"name": "web"}}\n ]\n}}\n',
    "by a proxy": f'HTTP/1.1 200 Connection established\r\n\r\n{OK}{JSON}\r\n{{"containers":[{{"amount":1}}]}}',
    "refused": 'HTTP/1.1 400 No\r\n\r\n{"error":"no change in containers formation"}',
    "refused, after a retry": LIMITED + 'HTTP/2 400\r\nx: y\r\n\r\n{ "error" : "no change in containers formation" }',
}
LATER = f"opwatch: {LOCATION} may not be tracked; track it later with: opwatch track {LOCATION}\n"
NO_ANSWER = "opwatch: no answer of Scalingo on standard input (use curl -i)\n"
MAY_HAVE_BEGUN = "something may have begun"
NAMES_NOTHING: Mapping[str, tuple[str, str]] = {
    "nothing": ("", NO_ANSWER),
    "only a body": ("{}", NO_ANSWER),
    "curl's error": ("curl: (52) Empty reply from server\n", NO_ANSWER),
    "an interim answer": ("HTTP/1.1 100 Continue\r\n\r\n", NO_ANSWER),
    "a proxy, and nothing": ("HTTP/1.1 200 Connection established\r\n\r\n", MAY_HAVE_BEGUN),
    "an earlier answer began it": (f"{ACCEPTED_HEAD}\r\n{{{NO_CHANGE}", LATER),
    "an earlier answer was lost": (f"HTTP/1.1 504 Gateway Time-out\r\n\r\n<html>{NO_CHANGE}", MAY_HAVE_BEGUN),
    "no containers": ('HTTP/1.1 200 OK\r\n\r\n{"containers":null}', MAY_HAVE_BEGUN),
    "containers and an error": ('HTTP/1.1 200 OK\r\n\r\n{"containers":[],"error":"x"}', MAY_HAVE_BEGUN),
    "no content": ("HTTP/1.1 204 No Content\r\n\r\n", MAY_HAVE_BEGUN),
    "a lost Location": (f"HTTP/1.1 202 Accepted\r\n{JSON}\r\n{{}}", MAY_HAVE_BEGUN),
    "an empty Location": ("HTTP/1.1 202 Accepted\r\nLocation: \r\nX: y\r\n\r\n", MAY_HAVE_BEGUN),
    "an accepted scale": ('HTTP/1.1 202 Accepted\r\n\r\n{"containers":[]}', MAY_HAVE_BEGUN),
    "maintenance": (f"{OK}\r\n<!DOCTYPE html><title>containers</title>", MAY_HAVE_BEGUN),
    "documentation": (f'{OK}\r\n<pre>{{"operation_url":"{LOCATION}","containers":[]}}</pre>', MAY_HAVE_BEGUN),
    "another resource": (f'{OK}{JSON}\r\n{{"app":{{"containers":[],"name":"shop"}}}}', MAY_HAVE_BEGUN),
    "a word": (f'{OK}\r\n{{"message":"containers","x":"\\"containers\\":"}}', MAY_HAVE_BEGUN),
    "a list": (f'{OK}\r\n[{{"containers":[]}}]', MAY_HAVE_BEGUN),
    "half an answer": (f'{OK}\r\n{{"containers":[{{"name":"web"', MAY_HAVE_BEGUN),
    "no operation": (f'{OK}\r\n{{"operation_url":null}}', MAY_HAVE_BEGUN),
    "a redirect": (f"HTTP/1.1 302 Found\r\nLocation: {LOCATION}\r\n\r\n", "opwatch: Scalingo answered HTTP 302\n"),
    "a gateway": ("HTTP/1.1 502 No\r\n\r\n<html>", "<html>\nopwatch: Scalingo answered HTTP 502\n"),
    "refused": ('HTTP/1.1 404 No\r\n\r\n{"error":\n"x"}\n', '{"error":\n"x"}\nopwatch: Scalingo answered HTTP 404\n'),
    "refused at last": (f"{ACCEPTED_HEAD}\r\n{LIMITED}", "Scalingo answered HTTP 429\n"),
    "another refusal": ('HTTP/1.1 400 No\r\n\r\n{"error":"no such container"}', "Scalingo answered HTTP 400\n"),
}


def test_it_tracks_the_operation_that_the_last_final_answer_names(script: Script, receiver: Receiver) -> None:
    for name, answer in NAMES_IT.items():
        ran = script.run("track", "-", stdin=answer)
        assert (name, ran.code, ran.out, ran.err) == (name, 0, f"{ID}\n", f"opwatch: {ACCEPTED.body!s}")
    assert [form(seen) for seen in receiver.requests] == [{"operation_url": LOCATION}] * len(NAMES_IT)


def test_what_is_known_to_have_nothing_to_do_is_a_success(script: Script, receiver: Receiver) -> None:
    for name, answer in NOTHING_TO_DO.items():
        ran = script.run("track", "-", "--wait", stdin=answer)
        assert (name, ran.code, ran.out) == (name, 0, "")
        assert ran.err.startswith("opwatch: there is nothing to do: {")
    assert receiver.requests == ()


def test_what_names_no_operation_is_no_success(script: Script, receiver: Receiver) -> None:
    for name, (answer, said) in NAMES_NOTHING.items():
        ran = script.run("track", "-", "--wait", stdin=answer)
        assert (name, ran.code, ran.out) == (name, 2, "")
        assert said in ran.err
        refused = re.search(r"HTTP 4\d\d$", ran.err, re.MULTILINE) is not None
        earlier = "earlier" in name or name == "refused at last"
        assert (MAY_HAVE_BEGUN in ran.err) == (earlier or not refused)
        assert ran.err.endswith(LATER) == (name in ("an earlier answer began it", "refused at last"))
    assert receiver.requests == ()


# Deployments, and a database's operations and backups


UUID, OTHER_ID, APP_ID = "cabf82f2-1cb1-46d4-b09e-bfb6fe09bc18", "5ed0fe5f884fef000f5e4fd6", "5ed0fe5d884fef000f5e4fd1"
OUTPUT = f"https://api.osc-fr1.scalingo.com/v1/apps/{APP_ID}/deployments/{UUID}/output"
DATABASE = f"https://db-api.osc-fr1.scalingo.com/api/operations/{OTHER_ID}"
ADDON = "ad-6733873b-f6ac-4f3b-a3f0-5a3d2b1c9e0f"
CREATED = f"HTTP/1.1 201 Created\r\n{JSON}\r\n"


def deployment(**fields: object) -> str:
    about = {"id": UUID, "app_id": APP_ID, "status": "building", "git_ref": 'a "deployment":{"id":null}', **fields}
    return json.dumps({"deployment": about})


OF_SHOP, OF_ADDON = ("--app", "shop"), ("--app=shop", "--addon", ADDON)
LINKED = deployment(links={"output": OUTPUT})
RESTORE = f'{CREATED}{{"operation_id":"{OTHER_ID}","message":"x"}}'
LINKLESS: list[object] = [None, {}, {"output": None}, {"output": ""}, {"output": "/v1/x"}, [], "x"]
NAMES_A_KIND: Mapping[str, tuple[str, tuple[str, ...], dict[str, str], str]] = {
    "a deployment": (f"{CREATED}{LINKED}", OF_SHOP, {"operation_url": OUTPUT, "app": "shop"}, f"{OUTPUT} --app shop"),
    "of no app": (f"{OK}\r\n{LINKED}", (), {"operation_url": OUTPUT}, OUTPUT),
    "escaped": (CREATED + LINKED.replace("/", "\\/"), (), {"operation_url": OUTPUT}, OUTPUT),
    "its link": ("", (OUTPUT, *OF_SHOP), {"operation_url": OUTPUT, "app": "shop"}, f"{OUTPUT} --app shop"),
    **{
        f"without a link: {links}": (
            f"{OK}{JSON}\r\n{deployment(links=links)}",
            OF_SHOP,
            {"deployment_id": UUID, "app": "shop"},
            f"--deployment {UUID} --app shop",
        )
        for links in LINKLESS
    },
    "by its app's id": (
        f"{OK}\r\n{deployment()}",
        (),
        {"deployment_id": UUID, "app": APP_ID},
        f"--deployment {UUID} --app {APP_ID}",
    ),
    "an upgrade": (
        f'HTTP/2 202 \r\nlocation: {DATABASE}\r\n\r\n{{"operation_id":"{OTHER_ID}","id":"{APP_ID}"}}',
        OF_ADDON,
        {"operation_url": DATABASE, "app": "shop", "addon_id": ADDON},
        f"{DATABASE} --app shop --addon {ADDON}",
    ),
    **{
        name: (
            answer,
            OF_ADDON,
            {f"{word}_id": OTHER_ID, "app": "shop", "addon_id": ADDON},
            f"--{word} {OTHER_ID} --app shop --addon {ADDON}",
        )
        for name, word, answer in (
            ("a restore", "operation", RESTORE),
            ("a restore's", "operation", f'{CREATED}{{"operation":{{"id":"{OTHER_ID}","status":"pending"}}}}'),
            ("a backup", "backup", f'{CREATED}{{"database_backup":{{"id":"{OTHER_ID}","status":"scheduled"}}}}'),
            ("half of it", "backup", f'{CREATED}{{"database_backup":{{"id":"{OTHER_ID}","status"'),
        )
    },
    "an app's operation": (
        f'{OK}\r\n{{"operation":{{"id":"{OTHER_ID}","app_id":"{APP_ID}"}}}}',
        (),
        {"operation_id": OTHER_ID, "app": APP_ID},
        f"--operation {OTHER_ID} --app {APP_ID}",
    ),
    "a deployment's id": (
        "",
        (*OF_SHOP, f"--deployment= {UUID}\r\n"),
        {"deployment_id": UUID, "app": "shop"},
        f"--deployment {UUID} --app shop",
    ),
}
NAMES_NO_KIND: Mapping[str, str] = {
    "its other id": deployment(id=OTHER_ID),
    **{f"an id {odd!r}": deployment(id=odd) for odd in (None, "", 7, "x", UUID[:-1], f"{UUID}0", [UUID], {"id": UUID})},
    "a list": f"[{deployment()}]",
    "a list of ids": f'{{"deployment":[{{"id":"{UUID}"}}]}}',
    "many": f'{{"deployments":[{{"id":"{UUID}"}}],"meta":{{}}}}',
    **dict.fromkeys(["[]", "null", '""', "{}", f'"{UUID}"', '{"deployment":null}', '{"deployment":[]}'], ""),
    "in a string": json.dumps({"message": deployment(), "x": f'{{"operation_id":"{OTHER_ID}"}}'}),
    "an escaped name": json.dumps({'a","deployment': 1, 'deployment":{"id': UUID}),
    "a path as a name": json.dumps({"deployment.id": UUID, ".deployment.links.output": OUTPUT, "operation.id": UUID}),
    "within": json.dumps({"app": {"deployment": {"id": UUID}, "operation_id": OTHER_ID, "operation_url": LOCATION}}),
    "an app": json.dumps({"app": {"id": APP_ID, "name": "shop", "last_deployment_id": OTHER_ID}}),
    "a container": json.dumps({"container": {"id": APP_ID, "state": "starting"}}),
    "an addon": json.dumps({"addon": {"id": ADDON, "status": "provisioning"}, "message": "Database plan is changed"}),
    "a feature": json.dumps({"name": "redis-rdb", "status": "PENDING_TO_ACTIVATE", "message": "x"}),
    "a database": json.dumps({"database": {"id": APP_ID, "current_operation_id": OTHER_ID}}),
    "backups": json.dumps({"database_backups": [{"id": OTHER_ID}]}),
}


def test_every_kind_is_tracked_by_what_its_answer_names_or_handed_over(script: Script, receiver: Receiver) -> None:
    for name, (answer, options, sent, later) in NAMES_A_KIND.items():
        receiver.script(POST, Reply(422, "error 422 no\n"), ACCEPTED)
        ran = script.run("track", *(["-"] if answer else []), *options, "--wait", stdin=answer)
        assert (name, ran.code, ran.out) == (name, 2, "")
        assert ran.err.endswith(f" may not be tracked; track it later with: opwatch track {later}\n")
        ran = script.run("track", *later.split())
        assert (name, ran.code, ran.out) == (name, 0, f"{ID}\n")
        assert [form(seen) for seen in receiver.requests[-2:]] == [sent] * 2


def test_an_operation_of_a_database_needs_its_addon(script: Script, receiver: Receiver) -> None:
    ran = script.run("track", "-", *OF_SHOP, "--wait", stdin=RESTORE)
    assert (ran.code, ran.out, receiver.requests) == (2, "", ())
    assert "is of a database: name its addon with --addon" in ran.err
    assert ran.err.endswith(f"opwatch track --operation {OTHER_ID} --app shop\n")


def test_an_answer_about_something_else_is_no_success(script: Script, receiver: Receiver) -> None:
    for name, body in NAMES_NO_KIND.items():
        ran = script.run("track", "-", *OF_ADDON, "--wait", stdin=f"{CREATED}{body or name}")
        assert (name, ran.code, ran.out) == (name, 2, "")
        assert MAY_HAVE_BEGUN in ran.err
    for status in (400, 404, 500):
        assert script.run("track", "-", stdin=f"HTTP/1.1 {status} No\r\n\r\n{LINKED}").code == 2
    assert receiver.requests == ()


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


REFUSED: list[tuple[Reply, int, str]] = [
    (
        Reply(401, "error 401 send a token\n"),
        2,
        "refused by {url}: HTTP 401: send a token (is OPWATCH_TOKEN right, and without its name in front?)",
    ),
    (Reply(422, "error 422 timeout: too short\n"), 2, "refused by {url}: HTTP 422: timeout: too short"),
    (
        Reply(404, "<html>no such app\n"),
        2,
        "refused by {url}: HTTP 404; that is no answer of Opwatch: is the address right?",
    ),
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
]


def test_what_is_refused_can_be_tracked_later(script: Script, receiver: Receiver) -> None:
    for reply, code, said in REFUSED:
        receiver.script(POST, reply)
        ran = script.run("track", "-", "--wait", stdin=NAMES_IT["plain"])
        assert (ran.code, ran.out, script.slept) == (code, "", [])
        assert ran.err == f"opwatch: {said.format(url=script.env['OPWATCH_URL'])}\n{LATER}"


def test_a_tracking_that_is_gone_leaves_the_end_unknown(script: Script, receiver: Receiver) -> None:
    gone = Reply(404, "error 404 no operation of this id is tracked\n")
    receiver.script(GET, gone)
    assert script.run("wait", ID).code == 2
    ran = script.run("track", LOCATION, "--wait")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.endswith(LATER)
    receiver.script(GET, still("restart running for 1 s"), gone)
    assert script.run("wait", ID).code == 3


ODD = [
    Reply(200, "<html>maintenance"),
    Reply(200, ""),
    Reply(204, ""),
    Reply(302, "", {"Location": "https://sign-in.example/"}),
    Reply(403, "<html>403"),
    Reply(404, "error: no such app\n"),
    Reply(407, ""),
    Reply(500, "\x1b[31m"),
]


def test_while_it_waits_an_answer_that_is_not_opwatchs_is_tried_again(script: Script, receiver: Receiver) -> None:
    receiver.script(GET, *ODD, still("restart running for 1 s"), *ODD, SUCCEEDED)
    ran = script.run("track", LOCATION, "--wait")
    assert (ran.code, ran.out) == (0, SUCCEEDED.body)
    receiver.script(GET, still("restart running for 1 s"), ODD[0])
    ran = script.run("wait", ID)
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.endswith(f"HTTP 200; gave up\nopwatch: wait for it later with: opwatch wait {ID}\n")


def test_without_a_worker_the_waiting_ends(script: Script, receiver: Receiver) -> None:
    unready = Reply(503, '{"status":"unready","problems":["no worker sends heartbeats: start one"]}')
    receiver.script(GET, still("operation not seen yet"))
    receiver.script("/readyz", *[unready] * 4, Reply(200, '{"status":"ok"}'), unready)
    ran = script.run("track", LOCATION, "--wait")
    assert (ran.code, ran.out) == (3, "")
    assert "opwatch: no worker looks at the operation: see /readyz" in ran.err
    assert len([seen for seen in receiver.requests if seen.path == "/readyz"]) == 10
    receiver.script("/readyz", Reply(503, '{"status":"unready","problems":["Redis keeps no append-only file"]}'))
    receiver.script(
        GET, *[still("restart running")] * 9, still("restart running for 2 h: past its deadline for 17 min")
    )
    ran = script.run("wait", ID)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.endswith(f"past its deadline for 17 min\nopwatch: wait for it later with: opwatch wait {ID}\n")


UNREACHABLE: list[tuple[str, int, str]] = [
    ("http://127.0.0.1:port", 2, "set OPWATCH_URL to the address of the service: curl: (3) "),
    ("http://[::1", 2, "set OPWATCH_URL to the address of the service: curl: (3) "),
    ("http://jane:s3cret@127.0.0.1:port", 2, "set OPWATCH_URL to the address of the service: curl: (3) "),
    ("http://127.0.0.1/a@b", 2, "encode it as %40"),
]


def test_what_trying_again_cannot_mend_ends_at_once(script: Script) -> None:
    for url, code, said in UNREACHABLE:
        ran = script.run("track", LOCATION, OPWATCH_URL=url)
        assert (url, ran.code, ran.out, script.slept) == (url, code, "", [])
        assert said in ran.err
        assert "s3cret" not in ran.err
        assert ran.err.endswith(LATER)


def test_a_certificate_that_is_not_trusted_is_said_in_curls_own_words(script: Script) -> None:
    unknown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(unknown)
    with MailServer(unknown, from_the_start=True) as server:  # any server with TLS
        ran = script.run("track", LOCATION, OPWATCH_URL=f"https://localhost:{server.port}")
    assert (ran.code, script.slept) == (4, [])
    assert re.match(r"opwatch: https://\S+ cannot be reached: curl: \(60\) SSL certificate problem: ", ran.err)


CRASH = "#!/bin/sh\nkill -SEGV $$\n"


def test_the_exit_code_1_is_for_failed_operations_alone(script: Script, receiver: Receiver) -> None:
    receiver.script(GET, SUCCEEDED)
    cases = {
        f"$opwatch track {LOCATION} --wait >/dev/full": 2,
        f"$opwatch track {LOCATION} --wait >&-": 2,
        f"$opwatch track {LOCATION} >/dev/full": 2,
        "$opwatch --help >/dev/full": 2,
        f"$opwatch track {LOCATION} 2>/dev/full": 0,
        f"$opwatch track {LOCATION} --wait 2>&- <&-": 0,
        f"$opwatch track {LOCATION} --wait 2>/dev/full": 0,
        f"TMPDIR=/nowhere $opwatch track {LOCATION} --wait": 0,
        f"{{ sleep 0; $opwatch track {LOCATION} --wait; echo $? >&3; }} 3>&2 2>/dev/null | :": None,
        f"PATH={script.directory / 'crashing'}:$PATH $opwatch track {LOCATION}": 4,
    }
    (script.directory / "crashing").mkdir()
    for tool, source in {"curl": CRASH}.items():
        (script.directory / "crashing" / tool).write_text(source, encoding="utf-8")
        (script.directory / "crashing" / tool).chmod(0o755)
    for source, code in cases.items():
        ran = script.run_in_shell(source)
        assert (source, ran.code if code is not None else int(ran.err)) == (source, 2 if code is None else code)
    receiver.script(GET, Reply(200, f"failed {ID} shop: restart failed after 42 s: no port\n"))
    receiver.script(ERROR, Reply(200, "no port\n"))
    assert script.run_in_shell(f"$opwatch wait {ID} >/dev/full 2>/dev/full").code == 1


@pytest.mark.parametrize("tool", ["awk", "sed", "tr"])
def test_a_tool_that_fails_is_no_verdict(script: Script, tool: str) -> None:
    (script.directory / tool).unlink(missing_ok=True)
    (script.directory / tool).write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (script.directory / tool).chmod(0o755)
    for arguments in (("track", LOCATION, "--wait"), ("wait", ID), ("track", "-")):
        ran = script.run(*arguments, stdin=NOTHING_TO_DO["same"])
        assert (arguments, ran.code > 1, ran.out) == (arguments, True, "")


def test_nothing_around_the_script_changes_a_verdict(script: Script, receiver: Receiver) -> None:
    receiver.script(GET, SUCCEEDED)
    (script.directory / "rm").unlink(missing_ok=True)
    (script.directory / "rm").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (script.directory / "rm").chmod(0o755)
    assert script.run("wait", ID).code == 0
    assert script.run("wait", ID, SHELLOPTS="noclobber").code == 0


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("reply", [Reply(hang_s=60), Reply(503, "", {"Retry-After": "60"})])
def test_a_signal_to_the_shell_alone_ends_the_waiting_at_once(
    script: Script, receiver: Receiver, reply: Reply, sent: signal.Signals, code: int
) -> None:
    (script.directory / "sleep").unlink()
    receiver.script(GET, reply)
    with script.running("track", LOCATION, "--wait") as process:
        receiver.wait_for(1, GET)
        process.send_signal(sent)
        started_s = time.monotonic()
        out, err = process.communicate(timeout=PATIENCE_S)
        assert time.monotonic() - started_s < 10
    assert (process.returncode, out) == (code, "")
    assert err.endswith(f"opwatch: no longer waiting; Opwatch goes on tracking {ID}\n")


def test_interrupted_before_it_is_tracked_an_operation_can_be_tracked_later(script: Script, receiver: Receiver) -> None:
    receiver.script(POST, Reply(hang_s=60))
    with script.running("track", LOCATION) as process:
        receiver.wait_for(1, POST)
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (143, LATER)


def test_ctrl_c_ends_the_waiting_and_says_that_the_tracking_goes_on(script: Script, receiver: Receiver) -> None:
    receiver.script(GET, Reply(hang_s=60))
    with script.running("track", LOCATION, "--wait") as process:
        receiver.wait_for(1, GET)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (130, "")
    assert err.endswith(f"opwatch: no longer waiting; Opwatch goes on tracking {ID}\n")


FORGED = "\x1b[2J\x1b]0;owned\x07\u009b2J\r\n::error::forged\n \u00a0::add-mask::x\n##[error]y ##vso[z]\x7f\x85 é ::ok"


def test_nothing_that_is_answered_steers_the_terminal_or_a_runner(script: Script, receiver: Receiver) -> None:
    receiver.script(GET, Reply(200, f"failed {ID} shop: {FORGED}\n"))
    receiver.script(ERROR, Reply(200, f"{FORGED}\n{FORGED}\n"))
    by_opwatch = script.run("wait", ID)
    by_scalingo = script.run("track", "-", stdin=f"HTTP/1.1 500 No\r\n\r\n{FORGED}\n".encode() + b"\x9b\xff::x\n")
    nothing = script.run("track", "-", stdin=f'{OK}\r\n{{"containers":"{FORGED.replace(chr(10), "")}"}}')
    receiver.script(POST, Reply(301, "", {"Location": "https://a.example/##[error]\u009b"}))
    moved = script.run("track", f"{LOCATION}\x1b]0;x\x07\n::x::", "--nonsense=\x1b[1m")
    assert [ran.code for ran in (by_opwatch, by_scalingo, nothing, moved)] == [1, 2, 0, 2]
    for ran in (by_opwatch, by_scalingo, nothing, moved):
        shown = ran.out + ran.err
        assert [c for c in shown if c != "\n" and (ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0)] == []
        assert [line for line in shown.splitlines() if line.strip().startswith("::")] == []
        assert "##[" not in shown
        assert "##vso" not in shown
    assert "é ::ok" in by_opwatch.err
    assert ": :error::forged" in by_scalingo.err


def test_an_odd_address_is_quoted_in_the_command_for_later(script: Script, receiver: Receiver) -> None:
    receiver.script(POST, Reply(422, "error 422 no\n"))
    odd = "https://a.example/$(id)'`;rm"
    assert script.run("track", odd).err.endswith("opwatch track 'https://a.example/$(id)%27`;rm'\n")


# Usage and secrets


WRONG: list[tuple[tuple[str, ...], dict[str, str], str]] = [
    ((), {}, "Usage: opwatch track LOCATION"),
    (("restart", "shop"), {}, "Usage: opwatch track LOCATION"),
    (("track",), {}, "LOCATION that is not empty"),
    (("track", LOCATION, "https://another.example"), {}, "one operation at a time"),
    (("track", ""), {}, "LOCATION that is not empty"),
    (("track", "\r"), {}, "LOCATION that is not empty"),
    (("track", LOCATION, "--group"), {}, "--group is no option, or lacks its value"),
    (("track", LOCATION, "--nonsense", "x"), {}, "--nonsense is no option of track"),
    (("track", LOCATION, "--app", "a b"), {}, "--app a b: it has other characters"),
    (("track", LOCATION, "--addon=$(id)"), {}, "--addon $(id): it has other characters"),
    (("track", LOCATION, "--deployment", UUID), {}, "one operation at a time"),
    (("track", "--backup", OTHER_ID, "--operation", OTHER_ID), {}, "one operation at a time"),
    (("track", "--deployment", "../x"), {}, "it has other characters"),
    (("track", "--deployment="), {}, "LOCATION that is not empty"),
    (("track", "--app", "shop", "--backup", " "), {}, "LOCATION that is not empty"),
    (("track", LOCATION, "--wait=yes"), {}, "--wait is true or false, not 'yes'"),
    (("track", "--help"), {}, "--help is no option of track"),
    (("track", "-x"), {}, "-x is no option of track"),
    (("show",), {}, "show takes one id"),
    (("stop", ID, ID), {}, "stop takes one id"),
    (("wait", "../healthz?"), {}, "is no tracking's id"),
    (("wait", "--group"), {}, "wait takes one id"),
    (("wait", "--group", " "), {}, "is no tracking's id"),
    (("show", "--group=a", "b"), {}, "show takes one id"),
    (("stop", "--group", "a"), {}, "stop takes one id"),
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
        assert (LATER in ran.err) == (arguments[:2] == ("track", LOCATION))
    ran = script.run("track", "--timeout", "-", "--group", stdin=NAMES_IT["plain"])
    assert (ran.code, ran.out) == (2, "")
    for env in ({"OPWATCH_URL": ""}, {"OPWATCH_TOKEN": ""}, {"PATH": str(without_curl(script))}):
        ran = script.run("track", "-", stdin=NAMES_IT["a proxy"], **env)
        assert (ran.code, LATER in ran.err) == (2, True)
    assert receiver.requests == ()


def without_curl(script: Script) -> Path:
    directory = script.directory / "without-curl"
    directory.mkdir()
    for tool in APPLETS:
        (directory / tool).symlink_to(shutil.which(tool) or "")
    return directory


def test_line_ends_blanks_and_empty_options_do_no_harm(script: Script, receiver: Receiver) -> None:
    empty = [
        "--account",
        "",
        "--region=",
        "--timeout",
        " ",
        "--group",
        "\n",
        "--group-size=",
        "--context",
        "",
        "--app=",
        "--addon",
        "",
    ]
    (script.directory / ".curlrc").write_text("fail\nlocation\nverbose\noutput=/dev/null\nrequest=PUT\n")
    messy = {"OPWATCH_URL": f" {receiver.base_url}//\r\n", "OPWATCH_TOKEN": f"\t{TOKEN}\r\n"}
    for location in (f" {LOCATION}\r\n", f"location:{LOCATION}", f"LOCATION:\t{LOCATION} \n"):
        ran = script.run("track", location, *empty, "--notify", " \n", "--wait=FALSE", **messy)
        assert (location, ran.code, ran.out) == (location, 0, f"{ID}\n")
    assert [form(seen) for seen in receiver.requests] == [{"operation_url": LOCATION, "notify": ""}] * 3
    assert {(seen.path, seen.headers["Authorization"]) for seen in receiver.requests} == {(POST, f"Bearer {TOKEN}")}
    ran = script.run("show", f" {ID}\r\n", OPWATCH_URL=f"{receiver.base_url.replace('//', '//jane:s3cr@et@')}/\n")
    assert (ran.code, ran.out) == (0, SUCCEEDED.body)


def test_what_only_decorates_never_keeps_an_operation_from_being_tracked(script: Script, receiver: Receiver) -> None:
    odd = os.fsdecode(b"J\xe9r\xf4me")
    given = [
        f"actor={odd}",
        "lines=one\n\ntwo: x\n",
        f"exact={'é' * 500}",
        f"long={'ü' * 501}",
        "actor=boss",
        "no name=x",
    ]
    options = [part for each in [*given, "none", "=x"] for part in ("--context", each)]
    ran = script.run("track", LOCATION, *options, "--group", f"{'g' * 201}\n", "--group-size", "two")
    assert (ran.code, ran.out) == (0, f"{ID}\n")
    assert form(receiver.requests[-1]) == {
        "operation_url": LOCATION,
        "context.actor": "J?r?me",
        "context.lines": "one\n\ntwo: x\n",
        "context.exact": "é" * 500,
        "context.long": "ü" * 499 + "…",
        "group": "g" * 199 + "…",
    }
    for said in (
        "context.actor is shortened",
        "context.long is",
        "'no name=x'",
        "'none'",
        "given twice",
        "group is",
        "two",
    ):
        assert said in ran.err
    many = [part for number in range(12) for part in ("--context", f"n{number}={'x' * 490}")]
    assert script.run("track", LOCATION, *many).code == 0
    sent = {name: value for name, value in form(receiver.requests[-1]).items() if name.startswith("context.")}
    assert len(sent) == 7
    assert len(json.dumps({name.removeprefix("context."): value for name, value in sent.items()})) <= 4_000


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_refused_with_its_decoration_is_tracked_without(
    script: Script, receiver: Receiver, status: int
) -> None:
    receiver.script(POST, Reply(status, f"error {status} context: no\n"), ACCEPTED)
    ran = script.run("track", LOCATION, "--context", "actor=jane", "--group=7", "--timeout", "90")
    assert (ran.code, ran.out) == (0, f"{ID}\n")
    assert "context: no; tracking it without context and group" in ran.err
    assert form(receiver.requests[-1]) == {"operation_url": LOCATION, "timeout": "90"}


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
    assert script.run("help") == script.run("-h") == shown
    assert script.run("restart").err.startswith("opwatch: 'restart' is no command\nUsage: ")
    options = set(re.findall(r"^ +(--[a-z-]+)(?:[, ]|\))", SCRIPT.read_text("utf-8"), re.MULTILINE))
    assert {"--wait", "--context", "--notify", "--group-size"} <= options
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
    options = ["--context", f"actor={odd}", "--notify", "webhook", "--group=deploy 7/ü", "--group-size=1", "--wait"]
    ran = script.run("track", f"{operation.url}\r", *options)
    assert ran.code == 1
    assert ran.out == f"failed osc-fr1-{operation.id} script-shop: restart failed after 2 s: first\n"
    assert ran.err.startswith(f"opwatch: tracking osc-fr1-{operation.id}\nscript-shop: operation not seen yet\n")
    assert ran.err.endswith("first\nsecond ☠\n")
    ended = script.run("wait", "--group", "deploy 7/ü")
    assert ended.code == 1
    member = r"\(1 failed\); script-shop: restart failed after 2 s: first\n"
    assert re.fullmatch(rf"failed deploy%207%2F%C3%BC failed after \d+ s {member}", ended.out)
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
    assert script.run("track", operation.url, "--context", "x" * 65 + "=y", "--group-size", "0").out == f"{identity}\n"
    assert script.run("show", "osc-fr1-unknown").code == 2
    stranger = script.run("show", identity, OPWATCH_TOKEN="not-one")  # noqa: S106 - it opens nothing
    assert "HTTP 401: " in stranger.err
    assert script.run("stop", identity).out.startswith(f"cancelled {identity} script-blog: ")
    waited = script.run("wait", identity)
    assert waited.code == 3
    assert waited.out.startswith(f"cancelled {identity} script-blog: restart cancelled after ")
