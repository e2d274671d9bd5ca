"""Kind `console`: prints outcomes, for a first try and for logs."""

import sys
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from notifiers import KIND_SETTINGS, wording
from operations.telling.announcement import Announcement

if TYPE_CHECKING:
    from aiohttp import ClientSession


class Console(BaseModel):
    """Prints each outcome on standard output; lines of an error text are set in, so that they cannot pass for ours."""

    model_config = KIND_SETTINGS
    retry_delays_s: ClassVar[tuple[float, ...]] = (5.0,)
    at_once: ClassVar[int] = 10

    async def send(self, announcement: Announcement, http: "ClientSession") -> None:  # noqa: ARG002 - nothing to dial
        """Print one outcome."""
        details = "".join(f"\n    | {line}" for line in wording.explanation(announcement).splitlines())
        sys.stdout.write(f"{wording.headline(announcement)}{details}\n")
        sys.stdout.flush()

    async def check(self, http: "ClientSession") -> str:  # noqa: ARG002 - nothing to dial
        """Say where to look."""
        return "the worker prints outcomes on its standard output, among its log"
