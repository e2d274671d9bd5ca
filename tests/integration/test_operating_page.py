"""The commands of docs/operating.md, run unchanged."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from config import logs
from config.settings import Settings
from standin.api import ScalingoApi
from tests.integration.bench import Caller
from tests.support.running import ROOT, wait_until
from workers.look import look_round

PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")


def program(directory: Path, name: str, text: str) -> None:
    """Provide a replacement for a program that is not installed."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.usefixtures("runtime")
def test_what_was_in_flight_is_found_in_the_log_and_sent_again(
    caller: Caller,
    settings: Settings,
    scalingo: ScalingoApi,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(settings)
    running, over = scalingo.operation("shop", duration_s=None), scalingo.operation("blog", duration_s=0)
    for operation in (running, over):
        caller.track(operation_url=operation.url)
    printed = ""

    def both_logged() -> bool:
        nonlocal printed
        look_round()
        printed += capsys.readouterr().out
        return all(f'"event": "{event}"' in printed for event in ("looked", "ended"))

    wait_until(both_logged, what="a look at one and the end of the other")
    unseen = scalingo.operation("docs", duration_s=None)
    caller.track(operation_url=unseen.url)
    printed += capsys.readouterr().out
    (tmp_path / "printed").write_text("".join(f"2026-11-23 [worker-1] {line}\n" for line in printed.splitlines()))
    program(tmp_path, "scalingo", f"cat {tmp_path / 'printed'}")
    program(tmp_path, "curl", 'echo "$@"')
    (block,) = (
        each for each in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if "comm -23" in each
    )
    environ = {
        "PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]]),
        "OPWATCH_TOKEN": "its-token",
        "OPWATCH_URL": "https://its.url",
    }
    ran = subprocess.run(
        ["sh", "-eu"], input=block, env=environ, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    sent = ran.stdout.splitlines()
    assert len(sent) == 2
    for app, operation in (("shop", running), ("docs", unseen)):
        wanted = f"-d region=osc-fr1 -d app={app} -d operation_id={operation.id} https://its.url/v1/operations"
        assert any(wanted in line for line in sent)
