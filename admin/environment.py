"""The settings of the commands: the environment's or, beside `make run`, those that it keeps in `var/run.json`."""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

KEPT = Path("var") / "run.json"
REQUIRED = ("REDIS_URL", "SCALINGO_REDIS_URL", "OPWATCH_TOKENS", "SCALINGO_API_TOKEN")
UNSET = "No settings are given, and no `make run` runs in this folder. Start it, or set what `web` and `worker` have."


def read(*, required: bool = True) -> Mapping[str, str]:
    """Return the environment. If it has none of the required settings, those of a `make run` in this folder are added.

    Says on standard error if neither has them, unless they are not required.
    """
    if any(os.environ.get(name) for name in REQUIRED):
        return os.environ
    with suppress(OSError):
        kept: dict[str, str] = json.loads(KEPT.read_text(encoding="utf-8"))
        redis = urlsplit(kept.get("REDIS_URL", ""))
        if redis.scheme != "unix" or Path(redis.path).exists():  # else it was killed, and has left the file behind
            return {**kept, **os.environ}
    if required:
        print(UNSET, file=sys.stderr)
    return os.environ
