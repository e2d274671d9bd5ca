"""The example plug-in, Apprise: what it sends, and its errors."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from aiohttp import ClientSession

from notifiers import Announcement, Notifier, PermanentError, Verdict
from notifiers.targets import build
from tests.support import plugins
from tests.support.receiver import Receiver
from tests.unit.test_slack_message import SHOP


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(plugins.apprise(tmp_path_factory.mktemp("site")))
        yield


def apprise(url: str) -> Notifier:
    return build("a-target", {"kind": "apprise", "url": url}, {}, plain_http=True).notifier


async def send(notifier: Notifier, announcement: Announcement) -> None:
    async with ClientSession() as http:
        await notifier.send(announcement, http)


@pytest.mark.parametrize(
    ("announcement", "kind"),
    [
        (replace(SHOP, verdict=Verdict.SUCCEEDED), "success"),
        (SHOP, "failure"),
        (replace(SHOP, verdict=Verdict.LOST), "failure"),
        (replace(SHOP, ended=False), "warning"),
        (replace(SHOP, verdict=Verdict.SUCCEEDED, alert="deliveries to `x` fail"), "failure"),
    ],
)
def test_it_is_given_headline_text_and_urgency(receiver: Receiver, announcement: Announcement, kind: str) -> None:
    url = receiver.url("/in").replace("http://", "json://")
    asyncio.run(send(apprise(url), announcement))
    (request,) = receiver.requests
    told = json.loads(request.body)
    assert told["type"] == kind
    assert "shop: restart" in told["title"] + told["message"]
    assert "boot timeout" in told["message"]


def test_no_text_from_outside_calls_anybody(receiver: Receiver) -> None:
    hostile = replace(SHOP, type="@here", error="<!channel> @everyone <@U1>" * 2_000, context={"actor": "@all"})
    asyncio.run(send(apprise(receiver.url("/in").replace("http://", "json://")), hostile))
    (request,) = receiver.requests
    told = json.loads(request.body)
    assert not {"@here", "<!", "@everyone", "<@", "@all"} & {
        part for part in ("@here", "<!", "@everyone", "<@", "@all") if part in told["title"] + told["message"]
    }
    assert len(told["message"].encode()) <= 1_500


def test_a_url_that_it_does_not_know_is_given_up() -> None:
    with pytest.raises(PermanentError, match="does not know this URL"):
        asyncio.run(send(apprise("nonsense://sEkrEt"), SHOP))
