"""The code of README, docs/pipelines.md and action.yml, run unchanged."""

import os
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import yaml

from local.http import call
from standin.api import DEFAULT_TOKENS, ScalingoApi
from tests.journeys.stage import document, staged
from tests.support.receiver import Receiver, Reply
from tests.support.running import CALLER_TOKEN, ROOT
from tests.support.script import PATIENCE_S, SCRIPT

ID = "osc-fr1-5ed11f2c884fef000f5e502e"
LOCATION = "https://api.osc-fr1.scalingo.com/v1/apps/shop/operations/5ed11f2c884fef000f5e502e"
POST, GET = "/v1/operations", f"/v1/operations/{ID}"
SUCCEEDED = f"succeeded {ID} shop: restart succeeded after 17 s\n"
FAILED = f"failed {ID} shop: restart failed after 42 s: ::error::first\n"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
(STEP,) = ACTION["runs"]["steps"]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def operate() -> str:
    (found,) = (block for block in blocks(README, "sh") if "opwatch track -" in block)
    return found


def deploy() -> str:
    (found,) = (block for block in blocks(PAGE, "sh") if block.startswith("#!") and "/deployments" in block)
    return found


def shell(
    source: str, *arguments: str, env: Mapping[str, str], program: Sequence[str] = ("dash", "-e")
) -> "subprocess.CompletedProcess[str]":
    """Run a text as GitHub's runner runs a step with `shell: sh` on Ubuntu, with opwatch in the PATH."""
    path = f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [*program, "-c", source, "sh", *arguments],
        env={"PATH": path, **env},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture
def answering(receiver: Receiver) -> Receiver:
    """Let the scripted service accept, and answer `succeeded`."""
    receiver.script(POST, Reply(202, f"tracking {ID} shop: operation not seen yet\n"))
    receiver.script(GET, Reply(200, SUCCEEDED))
    return receiver


# The scripts that begin something


ARCHIVE = ("shop", "https://a.example/shop.tar.gz?a=1&b=2", "4f2c1aa")
PROGRAMS = (("dash", "-e"), ("bash", "-eo", "pipefail"), ("busybox", "sh"))
BEGINS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "operate": (operate(), ("shop", "restart")),
    "operate, deployments": (operate(), ("shop", "deployments", "{}")),
    "operate, manual_deploy": (operate(), ("shop", "scm_repo_link/manual_deploy", "{}")),
    "deploy": (deploy(), ARCHIVE),
}


def environment(receiver: Receiver, scalingo: ScalingoApi, **changes: str | None) -> dict[str, str]:
    """Return the settings of the scripts; None leaves one out."""
    services = {"SCALINGO_API_URL": scalingo.url, "SCALINGO_AUTH_URL": scalingo.url, "OPWATCH_URL": receiver.base_url}
    tokens = {"SCALINGO_API_TOKEN": DEFAULT_TOKENS["default"] + "\r\n", "OPWATCH_TOKEN": "x" * 24}
    return {name: value for name, value in {**services, **tokens, **changes}.items() if value is not None}


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_scripts_begin_something_and_wait_for_its_end(
    answering: Receiver, scalingo: ScalingoApi, program: Sequence[str]
) -> None:
    for name, (source, arguments) in BEGINS.items():
        ran = shell(source, *arguments, env=environment(answering, scalingo), program=program)
        assert (name, ran.returncode, ran.stdout) == (name, 0, SUCCEEDED)
    forms = [dict(parse_qsl(seen.body.decode())) for seen in answering.requests if seen.path == POST]
    assert [form["app"] for form in forms] == ["shop"] * 4
    assert "/v1/apps/shop/operations/" in forms[0]["operation_url"]
    assert forms[1]["operation_url"].endswith("/output")
    assert len(forms[2]["deployment_id"]) == 36
    assert forms[3]["operation_url"].endswith("/output")
    assert (forms[3]["context.commit"], "group" in forms[3]) == ("4f2c1aa", False)
    ran = shell(operate(), "shop", "nowhere", env=environment(answering, scalingo), program=program)
    assert (ran.returncode, ran.stdout) == (2, "")


def test_the_readmes_three_lines_track_a_restart(answering: Receiver, scalingo: ScalingoApi) -> None:
    (source,) = (block for block in blocks(README, "sh") if block.startswith("location="))
    basic = b64encode(f":{DEFAULT_TOKENS['default']}".encode()).decode()
    signed_in = call("POST", f"{scalingo.url}/v1/tokens/exchange", headers={"Authorization": f"Basic {basic}"})
    env = {**environment(answering, scalingo), "SCALINGO_BEARER": signed_in.check()["token"]}
    ran = shell(source.replace("https://api.osc-fr1.scalingo.com", scalingo.url), env=env)
    assert (ran.returncode, ran.stdout) == (0, SUCCEEDED)


def test_each_line_that_replaces_a_scalingo_command_is_tracked(
    answering: Receiver, scalingo: ScalingoApi, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "five-minutes.md").read_text("utf-8")
    lines = re.findall(r"\| `(sh bin/operate\.sh .*)` \|$", page, re.MULTILINE)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "operate.sh").write_text(operate(), encoding="utf-8")
    for line in lines:
        ran = shell(f"cd {tmp_path}\n{line}", env=environment(answering, scalingo))
        assert (line, ran.returncode, ran.stdout) == (line, 0, SUCCEEDED)
    assert len(lines) == len([seen for seen in answering.requests if seen.path == POST]) == 5


STARTS_NOTHING: list[tuple[int, dict[str, str | None], str]] = [
    *(
        (3, {name: value}, "set SCALINGO_API_TOKEN, OPWATCH_URL and OPWATCH_TOKEN")
        for name in ("SCALINGO_API_TOKEN", "OPWATCH_URL", "OPWATCH_TOKEN")
        for value in ("", None)
    ),
    (0, {}, "name an app"),
    (1, {}, "name an app"),
    (3, {"SCALINGO_API_TOKEN": "tk-us-wrong"}, "did not accept SCALINGO_API_TOKEN"),
    (3, {"SCALINGO_AUTH_URL": "http://127.0.0.1:1"}, "did not answer"),
]


@pytest.mark.parametrize("name", ["operate", "deploy"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_scripts_begin_nothing_that_could_not_be_watched(
    answering: Receiver, scalingo: ScalingoApi, program: Sequence[str], name: str
) -> None:
    source, arguments = BEGINS[name]
    for count, changes, said in STARTS_NOTHING:
        env = environment(answering, scalingo, **changes)
        ran = shell(source, *arguments[:count], env=env, program=program)
        assert (count, changes, ran.returncode, ran.stdout) == (count, changes, 2, "")
        assert "nothing was started: " in ran.stderr
        assert said in ran.stderr
    for odd in ('"', "\\", 'x"},"x":{"') if name == "deploy" else ():
        assert shell(source, "shop", odd, "1", env=environment(answering, scalingo), program=program).returncode == 2
    assert {seen.path for seen in scalingo.requests} <= {"/v1/tokens/exchange"}
    assert answering.requests == ()


# A pipeline with the real service


DEPLOYS: Mapping[str, tuple[Sequence[str], dict[str, str], int, str]] = {
    "shop": (PROGRAMS[0], {}, 0, ""),
    "blog": (
        PROGRAMS[1],
        {
            "outcome": "build-error",
            "output": "-----> Node.js app detected\n       src/cart.ts(14,7): error TS2322: no\n"
            " !     Error deploying the application\n !     → Invalid return code from buildpack\n",
        },
        1,
        "src/cart.ts(14,7): error TS2322: no",
    ),
    "cart": (
        PROGRAMS[2],
        {
            "outcome": "hook-error",
            "output": "-----> Node.js app detected\n       Build complete\n"
            "[postdeploy-2231] PG::UndefinedTable: ERROR:  relation users does not exist\n"
            " !     Error deploying the application\n !     → Postdeploy hook failed: exit status 1\n",
        },
        1,
        "ERROR:  relation users does not exist",
    ),
}


def test_a_pipeline_deploys_three_apps_and_each_target_is_told_how_each_ended(tmp_path: Path) -> None:
    with staged(tmp_path) as stage, ThreadPoolExecutor() as jobs:
        services = {"SCALINGO_API_URL": stage.scalingo.url, "SCALINGO_AUTH_URL": stage.scalingo.url}
        tokens = {"SCALINGO_API_TOKEN": DEFAULT_TOKENS["default"], "OPWATCH_TOKEN": CALLER_TOKEN}
        env = {**services, **tokens, "OPWATCH_URL": f"http://127.0.0.1:{stage.opwatch.port}"}
        env |= {"DEPLOY": "deploy 7", "DEPLOY_SIZE": "3", "GITHUB_ACTOR": "jane"}
        running = {}
        for app, (program, how, *_) in DEPLOYS.items():
            stage.scalingo.script(app, duration_s=2, **how)
            arguments = (app, "https://a.example/x.tar.gz", "4f2c1aa")
            running[app] = jobs.submit(shell, deploy(), *arguments, env=env, program=program)
        for app, (_, _, code, why) in DEPLOYS.items():
            ran = running[app].result()
            state = "failed" if code else "succeeded"
            assert (app, ran.returncode) == (app, code)
            assert ran.stdout.startswith(f"{state} osc-fr1-")
            assert f" {app}: deployment {state} after 2 s" in ran.stdout
            assert why in ran.stdout
            identity = ran.stdout.split()[1]
            stage.opwatch.wait_for_delivery(identity, "webhook", "delivered")
            stage.opwatch.wait_for_delivery(identity, "slack", "delivered" if code else "skipped")
            (told,) = stage.told("/webhook", f'"{app}"')
            data = document(told)["data"]
            assert (data["id"], data["state"], data["kind"]) == (identity, state, "deployment")
            assert (data["group"], data["context"]) == ("deploy 7", {"actor": "jane", "commit": "4f2c1aa"})
            assert why in (data["operation"]["error"] or "").partition("\n")[0]
        assert stage.opwatch.request("GET", "/v1/groups/deploy%207").json()["state"] == "failed"


# Several operations at once


BEGUN = f"printf 'HTTP/1.1 202 Accepted\\r\\nLocation: {LOCATION}\\r\\n\\r\\n'"
REFUSED = "printf 'HTTP/1.1 429 No\\r\\n\\r\\nRetry later'"


@pytest.mark.parametrize(
    ("restart", "ends", "code"),
    [
        (BEGUN, FAILED + SUCCEEDED, 1),
        (f'if [ "$1" = shop ]; then {BEGUN}; else {REFUSED}; fi', SUCCEEDED, 2),
        (f'if [ "$1" = blog ]; then {BEGUN}; else {REFUSED}; fi', SUCCEEDED, 2),
    ],
)
@pytest.mark.parametrize("program", PROGRAMS)
def test_all_operations_of_a_deploy_are_waited_for(
    answering: Receiver, tmp_path: Path, program: Sequence[str], restart: str, ends: str, code: int
) -> None:
    (source,) = (block for block in blocks(PAGE, "sh") if "restart " in block and "while read" in block)
    answering.script(GET, *(Reply(200, line) for line in ends.splitlines(keepends=True)))
    env = {"OPWATCH_URL": answering.base_url, "OPWATCH_TOKEN": "x" * 24, "CI_PIPELINE_ID": "7"}
    ran = shell(f"cd '{tmp_path}'\nrestart() {{ {restart}; }}\n{source}", env=env, program=program)
    assert (ran.returncode, ran.stdout) == (code, ends)
    forms = [dict(parse_qsl(seen.body.decode())) for seen in answering.requests if seen.path == POST]
    assert forms == [{"operation_url": LOCATION, "group": "deploy 7", "group_size": "2"}] * len(ends.splitlines())


@pytest.mark.parametrize(("ends", "code"), [(SUCCEEDED, 0), (FAILED, 1), ("error 401 no\n", 3)])
def test_a_scripts_next_command_gets_the_verdict_and_its_code(answering: Receiver, ends: str, code: int) -> None:
    (source,) = (block for block in blocks(PAGE, "sh") if "verdict=" in block)
    answering.script(GET, Reply(401 if code > 1 else 200, ends))
    env = {"OPWATCH_URL": f"{answering.base_url}/", "OPWATCH_TOKEN": "x" * 24, "LOCATION": LOCATION}
    ran = shell(source, env=env)
    assert ran.returncode == code
    page = f"42 s: ::error::first: see {answering.base_url}/operations/{ID}\n"
    assert ran.stderr.endswith(page) == (code == 1)


SCALINGO_LOG = f"""#!/bin/bash
trap 'exit 141' PIPE
for line in 1 2 3 4 5 6 7 8; do
    echo "[DEBUG] GET {LOCATION}?x" || exit 141
    sleep 0.05
done
"""


@pytest.mark.parametrize("program", [("dash", "-e"), ("bash", "-eo", "pipefail"), ("busybox", "sh", "-e")])
def test_the_url_is_found_in_the_debug_log_of_the_scalingo_command(
    answering: Receiver, tmp_path: Path, program: Sequence[str]
) -> None:
    (source,) = (block for block in blocks(PAGE, "sh") if "DEBUG=1" in block)
    command = tmp_path / "scalingo"
    command.write_text(SCALINGO_LOG, encoding="utf-8")
    command.chmod(0o755)
    env = {"OPWATCH_URL": answering.base_url, "OPWATCH_TOKEN": "x" * 24}
    ran = shell(f"PATH={tmp_path}:$PATH\n{source}", env=env, program=program)
    assert (ran.returncode, ran.stdout) == (0, SUCCEEDED)


# The GitHub Action


def run_action(receiver: Receiver, directory: Path, **inputs: str) -> tuple[int, str, dict[str, str]]:
    """Run the action's one step as the runner would. Returns its exit code, output text and outputs."""
    given = {"url": receiver.base_url, "token": "x" * 24, "location": LOCATION, **inputs}
    values = {
        f"${{{{ inputs.{name} }}}}": given.get(name, about.get("default", "")) for name, about in inputs_of().items()
    }
    outputs = directory / "outputs"
    runner = {"GITHUB_ACTION_PATH": str(ROOT), "GITHUB_OUTPUT": str(outputs)}
    ran = shell(STEP["run"], env={**runner, **{name: values[value] for name, value in STEP["env"].items()}})
    lines = outputs.read_text("utf-8").splitlines() if outputs.exists() else []
    return ran.returncode, ran.stdout + ran.stderr, dict(line.split("=", 1) for line in lines)


def inputs_of() -> dict[str, dict[str, str]]:
    inputs: dict[str, dict[str, str]] = ACTION["inputs"]
    return inputs


def test_the_action_waits_and_gives_verdict_and_id(answering: Receiver, tmp_path: Path) -> None:
    context = 'actor=Jürgen "J" & $(touch pwned)\n\ncommit=a=b\n'
    code, _, outputs = run_action(
        answering, tmp_path, context=context, group="7", notify="slack", timeout="90", app="shop", addon="ad-1"
    )
    assert (code, outputs) == (0, {"state": "succeeded", "id": ID})
    (sent,) = (seen.body.decode() for seen in answering.requests if seen.path == POST)
    assert dict(parse_qsl(sent)) == {
        "operation_url": LOCATION,
        "app": "shop",
        "addon_id": "ad-1",
        "context.actor": 'Jürgen "J" & $(touch pwned)',
        "context.commit": "a=b",
        "notify": "slack",
        "group": "7",
        "timeout": "90",
    }


def test_the_action_fails_as_the_operation_did_and_its_error_text_is_no_command(
    answering: Receiver, tmp_path: Path
) -> None:
    answering.script(GET, Reply(200, FAILED))
    answering.script(f"{GET}/error", Reply(200, "::error::first\n::set-output name=x::y\n"))
    code, printed, outputs = run_action(answering, tmp_path)
    assert (code, outputs) == (1, {"state": "failed", "id": ID})
    (resume,) = re.findall(r"^::stop-commands::([0-9a-f]{32})$", printed, re.MULTILINE)
    assert printed.index(FAILED) < printed.index(f"::{resume}::")


@pytest.mark.parametrize(
    ("wait", "state"),
    [("false", "tracking"), ("False", "tracking"), ("TRUE", "succeeded"), ("", "succeeded")],
)
def test_the_action_waits_unless_it_is_told_not_to(answering: Receiver, tmp_path: Path, wait: str, state: str) -> None:
    assert run_action(answering, tmp_path, wait=wait)[::2] == (0, {"state": state, "id": ID})


@pytest.mark.parametrize(
    "inputs",
    [
        {"wait": "yes"},
        {"wait": "1"},
        {"wait": "true false"},
        {"location": "--help"},
        {"location": "--wait"},
        {"location": "-"},
        {"location": ""},
    ],
)
def test_the_action_refuses_what_it_does_not_understand(
    answering: Receiver, tmp_path: Path, inputs: dict[str, str]
) -> None:
    code, printed, outputs = run_action(answering, tmp_path, **inputs)
    assert (code, outputs) == (2, {})
    assert (f"opwatch track {LOCATION}" in printed) == ("wait" in inputs)
    assert answering.requests == ()


def test_the_action_prints_and_outputs_what_an_error_text_says_as_it_is(answering: Receiver, tmp_path: Path) -> None:
    text = r"cannot find C:\code\app\new \033]0;T\007 \n::warning::forged \c"
    answering.script(GET, Reply(200, f"failed {ID} shop: restart failed after 42 s: {text}\n"))
    answering.script(f"{GET}/error", Reply(200, f"{text}\n"))
    code, printed, outputs = run_action(answering, tmp_path)
    assert (code, outputs) == (1, {"state": "failed", "id": ID})
    assert re.search(rf": {re.escape(text)}\n::[0-9a-f]{{32}}::\n", printed)


def test_a_context_of_several_lines_does_not_keep_the_action_from_tracking(answering: Receiver, tmp_path: Path) -> None:
    message = "fix: it\r\n\r\nsee https://a.example/?a=b\r\n=x\r\nCo-authored-by: jane"
    code, printed, _ = run_action(answering, tmp_path, context=f"first\nsecond\nmessage={message}\nactor=jane\n\n")
    assert code == 0
    assert "'first" in printed
    (sent,) = (seen.body.decode() for seen in answering.requests if seen.path == POST)
    assert dict(parse_qsl(sent)) == {
        "operation_url": LOCATION,
        "context.message": "fix: it\nsee https://a.example/?a=b\n=x\nCo-authored-by: jane",
        "context.actor": "jane",
    }


def test_the_action_without_an_answer_has_no_outputs(receiver: Receiver, tmp_path: Path) -> None:
    receiver.script(POST, Reply(401, "error 401 send a token\n"))
    assert run_action(receiver, tmp_path)[::2] == (2, {})


def test_no_input_of_the_action_becomes_a_part_of_its_script() -> None:
    assert "${{" not in STEP["run"]
    assert sorted(STEP["env"].values()) == sorted(f"${{{{ inputs.{name} }}}}" for name in inputs_of())
    assert set(inputs_of()) == set(re.findall(r"`([a-z-]+)`", PAGE[PAGE.index("Inputs: ") : PAGE.index("Outputs: ")]))


# All of it


@pytest.mark.parametrize("source", [STEP["run"], *blocks(PAGE, "sh"), operate()])
def test_shellcheck_finds_nothing_in_what_is_there_to_copy(source: str) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    # SC2034, SC2153, SC2154: variables that the surrounding script defines or uses.
    options = ["--shell=sh", "--exclude=SC2034,SC2153,SC2154", "-"]
    ran = subprocess.run([shellcheck, *options], input=source, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_the_examples_for_ci_are_yaml_and_use_only_inputs_that_there_are() -> None:
    workflow, gitlab, deploys, gitlab_deploys = (yaml.safe_load(block) for block in blocks(PAGE, "yaml"))
    restart, wait = workflow["jobs"]["restart"]["steps"]
    assert set(wait["with"]) <= set(inputs_of())
    required = {name for name, about in inputs_of().items() if about.get("required")}
    assert required <= set(wait["with"])
    _, deploys_it = deploys["jobs"]["deploy"]["steps"]
    jobs = (gitlab["restart"]["script"], gitlab_deploys["deploy"]["script"])
    for source in (restart["run"], deploys_it["run"], *("\n".join(lines) for lines in jobs)):
        assert subprocess.run(["sh", "-n"], input=source, text=True, check=False).returncode == 0
        assert "${{" not in source
    for given in (deploys_it["env"], gitlab_deploys["deploy"]["variables"]):
        assert {"DEPLOY", "DEPLOY_SIZE"} <= set(given)


def test_every_option_that_is_shown_is_one() -> None:
    lines = [line for block in blocks(PAGE, "sh") for line in block.replace("\\\n", "").splitlines()]
    options = {option for line in lines if "opwatch track" in line for option in re.findall(r" (--[a-z-]+)", line)}
    assert {"--wait", "--group", "--context"} <= options
    assert [option for option in options if f"  {option} " not in SCRIPT.read_text("utf-8")] == []
