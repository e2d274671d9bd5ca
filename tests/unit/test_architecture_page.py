"""All names in docs/architecture.md and its picture exist in the code."""

import re
from pathlib import Path

from operations.model import AlertKind
from operations.storage.learned import DURATIONS
from operations.telling.alerts import mark
from workers.doorbell import Round

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PICTURE = re.findall(r"<text[^>]*>([^<]+)</text>", (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8"))
PARTS = ("admin", "api", "config", "notifiers", "operations", "page", "scalingo", "workers")
SOURCE = "".join(path.read_text(encoding="utf-8") for part in PARTS for path in sorted((ROOT / part).rglob("*.py")))
MODULE = re.compile(r"(?:api|config|notifiers|operations|page|scalingo|workers)/[\w./]*")
KEY = re.compile(r"opwatch:[a-z-]+")


def test_every_module_in_the_picture_is_there() -> None:
    named = [name for text in PICTURE for name in MODULE.findall(text)]
    assert len(named) >= 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_queue_in_the_picture_is_one_of_rounds() -> None:
    assert {text.removeprefix("rq:queue:") for text in PICTURE if text.startswith("rq:")} == set(Round)


def test_every_module_on_the_page_is_there() -> None:
    named = set(MODULE.findall(PAGE))
    assert len(named) >= 15
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_every_key_in_redis_is_on_the_page_and_none_besides() -> None:
    made_of_parts = {mark(kind, "").strip(":") for kind in AlertKind} | {f"{DURATIONS}-of-type"}
    assert set(KEY.findall(PAGE)) == {key.strip('"') for key in re.findall(f'"{KEY.pattern}', SOURCE)} | made_of_parts


def test_every_key_in_the_picture_is_on_the_page() -> None:
    keys = {key for text in PICTURE for key in KEY.findall(text)}
    assert keys
    assert keys <= set(KEY.findall(PAGE))


def test_the_page_shows_the_picture() -> None:
    assert "](architecture.svg)" in PAGE
