"""gunicorn's settings: gevent patches before all other imports."""

import ast
import os
import subprocess
import sys
from pathlib import Path

from config.settings import load

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config/gunicorn.conf.py"
ENVIRON = {
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "OPWATCH_TOKENS": "0123456789abcdef0123456789abcdef",
    "SCALINGO_API_TOKEN": "tk-us-x",
}


def test_gevent_patches_before_anything_else_is_imported() -> None:
    docstring, importing, patching, *_ = ast.parse(CONFIG.read_text(encoding="utf-8")).body
    assert isinstance(docstring, ast.Expr)
    assert ast.unparse(importing) == "from gevent import monkey"
    assert ast.unparse(patching) == "monkey.patch_all()"


def test_nothing_is_patched_too_late() -> None:
    assert load(ENVIRON).tokens
    ran = subprocess.run(
        [sys.executable, "-W", "always", "-m", "gunicorn", "--check-config", "-c", str(CONFIG), "app:create_app()"],
        cwd=ROOT,
        env={**ENVIRON, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, "MonkeyPatchWarning" in ran.stderr, ran.stderr) == (0, False, "")
