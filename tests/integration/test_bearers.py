"""Bearers and API tokens go only to the configured host, for any URL of a caller and any redirect of the API."""

import re

import pytest

from operations.storage.store import Store
from standin.api import ScalingoApi
from tests.integration.bench import OPERATION_ID, Caller, faulty_fields, found
from tests.support.receiver import Receiver, Reply
from tests.support.running import wait_until
from tests.support.trap import Trap
from workers.look import look_round

PATH = f"/v1/apps/shop/operations/{OPERATION_ID}"
ID = OPERATION_ID
GOOD = [
    "http://{good}" + PATH, "https://{good}" + PATH, "HTTP://{good}" + PATH, "http://{good}" + PATH + "/",
    "https://api.osc-fr1.scalingo.com" + PATH, "http://API.osc-fr1.SCALINGO.com:80" + PATH,
    " http://{good}" + PATH + "\r\n",
]  # fmt: skip
"""All are URLs of the stand-in; the last is a header line as a shell may cut it."""

HOSTILE = [
    # Other hosts, ports and schemes
    "http://{trap}" + PATH, "https://{trap}" + PATH, "//{trap}" + PATH, "http://localhost:{trap_port}" + PATH,
    "http://[::1]:{trap_port}" + PATH, "http://[::ffff:127.0.0.1]:{trap_port}" + PATH,
    "http://2130706433:{trap_port}" + PATH,
    "http://127.1:{trap_port}" + PATH, "http://[::1%25lo]:{trap_port}" + PATH, "http://localhost:{good_port}" + PATH,
    "http://127.0.0.1.:{good_port}" + PATH, "http://127.0.0.1" + PATH, "http://{good}.{trap}" + PATH,
    "ftp://{good}" + PATH, "file://{good}" + PATH, "gopher://{trap}" + PATH, "http:{trap}" + PATH,
    "javascript:{good}" + PATH,
    # Userinfo, and look-alikes of it
    "http://{good}@{trap}" + PATH, "http://{trap}@{good}" + PATH, "http://user:pw@{good}" + PATH,
    "http://@{good}" + PATH,
    "http://{good}%40{trap}" + PATH, "http://{good}\\@{trap}" + PATH, "http://{trap}\\@{good}" + PATH,
    "http://{good}%2f@{trap}" + PATH, "http://{good}%5c@{trap}" + PATH, "http://{good}%00@{trap}" + PATH,
    "http://{good}#@{trap}" + PATH, "http://{good}?@{trap}" + PATH, "http://{good};@{trap}" + PATH,
    # Look-alikes
    "http://127\u30020\u30020\u30021:{good_port}" + PATH, "http://\uff11\uff12\uff17.0.0.1:{good_port}" + PATH,
    "https://\u0430pi.osc-fr1.scalingo.com" + PATH, "https://api.osc-fr1.scalingo.com\u2044@{trap}" + PATH,
    "https://api.osc-fr1.scalingo.com." + PATH, "https://api.osc-fr1.scalingo.com%2e" + PATH,
    "https://api.osc-fr1.scalingo.com%00.{trap}" + PATH, "https://api%2eosc-fr1.scalingo.com" + PATH,
    # Paths
    "http://{good}/v1/apps/shop%2f..%2fblog/operations/" + ID, "http://{good}/v1/apps/%2e%2e/operations/" + ID,
    "http://{good}/v1/apps/../operations/" + ID, "http://{good}/v1/apps/./shop/operations/" + ID,
    "http://{good}/v1/apps/shop/../blog/operations/" + ID, "http://{good}//v1/apps/shop/operations/" + ID,
    "http://{good}/v1/apps//operations/" + ID, "http://{good}/v1/apps/shop//operations/" + ID,
    "http://{good}/v1/apps/sho%70/operations/" + ID, "http://{good}/v1/apps/shop;x/operations/" + ID,
    "http://{good}/v1/apps/Shop/operations/" + ID, "http://{good}/v1/apps/shop\\..\\blog/operations/" + ID,
    "http://{good}/v1/apps/shop/operations/" + ID.upper(), "http://{good}/v1/apps/shop/operations/" + ID + "/../../..",
    "http://{good}/v1/apps/shop/operations/..%2f" + ID, "http://{good}/v1/apps/shop/operations/" + ID + "%00",
    "http://{good}/V1/apps/shop/operations/" + ID, "http://{good}" + PATH + "/output",
    "http://{trap}/http://{good}" + PATH,
    "http://{good}" + PATH + "?x=1", "http://{good}" + PATH + "#x", "http://{good}" + PATH + "?",
    "http://{good}" + PATH + "#",
    # White space and control characters inside, and far too long
    "http://{good}/v1/apps/sh\top/operations/" + ID, "http://{good}/v1/apps/sh\nop/operations/" + ID,
    "ht\ntp://{trap}" + PATH, "http://{good}\r\nHost: {trap}" + PATH, "http://{good}" + PATH + "\r\nX: y",
    "http://{good}" + PATH + " http://{trap}" + PATH, "http://{good}" + PATH + "\x00", "http://{good}\x00{trap}" + PATH,
    "\u3000http://{good}" + PATH, "http://{good}" + PATH + "\u2028",
    "http://{good}" + "/" * 60_000, "http://" + "a" * 60_000, "http://{good}/v1/apps/" + "s" * 65 + "/operations/" + ID,
]  # fmt: skip
REDIRECTS = (301, 302, 303, 307, 308)


def filled(url: str, scalingo: ScalingoApi, trap: Trap) -> str:
    good = scalingo.url.removeprefix("http://")
    return url.format(good=good, good_port=good.split(":")[1], trap=f"127.0.0.1:{trap.port}", trap_port=trap.port)


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("way", ["json", "form"])
def test_a_hostile_url_is_refused_and_a_good_one_names_that_app_and_operation_only(
    caller: Caller, store: Store, scalingo: ScalingoApi, trap: Trap, way: str
) -> None:
    def post(url: str) -> object:
        fields = {"operation_url": filled(url, scalingo, trap)}
        return caller.form(fields) if way == "form" else caller.track(**fields)

    for url in HOSTILE:
        assert faulty_fields(post(url)) == {"operation_url"}, url  # type: ignore[arg-type]
    assert store.records.due_trackings() == []
    for url in GOOD:
        assert post(url).status_code in (200, 202), url  # type: ignore[attr-defined]

    def looked_at() -> int:
        look_round()
        return found(store, f"osc-fr1-{OPERATION_ID}").tracking.polls

    wait_until(looked_at, what="the look")
    assert {seen.path for seen in scalingo.requests} == {"/v1/tokens/exchange", PATH}
    assert trap.caught == 0


@pytest.mark.parametrize("field", ["app", "operation_id", "region"])
@pytest.mark.parametrize(
    "text", ["..", "%2e%2e", "shop/../blog", "shop%2f..", "a\\b", "a\nb", "a?b", "a#b", "a@b", "", "\u0430"]
)
def test_no_part_of_an_address_holds_anything_that_leads_elsewhere(caller: Caller, field: str, text: str) -> None:
    assert faulty_fields(caller.track(**{field: text})) == {field}


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("exchange", [True, False])
def test_a_redirect_by_the_api_carries_no_credentials_anywhere(
    caller: Caller,
    store: Store,
    scalingo: ScalingoApi,
    receiver: Receiver,
    trap: Trap,
    exchange: bool,  # noqa: FBT001
) -> None:
    places = (receiver.url("/elsewhere"), f"http://127.0.0.1:{trap.port}/", "//evil.example/", "/v1/elsewhere", "\\x")
    operation = scalingo.operation()
    if exchange:  # after a failed sign-in all looks pause for some seconds, so one is enough
        scalingo.fault(lambda _: Reply(307, "", {"Location": places[0]}), exchange=True)
    else:
        for status, place in zip(REDIRECTS, places, strict=True):
            scalingo.fault(
                lambda _, status=status, place=place: Reply(status, "", {"Location": place}),  # type: ignore[misc]
                operation_id=operation.id,
            )
    identity = caller.track(operation_url=operation.url).get_json()["id"]

    def looked_at() -> bool:
        caller.request("DELETE", f"/v1/operations/{identity}")
        caller.track(operation_url=operation.url)  # due at once again
        look_round()
        wait_until(lambda: found(store, identity).tracking.polls, what="the look")
        shown = found(store, identity).tracking
        errors.append(shown.last_error or "")
        return len(errors) >= (1 if exchange else len(places))

    errors: list[str] = []
    wait_until(looked_at, what="all the looks")
    assert all(re.search("30[12378]", error) for error in errors), errors
    assert {seen.path for seen in scalingo.requests} <= {
        "/v1/tokens/exchange",
        operation.url.removeprefix(scalingo.url),
    }
    assert receiver.requests == ()
    assert trap.caught == 0
