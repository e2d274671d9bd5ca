"""Third-party kinds as pip installs them: modules, and the entry points of their pyproject.toml."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from notifiers import GROUP
from tests.support.running import ROOT

APPRISE = ROOT / "examples" / "opwatch-apprise"


def install(folder: Path, pyproject: str, modules: Mapping[str, str]) -> Path:
    """Write a package into a folder, which must then be in `sys.path`. Returns it."""
    project = tomllib.loads(pyproject)["project"]
    metadata = folder / f"{project['name'].replace('-', '_')}-1.0.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0.0\n")
    points = "".join(f"{name} = {place}\n" for name, place in project["entry-points"][GROUP].items())
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{points}")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def apprise(folder: Path) -> Path:
    """Install the example in examples/."""
    text = (APPRISE / "opwatch_apprise.py").read_text(encoding="utf-8")
    return install(folder, (APPRISE / "pyproject.toml").read_text(encoding="utf-8"), {"opwatch_apprise": text})


def documented() -> tuple[str, str]:
    """Return the notifier of docs/notifiers.md as it stands there: its module, and its pyproject.toml."""
    page = (ROOT / "docs" / "notifiers.md").read_text(encoding="utf-8")
    (module,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (pyproject,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return module, pyproject


def ntfy(folder: Path) -> Path:
    """Install the notifier of docs/notifiers.md."""
    module, pyproject = documented()
    return install(folder, pyproject, {"opwatch_ntfy": module})
