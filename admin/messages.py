"""Test messages: `send-test` sends one through the target's notifier; `preview` prints it and sends nothing."""

import asyncio
import sys
import time

import aiohttp

from config.settings import Settings
from notifiers import Notifier, Previewable, editing
from notifiers.targets import Target
from operations.errors import OpwatchError
from operations.telling import sample
from operations.telling.announcement import Announcement
from workers.deliver import ATTEMPT_WITHIN_S, failure_of
from workers.session import targets_session


def send_test(target: Target, announcement: Announcement, settings: Settings) -> int:
    """Send the message and print the result; nothing is stored. Returns the exit code."""
    begun_s = time.monotonic()
    failure = asyncio.run(_sent(target, announcement, settings))
    took_s = time.monotonic() - begun_s
    if failure is None:
        print(f"ok    target {target.name}: accepted the test message in {took_s:.1f} s")
        return 0
    print(f"FAIL  target {target.name}: {failure}")
    return 1


async def _sent(target: Target, announcement: Announcement, settings: Settings) -> OpwatchError | None:
    async with targets_session(allow_private=settings.allow_private_targets) as http:
        return await failure_of(_told(target.notifier, announcement, http), ATTEMPT_WITHIN_S)


async def _told(notifier: Notifier, announcement: Announcement, http: aiohttp.ClientSession) -> None:
    """Tell the target the same way as for an operation: if its messages are live, show the progress first."""
    live = editing(notifier)
    if live is None:
        await notifier.send(announcement, http)
    else:
        posted = await live.show(sample.running(announcement), None, http)
        await live.follow_up(announcement, posted, http)


def preview(target: Target, announcement: Announcement) -> int:
    """Print the message, sending nothing. Returns the exit code."""
    if isinstance(target.notifier, Previewable):
        print(target.notifier.preview(announcement))
        return 0
    print(f"the kind {target.kind} has no preview", file=sys.stderr)
    return 1
