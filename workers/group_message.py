"""Writes the message of a group: one worker at a time reads all members, writes the message and records its place.

An outcome never depends on it: if anything fails, the outcome is told in a message of its own.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial

import aiohttp
import redis
import structlog

from notifiers import LiveNotifier, editing
from notifiers.targets import Target
from operations.errors import TransientError
from operations.model import LiveMessage, Tracking
from operations.storage.index import LIVE
from operations.storage.records import Stored
from operations.telling import group_message
from operations.telling.announcement import Announcement
from operations.telling.group_message import GroupMessage, GroupShown
from operations.telling.live import Written
from operations.telling.progress import progress_of
from workers.runtime import Runtime, to_its_end

log = structlog.get_logger()

TELL_WITHIN_S = 10.0
"""The deadline for telling an outcome by a group's message."""

EDIT_WITHIN_S = 4.0
"""Short enough to leave time to tell the outcome in a message of its own."""

_LEASE_S = 12
_WAIT_S = 3.0
_WAIT_STEP_S = 0.1


class GroupLease:
    """The lease of a group's message at one target, taken for one member.

    `shown` is the content of the message once it was written under this lease.
    """

    def __init__(self, runtime: Runtime, tracking: Tracking, target: Target, notifier: LiveNotifier) -> None:
        self.shown: GroupShown | None = None
        self._runtime = runtime
        self._tracking = tracking
        self._target = target
        self._notifier = notifier
        self._lock = f"group:{target.name}:{tracking.group}"
        self._token: str | None = None
        self._edits = False

    async def begin(self, within_s: float = _WAIT_S) -> bool:
        """Wait for the lease, up to `within_s`. Tells whether it was taken, or the outcome has waited long enough."""
        with suppress(redis.RedisError):
            overdue = await asyncio.to_thread(self._is_overdue)
            give_up_at_s = time.monotonic() + (0 if overdue else within_s)
            while not await to_its_end(self._take) and time.monotonic() < give_up_at_s:  # noqa: ASYNC110 - others end it
                await asyncio.sleep(_WAIT_STEP_S)
            return overdue or self._token is not None
        return False

    def _take(self) -> bool:
        self._token = self._runtime.locks.acquire(self._lock, self._runtime.name, _LEASE_S)
        return self._token is not None

    def _is_overdue(self) -> bool:
        ended_at = self._tracking.ended_at
        return ended_at is not None and self._runtime.records.now() - ended_at > group_message.ALONE_AFTER

    async def end(self) -> None:
        """Release the lease, which also runs out by itself."""
        if self._token is not None:
            with suppress(redis.RedisError):
                await asyncio.to_thread(self._runtime.locks.release, self._lock, self._token)

    async def write(self, *, telling: bool = False) -> Written | None:
        """Update the message. Returns None if the group does not show this member. Raises as `send` does."""
        if self._token is None:
            return None
        shown = await asyncio.to_thread(_message, self._runtime, self._tracking, self._target.name, telling=telling)
        if shown is None:
            return None
        there = group_message.last_written(shown, self._target.name)
        posted = there.posted if there is not None else None
        self._edits = posted is not None
        if posted is None or not group_message.up_to_date(shown, there):
            async with asyncio.timeout(EDIT_WITHIN_S if self._edits else None):
                posted = await self._notifier.show(shown, posted, self._runtime.loop.targets)
        own = progress_of(self._tracking, LiveMessage(target=self._target.name, run=self._tracking.run), shown.now)
        written = Written(posted, own.digest, shown.digest)
        self.shown = GroupShown(written, shown.group)
        return written

    async def tell(self, announcement: Announcement) -> None:
        """Tell an outcome by the message, and by a reply if something went wrong. Raises as `send` does."""
        try:
            written = await self.write(telling=True)
        except Exception as error:
            # The post may have arrived, and `send` would only repeat it.
            if not self._edits and isinstance(error, TransientError | OSError | aiohttp.ClientError):
                raise
            log.warning("an outcome is told by itself, not with its group", error=repr(error))
            written = None
        if written is None:
            await self._target.notifier.send(announcement, self._runtime.loop.targets)
        else:
            quiet = self.shown is not None and group_message.has_called(
                self.shown.group, self._tracking, self._target.name
            )
            announced = replace(announcement, quiet=announcement.quiet or quiet)
            await self._notifier.reply(announced, written.posted, self._runtime.loop.targets)


def lease_for(runtime: Runtime, tracking: Tracking, target: Target | None, run: int) -> GroupLease | None:
    """Return the lease for showing this run to a target; None if no group's message shows it."""
    notifier = None if target is None or tracking.group is None else editing(target.notifier)
    if target is None or notifier is None or tracking.run != run:
        return None
    return GroupLease(runtime, tracking, target, notifier)


class UpToDateGroups:
    """Reads each group once in a round of edits, and defers members whose group's message is current."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._known: dict[tuple[str, str | None], GroupMessage | None] = {}

    def put_off(self, stored: Stored, message: LiveMessage) -> bool:
        """Defer a member's edit if the group's message is current. Tells whether it was deferred."""
        mine = stored.tracking
        if mine.group is None or message.claim is not None or mine.run != message.run:
            return False
        key = message.target, mine.group
        if key not in self._known:
            with suppress(redis.ResponseError):  # another type is stored under that key
                self._known[key] = _message(self._runtime, mine, message.target)
        shown = self._known.get(key)
        there = None if shown is None else group_message.last_written(shown, message.target)
        if shown is None or there is None or not group_message.up_to_date(shown, there):
            return False
        messages = self._runtime.overview.size(LIVE)
        leave = partial(group_message.passed_over, message=message, shown=shown, there=there, messages=messages)
        self._runtime.store.update(stored, leave)
        return True


def _message(runtime: Runtime, tracking: Tracking, target: str, *, telling: bool = False) -> GroupMessage | None:
    members = runtime.records.group(tracking.group or "")
    return group_message.compose(tracking, members, target, runtime.rules, runtime.records.now(), telling=telling)
