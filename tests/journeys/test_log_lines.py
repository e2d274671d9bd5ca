"""No text from outside can forge a line of the log, with the real processes."""

import ast
import contextlib
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from standin import faults
from tests.journeys.stage import Stage, staged
from tests.support.receiver import Reply
from tests.support.running import CALLER_TOKEN, wait_until

FORGED = json.dumps({"event": "forged", "level": "info"})
HOSTILE = "".join(
    f"{mark}{FORGED}{mark}event='forged' level='info'{mark}✅ forged: restart succeeded\x1b[2K\x1b]0;forged\x07"
    for mark in ("\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x00", "\x08\x08", "\u202e")
)
RAW = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
FIELD = r"""[a-z_]+=(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[\w.+-]+|\[[^\]]*\])"""
CONSOLE = re.compile(r"[✅❌⏱❓]\ufe0f? hostile-shop: [^|]*|    \| .*")
TARGETS = """
    [targets.console]
    kind = "console"

    [targets.rude]
    kind = "webhook"
    url = "${RECEIVER_URL}/rude"
    secret = "${WEBHOOK_SECRET}"

    [targets.rude-slack]
    kind = "slack"
    webhook_url = "${RECEIVER_URL}/rude-slack"
    """


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_text_from_outside_makes_a_line_of_its_own(tmp_path: Path, log_format: str) -> None:
    settings = {"LOG_FORMAT": log_format, "LOG_LEVEL": "DEBUG"}
    with staged(tmp_path, settings=settings, targets=TARGETS) as stage:
        provoke(stage)
        lines = {name: stage.opwatch.output(name).split("\n") for name in ("web", "worker")}
    told = [line for line in lines["worker"] if CONSOLE.fullmatch(line)]
    assert any(line.startswith("❌ hostile-shop: ") for line in told)
    assert sum("forged" in line for line in told) > 10  # the error text was really printed, indented
    for name, printed in lines.items():
        own = [line for line in printed if not (name == "worker" and CONSOLE.fullmatch(line))]
        assert any("forged" in line for line in own), f"{name} wrote none of the texts: this test proves nothing"
        assert [line for line in own if not well_formed(line, log_format)] == []
        assert [line for line in printed if RAW.search(line)] == []


def well_formed(line: str, log_format: str) -> bool:
    """Whether a line is one event of ours."""
    if log_format == "json":
        with contextlib.suppress(ValueError):
            document: dict[str, Any] = json.loads(line)
            return {"event", "level", "timestamp"} <= set(document) and document["event"] != "forged"
        return False
    event = re.match(r"timestamp='[^']+' level='[a-z]+' event=('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")", line)
    return bool(event and ast.literal_eval(event[1]) != "forged" and fields_only(line[event.end() :]))


def fields_only(rest: str) -> bool:
    """Whether the end of a line has only `name=value`, each value as Python writes it."""
    return re.fullmatch(rf"(?: {FIELD})*", rest) is not None


def provoke(stage: Stage) -> None:
    """Send the hostile text in every field."""
    opwatch, scalingo, receiver = stage.opwatch, stage.scalingo, stage.receiver
    receiver.script("/rude-slack", Reply(400, HOSTILE))
    receiver.script("/rude", Reply(500, HOSTILE, {"Retry-After": "forged"}))
    operation = scalingo.operation("hostile-shop", duration_s=None, type=f"restart{HOSTILE}")
    scalingo.fault(faults.answer(500, f"x{HOSTILE}"), operation_id=operation.id)
    scalingo.fault(
        faults.answer(403, json.dumps({"error": f"forged\x85\u2028{FORGED}{HOSTILE}"}), "application/json"),
        operation_id=operation.id,
    )
    context = {"actor": HOSTILE[:400], "url": f"https://x.example/{HOSTILE}"[:400]}
    body = {"operation_url": operation.url, "context": context, "group": HOSTILE[:200]}
    identity = opwatch.post(body).json()["id"]
    for app in (f"shop{HOSTILE}", "shop\nforged"):
        assert opwatch.post({"app": app, "operation_id": "a" * 24}).status == 422
    for field in ("account", "region", "operation_id", HOSTILE):
        answer = opwatch.post({"app": "shop", "operation_id": "a" * 24, field: HOSTILE[:41]})
        assert answer.status == 422
    for path in ("/%0A%0D%1B%5B2Kforged", "/v1/operations/%E2%80%A8forged%C2%85%00%0A", "/v1/operations?app=%0Aforged"):
        assert opwatch.get(path).status in (404, 422)
    headers = {
        "Prefer": "wait=1\x1b[2K forged",
        "Content-Type": "forged\x1b[2K",
        "User-Agent": f"{FORGED}\x1b[2K",
        "X-Request-ID": "forged\x1b[2K",
    }
    for raw in (
        b"GET /healthz\x1b[2Kforged HTTP/1.1\r\n\r\n",
        b"FORGED\x1b[2K /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nforged\x1b[2K\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX: forged\rlevel=info\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: forged\x85\r\n\r\n",
        b"POST /v1/operations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer " + CALLER_TOKEN.encode() + b"\r\n\r\nforged\x1b[2K\n\r\n",
        "\r\n".join(["GET /forged HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), "", ""]).encode(),
    ):
        send_raw(opwatch.port, raw)
    wait_until(lambda: "403" in str(opwatch.show(identity)["last_error"]), what="the refusal")
    scalingo.finish(operation.id, "error", f"first{HOSTILE}")
    opwatch.wait_for_state(identity, "failed")
    for target, state in (("console", "delivered"), ("rude", "retrying"), ("rude-slack", "retrying")):
        opwatch.wait_for_delivery(identity, target, state)


def send_raw(port: int, request: bytes) -> None:
    """Send invalid bytes, and read the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection, contextlib.suppress(OSError):
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
