"""Imports between the parts go one way, and no module grows too long to read at once."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import notifiers

ROOT = Path(__file__).parents[2]
LONGEST_MODULE = 250
MAY_IMPORT = {
    "operations": ("operations",),
    "scalingo": ("operations", "scalingo"),
    "notifiers": ("operations", "notifiers"),
    "config": ("operations", "notifiers", "scalingo.address", "config"),
    "workers": ("operations", "notifiers", "scalingo", "config", "workers"),
    "api": ("operations", "notifiers", "config", "scalingo.address", "scalingo.api_kind", "workers.doorbell", "api"),
    "page": (
        "operations",
        "notifiers.wording",
        "notifiers.context_wording",
        "notifiers.time_wording",
        "config",
        "api",
        "page",
    ),
    "app": ("api", "page", "config"),
    "admin": ("operations", "notifiers", "scalingo", "config", "workers", "admin"),
    "standin": ("standin",),
    "local": ("local",),
}
"""The parts that each part may import; a name includes everything below it."""

OURS = {*MAY_IMPORT, "docs", "tests", "benchmarks"}
MAY_IMPORT_REDIS = ("operations/storage/", "config/", "workers/")
NOT_THE_DOMAINS = {"flask", "werkzeug", "rq", "aiohttp", "slack_sdk", "gunicorn", "requests", "http", "urllib.request"}


def modules_of(part: str) -> list[Path]:
    single = ROOT / f"{part}.py"
    return [single] if single.exists() else sorted((ROOT / part).rglob("*.py"))


def imports_of(path: Path) -> Iterator[str]:
    """Yield every module that this one imports, at any level."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            package = node.module or ""
            yield from (f"{package}.{a.name}" if is_module(f"{package}.{a.name}") else package for a in node.names)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def within(module: str, part: str) -> bool:
    return module == part or module.startswith(f"{part}.")


def test_every_folder_with_code_has_its_place() -> None:
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {path.stem for path in ROOT.glob("*.py")}
    assert found == OURS


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_go_one_way(part: str) -> None:
    modules = modules_of(part)
    assert modules
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules
        for name in imports_of(path)
        if name.split(".")[0] in OURS and not any(within(name, allowed) for allowed in MAY_IMPORT[part])
    ]
    assert wrong == []


def test_the_domain_knows_neither_flask_nor_rq_nor_http() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules_of("operations")
        for name in imports_of(path)
        if any(within(name, other) for other in NOT_THE_DOMAINS)
    ]
    assert wrong == []


def test_redis_is_imported_by_storage_config_and_workers_alone() -> None:
    modules = (path for part in MAY_IMPORT for path in modules_of(part))
    importers = [
        str(path.relative_to(ROOT)) for path in modules if any(within(name, "redis") for name in imports_of(path))
    ]
    assert [path for path in importers if not path.startswith(MAY_IMPORT_REDIS)] == []


CHATS = ("discord", "mattermost", "rocketchat", "teams")
TARGETS = """
[targets.mail]
kind = "email"
host = "mail.example"
from = "a@b.example"
to = "a@b.example"
""" + "".join(f"[targets.{kind}]\nkind = '{kind}'\nwebhook_url = 'https://a.example/x'\n" for kind in CHATS)


def test_web_imports_no_client_for_what_only_workers_do(tmp_path: Path) -> None:
    # Even with targets configured: the smallest containers have 256 MB.
    (tmp_path / "targets.toml").write_text(TARGETS, encoding="utf-8")
    program = (
        "import sys, app\n"
        "clients = {'aiohttp', 'aiosmtplib', 'slack_sdk'}\n"
        "early = clients & set(sys.modules)\n"
        "app.create_app()\n"
        "print(sorted(early), sorted(clients & set(sys.modules)))\n"
    )
    environ = {
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "OPWATCH_TOKENS": "0123456789abcdef0123456789abcdef",
        "SCALINGO_API_TOKEN": "tk-us-x",
        "OPWATCH_ALLOW_PRIVATE_TARGETS": "true",
        "OPWATCH_TARGETS_FILE": str(tmp_path / "targets.toml"),
        "SLACK_WEBHOOK_URL": "https://hooks.slack.example/x",
        "WEBHOOK_URL": "https://hooks.example/x",
        "WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    }
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == ("[] []\n", "")


DOOR = ROOT / "notifiers" / "__init__.py"
BEHIND_THE_DOOR = {*imports_of(DOOR), "notifiers", "notifiers.targets"}
KINDS = [
    path
    for path in (*modules_of("notifiers"), *(ROOT / "examples").glob("*/*.py"))
    if ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") not in BEHIND_THE_DOOR
]


@pytest.mark.parametrize("path", KINDS, ids=lambda path: path.stem)
def test_a_kind_imports_from_the_door_and_its_own_folder_alone(path: Path) -> None:
    folder = ".".join(path.relative_to(ROOT).parent.parts)
    own = () if folder == "notifiers" else (folder,)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & OURS
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS:
            assert node.module == "notifiers" or any(within(node.module, part) for part in own), node.module
            if node.module == "notifiers":
                assert {alias.name for alias in node.names} <= set(notifiers.__all__)


@pytest.mark.parametrize("part", sorted(OURS - {"tests"}))
def test_a_module_can_be_read_in_one_go(part: str) -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in modules_of(part)}
    assert {path: length for path, length in lengths.items() if length > LONGEST_MODULE} == {}
