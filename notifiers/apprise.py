"""Kind `apprise`: whatever else Apprise can write to, about a hundred services.

https://appriseit.com/services/. An optional extra. Apprise dials by itself, so that no guard sees its addresses; it
waits in a thread; and of a failure it says only that there was one.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel, SecretStr, ValidationInfo, model_validator

from notifiers import KIND_SETTINGS, private_allowed, wording
from operations.errors import PermanentError, TransientError
from operations.telling.announcement import Announcement
from operations.text import cut_middle

if TYPE_CHECKING:
    import apprise
    from aiohttp import ClientSession

_TEXT_LIMIT_BYTES = 1_500
_THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="apprise")  # what hangs here hangs nobody else
logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its lines may hold URLs, which are secrets


class Apprise(BaseModel):
    """Tells whoever is behind one of Apprise's URLs."""

    model_config = KIND_SETTINGS
    retry_delays_s: ClassVar[tuple[float, ...]] = (5.0, 60.0, 600.0)
    at_once: ClassVar[int] = 1

    url: SecretStr

    @model_validator(mode="after")
    def _possible(self, info: ValidationInfo) -> Self:
        if find_spec("apprise") is None:
            message = "Apprise is not installed; docs/targets.md says how"
            raise ValueError(message)
        if not private_allowed(info):
            message = "Apprise dials by itself, private addresses too: it needs OPWATCH_ALLOW_PRIVATE_TARGETS=true"
            raise ValueError(message)
        return self

    async def send(self, announcement: Announcement, http: "ClientSession") -> None:  # noqa: ARG002 - it dials by itself
        """Have Apprise tell once, in a thread, which outlives a deadline by as long as Apprise waits (`rto=`, 4 s)."""
        await asyncio.get_running_loop().run_in_executor(_THREADS, self._tell, announcement)

    async def check(self, http: "ClientSession") -> str:  # noqa: ARG002
        """Have Apprise read the URL, without sending anything."""
        await asyncio.get_running_loop().run_in_executor(_THREADS, self._known)
        return "Apprise knows the URL; whether it takes messages, only sending shows (send-test)"

    def preview(self, announcement: Announcement) -> str:
        """Write title and body."""
        return "\n\n".join(dict.fromkeys(_texts(announcement)))

    def _tell(self, announcement: Announcement) -> None:
        import apprise  # noqa: PLC0415 - it may not be installed, and takes much memory

        good = apprise.NotifyType.WARNING if announcement.slow else apprise.NotifyType.SUCCESS
        kind = apprise.NotifyType.FAILURE if wording.went_wrong(announcement) else good
        title, body = _texts(announcement)
        if not self._known().notify(title=title, body=body, notify_type=kind, body_format=apprise.NotifyFormat.TEXT):
            raise TransientError("Apprise could not deliver it; it does not say why")

    def _known(self) -> "apprise.Apprise":
        """Have Apprise read the URL; raises PermanentError."""
        import apprise  # noqa: PLC0415

        known = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Opwatch", http_redirects=False))
        if not known.add(self.url.get_secret_value()):
            raise PermanentError("Apprise knows no such URL, or lacks a package that this service needs")
        return known


def _texts(announcement: Announcement) -> tuple[str, str]:
    """Write title and body: no body would be none of Apprise's messages."""
    title = wording.unpinged(wording.headline(announcement))
    body = wording.unpinged(wording.plain_text(announcement, _TEXT_LIMIT_BYTES))
    return title, cut_middle(body, _TEXT_LIMIT_BYTES, wording.size_bytes) or title
