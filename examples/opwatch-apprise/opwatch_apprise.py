"""Kind `apprise`: about a hundred services, those that Apprise can write to.

https://appriseit.com/services/. Apprise dials by itself, so that no guard sees its addresses; it blocks, so that it
runs in a thread; and of a failure it says only that there was one.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, SecretStr, ValidationInfo, model_validator

from notifiers import Announcement, Kind, PermanentError, TransientError, cut_middle, private_allowed, wording

if TYPE_CHECKING:
    import apprise
    from aiohttp import ClientSession

_TEXT_LIMIT_BYTES = 1_500
_THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="apprise")  # what hangs here delays no other kind
logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its lines may hold URLs, which are secrets


class Apprise(Kind):
    """Tells a service by one of Apprise's URLs."""

    retry_delays_s: ClassVar[tuple[float, ...]] = (5.0, 60.0, 600.0)

    url: Annotated[SecretStr, Field(description="as Apprise has it for the service")]

    @model_validator(mode="after")
    def _allowed(self, info: ValidationInfo) -> Self:
        if not private_allowed(info):
            raise ValueError("Apprise dials private addresses, too: it needs OPWATCH_ALLOW_PRIVATE_TARGETS=true")
        return self

    async def send(self, announcement: Announcement, http: "ClientSession") -> None:  # noqa: ARG002 - it dials by itself
        """Have Apprise tell once, in a thread, which outlives a deadline by as long as Apprise waits (`rto=`, 4 s)."""
        await asyncio.get_running_loop().run_in_executor(_THREADS, self._tell, announcement)

    async def check(self, http: "ClientSession") -> str:  # noqa: ARG002
        """Have Apprise read the URL, without sending anything."""
        await asyncio.get_running_loop().run_in_executor(_THREADS, self._service)
        return "Apprise knows the URL; only send-test shows whether it accepts messages"

    def preview(self, announcement: Announcement) -> str:
        """Write title and body."""
        return "\n\n".join(dict.fromkeys(_texts(announcement)))

    def _tell(self, announcement: Announcement) -> None:
        import apprise  # noqa: PLC0415 - `web` never sends: it saves the memory

        good = apprise.NotifyType.WARNING if announcement.slow else apprise.NotifyType.SUCCESS
        kind = apprise.NotifyType.FAILURE if wording.went_wrong(announcement) else good
        title, body = _texts(announcement)
        if not self._service().notify(title=title, body=body, notify_type=kind, body_format=apprise.NotifyFormat.TEXT):
            raise TransientError("Apprise could not deliver it; it does not say why")

    def _service(self) -> "apprise.Apprise":
        """Have Apprise read the URL; raises PermanentError."""
        import apprise  # noqa: PLC0415

        service = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Opwatch", http_redirects=False))
        if not service.add(self.url.get_secret_value()):
            raise PermanentError("Apprise does not know this URL, or lacks a package that the service needs")
        return service


def _texts(announcement: Announcement) -> tuple[str, str]:
    """Write title and body; Apprise sends nothing without a body."""
    title = wording.unpinged(wording.headline(announcement))
    body = wording.unpinged(wording.plain_text(announcement, _TEXT_LIMIT_BYTES))
    return title, cut_middle(body, _TEXT_LIMIT_BYTES, wording.size_bytes) or title
