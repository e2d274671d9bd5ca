"""Writes what is made from the code: parts of the pages, and `.env.example`: `make docs`.

Such a part stands between `<!-- made by make docs: NAME -->` and `<!-- end of NAME -->`.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from config.reading import variables
from config.settings import Settings

HERE = Path(__file__).parent


def regions() -> dict[str, str]:
    """Give the text of every such part, by its name."""
    return {"settings": settings_table()}


def settings_table() -> str:
    """Make the table of all settings."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for setting in Settings.model_fields.values():
        names = ", ".join(f"`{name}`" for name in variables(setting))
        default = _written(setting.default)
        rows.append(f"| {names} | {default and f'`{default}`'} | {setting.description} |")
    return "\n".join(rows) + "\n"


def example_environment() -> str:
    """Make `.env.example`, in which every setting stands with an example, and none is set."""
    return "\n".join(_example_lines()) + "\n"


def _example_lines() -> Iterator[str]:
    yield "# Copy this to .env, which only `make run` reads, and uncomment what you need. On a PaaS, set them there."
    yield "# This file is made from config/settings.py by `make docs`."
    for setting in Settings.model_fields.values():
        yield ""
        text = re.sub(r"\[(.+?)\]\((.+?)\)", r"\1 (docs/\2)", setting.description or "")
        yield from textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
        examples = setting.examples or [setting.default] * len(variables(setting))
        for name, example in zip(variables(setting), examples, strict=True):
            yield f"#{name.replace('<ACCOUNT>', 'AGENCY')}={_written(example)}"


def _written(value: Any) -> str:
    """Write a value as it stands in the environment; nothing for a default that sets nothing."""
    if value is None or value in ({}, (), SecretStr("")):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def filled(page: str) -> str:
    """Give a page with its made parts as they should be; raises KeyError for a name that nobody makes."""
    made = regions()
    return re.sub(
        r"(?<=<!-- made by make docs: )(\w+)( -->\n).*?(?=<!-- end of \1 -->)",
        lambda match: f"{match[1]}{match[2]}{made[match[1]]}",
        page,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    for path in sorted(HERE.glob("*.md")):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    (HERE.parent / ".env.example").write_text(example_environment(), encoding="utf-8")
