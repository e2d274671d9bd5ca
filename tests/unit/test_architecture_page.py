"""What docs/architecture.md and its picture name is in the code."""

import re
from pathlib import Path

import pytest

from operations.alerts import mark
from operations.index import DURATIONS
from operations.model import AlertKind
from workers.doorbell import Round

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PICTURE = re.findall(r"<text[^>]*>([^<]+)</text>", (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8"))
PARTS = ("operations", "workers", "config", "notifiers", "page")
SOURCE = "".join(path.read_text(encoding="utf-8") for part in PARTS for path in sorted((ROOT / part).glob("*.py")))
MODULE = re.compile(r"(?:api|config|notifiers|operations|page|scalingo|server|workers)/[\w./]*")
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


@pytest.mark.parametrize("key", sorted({key for text in (PAGE, *PICTURE) for key in KEY.findall(text)}))
def test_every_key_that_is_named_is_one_of_the_code(key: str) -> None:
    made_of_parts = {mark(kind, "") for kind in AlertKind} | {f"{DURATIONS}-of-type:"}
    assert f'"{key}' in SOURCE or f"{key}:" in made_of_parts


def test_the_page_shows_the_picture() -> None:
    assert "](architecture.svg)" in PAGE
