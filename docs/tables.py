"""Writes those parts of the pages that are made from the code: `make docs`.

Such a part stands between `<!-- made by make docs: NAME -->` and `<!-- end of NAME -->`.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent


def regions() -> dict[str, str]:
    """Give the text of every such part, by its name."""
    return {}


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
