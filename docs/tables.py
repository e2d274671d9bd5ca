"""Writes the parts of the pages that are made from the code, `.env.example` and the manifests: `make docs`.

Each part is between `<!-- made by make docs: NAME -->` and `<!-- end of NAME -->`.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from api import openapi
from config.reading import variables
from config.settings import Settings
from docs import manifests
from notifiers import BUILT_IN, Kind, Mentioning

HERE = Path(__file__).parent
_UNITS_S = {"h": 3600, "min": 60, "s": 1}
_TYPES = {
    "uri": "URL, secret",
    "password": "text, secret",
    "string": "text",
    "integer": "number",
    "object": "table, secret",
    "boolean": "`true` or `false`",
}


def regions() -> dict[str, str]:
    """Return the text of every part, by name."""
    return {
        "routes": routes_table(),
        "settings": settings_table(),
        "kinds": "".join(_kind(point.name, point.load()) for point in BUILT_IN),
    }


def filled(page: str) -> str:
    """Return a page with all its parts filled in. Raises KeyError for an unknown part."""
    made = regions()
    return re.sub(
        r"(?<=<!-- made by make docs: )(\w+)( -->\n).*?(?=<!-- end of \1 -->)",
        lambda match: f"{match[1]}{match[2]}{made[match[1]]}",
        page,
        flags=re.DOTALL,
    )


def routes_table() -> str:
    """Make the table of all routes from the description of the API."""
    rows = ["| route | what it does | answers |", "|---|---|---|"]
    for path, methods in openapi.document()["paths"].items():
        shown = path.replace("{identity}", "{id}").replace("{", "<").replace("}", ">")
        for method, route in methods.items():
            what = [route["summary"], ", ".join(filter(None, map(_parameter, route.get("parameters", ()))))]
            answers = [f"{code} {answer['description']}" for code, answer in route["responses"].items() if code < "400"]
            answers.append(", ".join(code for code in route["responses"] if code >= "400"))
            rows.append(
                f"| `{method.upper()} {shown}` | {'; '.join(filter(None, what))} | {'; '.join(filter(None, answers))} |"
            )
    return "\n".join(rows) + "\n"


def _parameter(parameter: dict[str, Any]) -> str:
    """Describe a parameter that is not in the path."""
    if parameter["in"] == "path":
        return ""
    return f"`{parameter['name']}`" + (f": {parameter['description']}" if parameter["in"] == "header" else "")


def settings_table() -> str:
    """Make the table of all settings."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for setting in Settings.model_fields.values():
        names = ", ".join(f"`{name}`" for name in variables(setting))
        rows.append(f"| {names} | {_default(setting.default)} | {setting.description} |")
    return "\n".join(rows) + "\n"


def example_environment() -> str:
    """Make `.env.example`, which has an example for every setting, all commented out."""
    return "\n".join(_example_lines()) + "\n"


def _example_lines() -> Iterator[str]:
    yield "# Copy this to .env, which only `make run` and `docker compose` read, and uncomment what you need."
    yield "# On a PaaS, set them there."
    yield "# This file is made from config/settings.py by `make docs`."
    for setting in Settings.model_fields.values():
        yield ""
        text = re.sub(r"\[(.+?)\]\((.+?)\)", r"\1 (docs/\2)", setting.description or "")
        yield from textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
        examples = setting.examples or [setting.default] * len(variables(setting))
        for name, example in zip(variables(setting), examples, strict=True):
            yield f"#{name.replace('<ACCOUNT>', 'AGENCY')}={_written(example)}"


def _kind(name: str, kind: type[Kind]) -> str:
    """Write the section of a kind from its own description."""
    limits = f"- Limits: {kind.limits}\n" if kind.limits else ""
    if issubclass(kind, Mentioning):
        limits = f"- A `mention` is {kind.mentions_in_words}.\n{limits}"
    return (
        f"## {name}\n\n{(kind.__doc__ or '').splitlines()[0]}\n\n{kind.set_up}\n{''.join(_fields(kind))}{limits}"
        f"- Messages that a worker sends at the same time: {kind.at_once}.\n"
        f"- Retried after {', '.join(map(_duration, kind.retry_delays_s))}.\n\n"
    )


def _fields(kind: type[Kind]) -> Iterator[str]:
    schema = kind.model_json_schema(mode="validation")
    common = Mentioning.model_fields  # described once, for all kinds
    if fields := {name: field for name, field in schema.get("properties", {}).items() if name not in common}:
        yield "| field | type | default | meaning |\n|---|---|---|---|\n"
        for name, field in fields.items():
            default = "required" if name in schema.get("required", ()) else _default(field.get("default"))
            yield f"| `{name}` | {_type(field)} |{default and f' {default} '}| {field['description']} |\n"
        yield "\n"


def _type(field: dict[str, Any]) -> str:
    one = field.get("anyOf", [field])[0]
    if one["type"] == "array":
        return f"{_type(one['items'])}; one or a list"
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    return _TYPES[one.get("format", one["type"])]


def _default(value: object) -> str:
    written = _written(value)
    return written and f"`{written}`"


def _written(value: object) -> str:
    """Write a value as in the environment; empty for a default without a value."""
    if value is None or value in ({}, (), SecretStr("")):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _duration(seconds: float) -> str:
    return next(f"{seconds / size:g} {unit}" for unit, size in _UNITS_S.items() if seconds % size == 0)


if __name__ == "__main__":
    for path in sorted(HERE.glob("*.md")):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    for name in manifests.NAMES:
        (HERE.parent / name).write_text(manifests.manifest(name), encoding="utf-8")
    (HERE.parent / ".env.example").write_text(example_environment(), encoding="utf-8")
