"""All that a user can set, call, see or build on is in the README or docs/, and is true."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

import jsonschema_rs
import pytest
import yaml
from dotenv import dotenv_values
from pydantic.fields import FieldInfo

from api import headers, openapi
from api.answers import TrackingOut
from api.schemas import TrackRequest
from config.reading import variables
from config.settings import Settings, load
from docs import manifests, tables
from local.processes import read_procfile
from notifiers import BUILT_IN, Kind, Notifier
from notifiers.targets import build
from notifiers.webhook import Webhook
from operations.errors import Reason
from operations.model import DeliveryState, Operation, State, Verdict
from operations.telling.announcement import SLOW, body_of, read
from tests.support import gallery, plugins
from tests.unit.strategies import NOW, a_tracking
from tests.unit.test_architecture import MAY_IMPORT

ROOT = Path(__file__).parents[2]
PAGES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
DOCUMENTATION = "\n".join(PAGES.values())
LOCK_FILES = {"requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock"}
SETTINGS = {name for setting in Settings.model_fields.values() for name in variables(setting)}
LEAST = {
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "OPWATCH_TOKENS": "0123456789abcdef0123456789abcdef",
    "SCALINGO_API_TOKEN": "tk-us-x",
}
WEBHOOK_SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="  # noqa: S105 - of nobody


def section(title: str) -> str:
    """Return the text below a heading, up to the next of its level."""
    found = [
        match[1]
        for page in PAGES.values()
        for match in re.finditer(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    ]
    assert len(found) == 1, f"found {len(found)} sections {title}"
    return found[0]


def first_cells(title: str) -> list[str]:
    """Return the code in the first cell of each row of a section's tables."""
    rows = re.findall(r"^\|([^|]*)\|", section(title), re.MULTILINE)
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row)]


def blocks(language: str) -> list[str]:
    """Return the code blocks of all pages in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENTATION, re.MULTILINE | re.DOTALL)


def block_with(language: str, text: str) -> str:
    """Return the one code block that holds a text."""
    (found,) = (block for block in blocks(language) if text in block)
    return found


# Settings


def test_exactly_the_settings_there_are_are_documented() -> None:
    assert sorted(first_cells("Settings")) == sorted(SETTINGS)


@pytest.mark.parametrize("setting", Settings.model_fields.values(), ids=Settings.model_fields)
def test_every_setting_is_described_in_sentences_of_one_line(setting: FieldInfo) -> None:
    assert setting.description is not None
    assert re.fullmatch(r"[A-Z`][^\n|]*\.", setting.description)


def test_the_example_environment_is_made_from_the_settings_and_sets_none() -> None:
    path = ROOT / ".env.example"
    assert path.read_text(encoding="utf-8") == tables.example_environment(), "run `make docs`"
    assert dotenv_values(path) == {}


# Targets


KINDS = {point.name: cast("type[Kind]", point.load()) for point in BUILT_IN}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_describes_itself_and_each_of_its_fields(kind: str) -> None:
    described = KINDS[kind]
    assert described.set_up.endswith(".\n") or "```toml" in described.set_up
    assert [name for name, field in described.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_of_a_kind_sets_one_up(kind: str) -> None:
    for example in re.findall(r"^```toml\n(.*?)^```$", KINDS[kind].set_up, re.MULTILINE | re.DOTALL):
        ((name, table),) = tomllib.loads(example)["targets"].items()
        environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", example), "https://a.example/x")
        environ |= {variable: WEBHOOK_SECRET for variable in environ if variable.endswith("_SECRET")}
        assert build(name, table, environ, plain_http=False).kind == kind


def targets_files() -> list[str]:
    example = (ROOT / "config" / "targets.example.toml").read_text(encoding="utf-8")
    return [example, *(block for block in blocks("toml") if "[targets." in block)]


@pytest.mark.parametrize("text", targets_files())
def test_the_example_targets_load(text: str, tmp_path: Path) -> None:
    (tmp_path / "targets.toml").write_text(text, encoding="utf-8")
    effective = re.sub(r"#.*", "", text)
    variables = dict.fromkeys(re.findall(r"\$\{(\w+)\}", effective), "https://a.example/x")
    variables |= {name: WEBHOOK_SECRET for name in variables if name.endswith("_SECRET")}
    environ = {**LEAST, **variables, "OPWATCH_TARGETS_FILE": "targets.toml"}
    settings = load(environ, root=tmp_path)
    assert set(settings.targets) == set(tomllib.loads(text)["targets"])


# The API


@cache
def served_routes() -> frozenset[tuple[str, str]]:
    """Ask the app, in its own process, since it configures logging. The page is not part of the API."""
    program = (
        "import json, app\n"
        "rules = app.create_app().url_map.iter_rules()\n"
        "served = [rule for rule in rules if not rule.endpoint.startswith('page')]\n"
        "print(json.dumps([(method, rule.rule) for rule in served for method in rule.methods - {'HEAD', 'OPTIONS'}]))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=LEAST, stdout=subprocess.PIPE, check=True)
    return frozenset(
        (method, rule.replace("<identity>", "<id>").replace("<any_text:name>", "<group>").replace("any_text:", ""))
        for method, rule in json.loads(ran.stdout)
    )


def described_routes() -> set[tuple[str, str]]:
    return {
        (method.upper(), path.replace("{identity}", "<id>").replace("{", "<").replace("}", ">"))
        for path, methods in openapi.document()["paths"].items()
        for method in methods
    }


def test_the_routes_served_described_and_documented_are_the_same() -> None:
    rows = re.findall(r"^\| `([A-Z]+) (/[^`]*)` \|", section("API"), re.MULTILINE)
    assert set(rows) == served_routes() == described_routes()


def test_every_field_of_a_request_is_documented() -> None:
    assert [name for name in TrackRequest.model_fields if name not in first_cells("API")] == []


def test_the_documented_tracking_is_one_in_full() -> None:
    example = json.loads(block_with("json", '"deliveries"'))
    tracking = TrackingOut.model_validate(example)
    assert example == tracking.model_dump(mode="json")


@pytest.mark.parametrize("word", [*State, *DeliveryState])
def test_every_state_is_documented(word: str) -> None:
    assert f"`{word}`" in section("API") + section("Verdicts")


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_is_documented_with_its_event(verdict: Verdict) -> None:
    assert verdict in first_cells("Verdicts")
    assert f"`operation.{verdict}`" in section("Messages and webhooks")


def test_what_a_target_may_hear_before_the_verdict_is_documented() -> None:
    assert '`"slow"` in `on`' in section("Targets")
    assert f"`{SLOW}`" in section("Messages and webhooks")


# docs/monitoring.md

MONITORING = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")


def test_the_monitoring_page_lists_exactly_the_metrics_there_are() -> None:
    source = (ROOT / "api" / "metrics.py").read_text(encoding="utf-8")
    families = re.findall(r"(\w+)MetricFamily\(\s*\"(\w+)\"", source)
    names = [f"{name}_total" if kind == "Counter" else name for kind, name in families]
    assert names
    assert sorted(re.findall(r"^\| `(opwatch_\w+)` \|", MONITORING, re.MULTILINE)) == sorted(names)


def test_the_monitoring_page_explains_each_reason() -> None:
    table = MONITORING.partition("| `reason` |")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)[: len(Reason)] == list(Reason)


@pytest.mark.parametrize("path", ["app.py", "workers/look.py", "workers/deliver.py", "workers/live.py"])
def test_the_monitoring_page_explains_each_event_and_field_of_the_wide_lines(path: str) -> None:
    rows = MONITORING.partition("## Logs")[2]
    lines = [
        call
        for call in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("log.log", "log.info")
    ]
    assert lines
    fields = {keyword.arg for call in lines for keyword in call.keywords}
    assert {field for field in fields if f"`{field}`" not in rows} == set()


def test_the_monitoring_page_names_each_event_of_an_attempt() -> None:
    source = (ROOT / "workers" / "deliver.py").read_text(encoding="utf-8")
    events = re.findall(r"\(logging\.[A-Z]+, \"([^\"]+)\"\)", source)
    assert len(events) > 6
    assert [event for event in events if f"`{event}`" not in MONITORING] == []


def test_each_alert_says_what_to_do_and_where_to_read_more() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
    for rule in rules:
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert anchor in anchors(ROOT / path), rule["alert"]
        assert len(re.findall(r"[.] ", rule["annotations"]["description"])) >= 1, rule["alert"]


# Code on the pages


def anchors(page: Path) -> set[str]:
    """List the anchors of a page, as GitHub makes them from headings."""
    titles = re.findall(r"^#+ (.+)$", PAGES[page], re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]) if "://" not in link]
    wrong = [
        f"{path}#{anchor}"
        for path, _, anchor in links
        for there in [(page.parent / path).resolve() if path else page]
        if not there.exists() or (anchor and anchor not in anchors(there))
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_made_from_the_code_is_up_to_date(page: Path) -> None:
    assert PAGES[page] == tables.filled(PAGES[page]), "run `make docs`"


@pytest.mark.parametrize("name", gallery.pictures())
def test_each_picture_of_the_gallery_is_drawn_from_the_messages_of_today(name: str) -> None:
    assert gallery.drawn_from(ROOT / "docs" / name) == gallery.digest(gallery.pictures()[name]), "run `make gallery`"
    assert f"]({name})" in PAGES[ROOT / "docs" / "gallery.md"]


@pytest.mark.parametrize("source", blocks("python"))
def test_the_documented_python_compiles(source: str) -> None:
    compile(source, "a page", "exec")


@pytest.mark.parametrize("source", blocks("sh"))
def test_the_documented_shell_parses(source: str) -> None:
    ran = subprocess.run(["sh", "-n"], input=source, text=True, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("source", blocks("json"))
def test_the_documented_json_parses(source: str) -> None:
    json.loads(source)


@pytest.mark.parametrize("source", blocks("toml"))
def test_the_documented_toml_parses(source: str) -> None:
    tomllib.loads(source)


@pytest.mark.parametrize("source", blocks("yaml"))
def test_the_pages_yaml_parses(source: str) -> None:
    assert isinstance(yaml.safe_load(source), dict)


def test_the_readme_can_be_read_in_ten_minutes() -> None:
    assert len(PAGES[ROOT / "README.md"].splitlines()) < 150


def test_the_pages_pin_the_version_that_they_describe() -> None:
    assert set(re.findall(r"(?<!# )\bv(\d+\.\d+\.\d+)\b", DOCUMENTATION)) == {openapi.VERSION}
    assert "@main" not in DOCUMENTATION


def test_no_page_holds_what_a_merge_left_behind() -> None:
    assert re.findall(r"^(?:<{7} |={7}$|>{7} ).*", DOCUMENTATION, re.MULTILINE) == []


def test_every_code_block_has_a_language_that_is_checked() -> None:
    languages = set(re.findall(r"^```(\w*)\n", DOCUMENTATION, re.MULTILINE))
    assert languages == {"sh", "python", "json", "toml", "yaml", "text", ""}


def test_the_documented_receiver_takes_what_a_webhook_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", WEBHOOK_SECRET)
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(compile(block_with("python", "WebhookVerificationError"), "a page", "exec"), names)  # noqa: S102 - our own
    client = names["app"].test_client()
    tracking = a_tracking(
        state=State.FAILED, ended_at=NOW, operation=Operation(status="error", outcome=Verdict.FAILED, error="no 🐑")
    )
    announcement = read("an-id", body_of(tracking))
    webhook = Webhook.model_validate({"url": "https://a.example", "secret": WEBHOOK_SECRET})
    headers = webhook.headers(announcement, datetime.now(UTC))
    assert client.post("/opwatch", data=announcement.body, headers=headers).status_code == 204
    assert client.post("/opwatch", data=announcement.body + b" ", headers=headers).status_code == 401
    assert names["seen"] == {announcement.delivery_id}


def test_the_documented_notifier_becomes_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(plugins.ntfy(tmp_path / "site"))
    (tmp_path / "targets.toml").write_text('[targets.me]\nkind = "ntfy"\nurl = "${TOPIC}"', encoding="utf-8")
    environ = {**LEAST, "OPWATCH_TARGETS_FILE": "targets.toml", "TOPIC": "https://ntfy.sh/x"}
    target = load(environ, root=tmp_path).targets["me"]
    assert target.kind == "ntfy"
    assert isinstance(target.notifier, Notifier)


AS_ONE_OF_OURS = ["--stdin-filename", "notifiers/ntfy.py", "-"]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", *AS_ONE_OF_OURS],
        ["ruff", "format", "--check", *AS_ONE_OF_OURS],
        ["mypy", "--strict", "{path}"],
    ],
    ids=["lint", "format", "types"],
)
def test_the_documented_notifier_passes_lint_and_types(command: list[str], tmp_path: Path) -> None:
    path, module = tmp_path / "opwatch_ntfy.py", plugins.documented()[0]
    path.write_text(module, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", *(part.format(path=path) for part in command)],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        input=module,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


# What the platforms read


def manifest(name: str) -> dict[str, Any]:
    document = json.loads((ROOT / name).read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("name", manifests.NAMES)
def test_a_manifest_is_valid_and_asks_for_settings_as_they_are_described(name: str) -> None:
    schema = json.loads((ROOT / "tests" / "support" / f"{name.replace('.', '.schema.')}").read_text(encoding="utf-8"))
    assert [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(manifest(name))] == []
    assert (ROOT / name).read_text(encoding="utf-8") == manifests.manifest(name), "run `make docs`"
    assert set(manifest(name)["env"]) <= SETTINGS


def test_a_button_makes_all_that_can_be_made_and_what_it_asks_for_is_enough() -> None:
    env = manifest("scalingo.json")["env"]
    made = {variable: asked["generator"] for variable, asked in env.items() if "generator" in asked}
    assert made == {"OPWATCH_TOKENS": "secret", "OPWATCH_PUBLIC_URL": "url", "OPWATCH_EVENTS_SECRET": "secret"}
    assert [variable for variable, asked in env.items() if asked.get("value") == ""] == ["SCALINGO_API_TOKEN"]
    values = {"secret": "90ffea2d3071e8d86cafb89ff5060883", "url": "https://my-opwatch.osc-fr1.scalingo.io"}
    given = {variable: values[generator] for variable, generator in made.items()}
    addon = {"SCALINGO_REDIS_URL": LEAST["REDIS_URL"], "SCALINGO_API_TOKEN": "tk-us-x"}
    settings = load({**given, **addon}, root=ROOT / "nowhere")
    assert (list(settings.tokens), settings.public_url) == (["default"], values["url"])


@pytest.mark.parametrize(("name", "amount"), [("scalingo.json", "amount"), ("app.json", "quantity")])
def test_a_manifest_starts_a_worker(name: str, amount: str) -> None:
    formation = manifest(name)["formation"]
    assert {kind: size[amount] for kind, size in formation.items()} == {"web": 1, "worker": 1}


def test_a_secret_as_a_platform_generates_it_is_a_token() -> None:
    (caller,) = load(LEAST, root=ROOT / "nowhere").tokens
    assert f"`{caller}`" in section("Deploy to Scalingo")


def test_the_procfile_has_exactly_web_and_worker() -> None:
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    assert [line.partition(": exec ")[0] for line in lines] == ["web", "worker"]


def test_docker_runs_the_procfiles_commands_on_the_same_python_and_takes_no_secret_along() -> None:
    commands = {
        name: command.removeprefix("exec ").split() for name, command in read_procfile(ROOT / "Procfile").items()
    }
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    assert {name: services[name]["command"] for name in commands} == commands
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert [json.loads(command) for command in re.findall(r"^CMD (.*)$", dockerfile, re.MULTILINE)] == [commands["web"]]
    python = (ROOT / ".python-version").read_text("utf-8").strip()
    images = [*re.findall(r"^FROM (.*)$", dockerfile, re.MULTILINE), services["valkey"]["image"]]
    assert images[0].startswith(f"python:{python}-slim@")
    assert [image for image in images if not re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", image)] == []
    assert re.search(r"^USER [1-9]", dockerfile, re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    taken = {line.removeprefix("!").removesuffix(".py") for line in ignored if line.startswith("!")}
    assert taken == {*MAY_IMPORT} - {"local", "standin"} | {"requirements.txt", "pyproject.toml", "LICENSE"}
    assert "*" in ignored
    assert ignored.index("config/targets.toml") > ignored.index("!config")


def test_compose_gives_a_valkey_that_persists_its_writes() -> None:
    valkey = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["valkey"]
    command = valkey["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options == {"--appendonly": "yes", "--save": "", "--maxmemory-policy": "noeviction"}
    assert valkey["volumes"] == ["valkey:/data"]


def test_the_platform_takes_python_3_13_and_one_lock_file() -> None:
    assert (ROOT / ".python-version").read_text(encoding="utf-8").strip() == "3.13"
    assert LOCK_FILES & {path.name for path in ROOT.iterdir()} == {"requirements.txt"}


# docs/security.md


def test_every_file_that_the_security_page_names_is_there() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tests|api|page|config|notifiers|operations|scalingo|workers)/[\w./-]*)`", page))
    assert len(named) > 20
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_the_security_page_names_every_header_that_is_sent() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    for name, value in headers.PROTECTIVE.items():
        assert f"`{name}: {value}`" in page
