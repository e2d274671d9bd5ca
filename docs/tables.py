"""Writes those parts of the pages that are made from the code: `make docs`.

Such a part stands between `<!-- made by make docs: NAME -->` and `<!-- end of NAME -->`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from notifiers import BUILT_IN, Kind

HERE = Path(__file__).parent
_UNITS_S = {"h": 3600, "min": 60, "s": 1}
_TYPES = {
    "uri": "URL, secret",
    "password": "text, secret",
    "string": "text",
    "integer": "number",
    "boolean": "`true` or `false`",
}


def regions() -> dict[str, str]:
    """Give the text of every such part, by its name."""
    return {"kinds": "".join(_kind(point.name, point.load()) for point in BUILT_IN)}


def filled(page: str) -> str:
    """Give a page with its made parts as they should be; raises KeyError for a name that nobody makes."""
    made = regions()
    return re.sub(
        r"(?<=<!-- made by make docs: )(\w+)( -->\n).*?(?=<!-- end of \1 -->)",
        lambda match: f"{match[1]}{match[2]}{made[match[1]]}",
        page,
        flags=re.DOTALL,
    )


def _kind(name: str, kind: type[Kind]) -> str:
    """Write a section about a kind from what it says of itself."""
    limits = f"- Limits: {kind.limits}\n" if kind.limits else ""
    return (
        f"## {name}\n\n{(kind.__doc__ or '').splitlines()[0]}\n\n{kind.set_up}\n{''.join(_fields(kind))}{limits}"
        f"- Messages that a worker sends at the same time: {kind.at_once}.\n"
        f"- Tried again after {', '.join(map(_duration, kind.retry_delays_s))}.\n\n"
    )


def _fields(kind: type[Kind]) -> Iterator[str]:
    schema = kind.model_json_schema(mode="validation")
    if fields := schema.get("properties", {}):
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
    return "" if value is None else f"`{str(value).lower()}`"


def _duration(seconds: float) -> str:
    return next(f"{seconds / size:g} {unit}" for unit, size in _UNITS_S.items() if seconds % size == 0)


if __name__ == "__main__":
    for path in sorted(HERE.glob("*.md")):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
