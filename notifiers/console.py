"""Kind `console`: prints outcomes, for a first try and for logs."""

import sys
from typing import ClassVar

from notifiers import Announcement, ClientSession, Kind, context_wording, wording


class Console(Kind):
    """Prints each outcome on the worker's standard output."""

    retry_delays_s: ClassVar[tuple[float, ...]] = (5.0,)
    at_once: ClassVar[int] = 10
    set_up: ClassVar[str] = "It is the default when no target is configured.\n"

    async def send(self, announcement: Announcement, http: ClientSession) -> None:  # noqa: ARG002 - nothing to dial
        """Print one outcome."""
        sys.stdout.write(f"{self.preview(announcement)}\n")
        sys.stdout.flush()

    async def check(self, http: ClientSession) -> str:  # noqa: ARG002 - nothing to dial
        """Say where outcomes are printed."""
        return "the worker prints outcomes on its standard output, among its log"

    def preview(self, announcement: Announcement) -> str:
        """Write the outcome. Lines of an error text are indented, so that they cannot pass for lines of the log."""
        details = "".join(f"\n    | {line}" for line in wording.explanation(announcement).splitlines())
        group = "".join(
            f"\n    | {name}: {value}" for name, value in context_wording.other_context({}, announcement.group)
        )
        return wording.for_terminals(f"{wording.headline(announcement)}{details}{group}")
