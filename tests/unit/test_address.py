"""Callers' URLs: those of operations are parsed, others refused with a reason."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.kind import Kind
from scalingo.address import (
    API_KINDS,
    LONGEST_URL,
    OFFICIAL_DATABASE_APIS,
    OFFICIAL_REGIONS,
    Address,
    logs_page,
    parse_url,
)
from scalingo.api_kind import APP_PATTERN
from tests.unit.strategies import OPERATION_ID, a_tracking, apps, operation_ids

REGIONS = {**OFFICIAL_REGIONS, "local": "http://127.0.0.1:8080", "Own": "https://API.own.example:8443"}
PATH = f"/v1/apps/shop/operations/{OPERATION_ID}"


@pytest.mark.parametrize(
    ("base", "region"),
    [
        ("https://api.osc-fr1.scalingo.com", "osc-fr1"),
        ("http://api.osc-fr1.scalingo.com", "osc-fr1"),
        ("https://api.osc-fr1.scalingo.com:443", "osc-fr1"),
        ("http://api.osc-fr1.scalingo.com:80", "osc-fr1"),
        ("https://API.OSC-FR1.Scalingo.COM", "osc-fr1"),
        ("HTTPS://api.osc-secnum-fr1.scalingo.com", "osc-secnum-fr1"),
        ("http://127.0.0.1:8080", "local"),
        ("https://127.0.0.1:8080", "local"),
        ("https://api.own.example:8443", "Own"),
    ],
)
@pytest.mark.parametrize("end", ["", "/"])
def test_operations_of_configured_and_official_hosts_are_understood(base: str, region: str, end: str) -> None:
    found = Address(region=region, kind=Kind.OPERATION, app="shop", thing_id=OPERATION_ID)
    assert parse_url(base + PATH + end, REGIONS) == found


UUID = "cabf82f2-1cb1-46d4-b09e-bfb6fe09bc18"
ADDON = f"ad-{UUID}"
APP_ID = "5ed0fe5d884fef000f5e4fd1"


@pytest.mark.parametrize(
    ("path", "kind", "thing_id", "app", "addon_id"),
    [
        (f"/v1/apps/shop/deployments/{UUID}", Kind.DEPLOYMENT, UUID, "shop", None),
        (f"/v1/apps/{APP_ID}/deployments/{UUID}/output", Kind.DEPLOYMENT, UUID, APP_ID, None),
        (f"/v1/apps/shop/deployments/{UUID}/output/", Kind.DEPLOYMENT, UUID, "shop", None),
        (f"/api/operations/{OPERATION_ID}", Kind.DATABASE, OPERATION_ID, None, None),
        (f"/api/databases/{ADDON}/operations/{OPERATION_ID}", Kind.DATABASE, OPERATION_ID, None, ADDON),
        (f"/api/databases/{APP_ID}/operations/{OPERATION_ID}/", Kind.DATABASE, OPERATION_ID, None, APP_ID),
        (f"/api/databases/{ADDON}/backups/{OPERATION_ID}", Kind.BACKUP, OPERATION_ID, None, ADDON),
        (f"/api/backups/{OPERATION_ID}", Kind.BACKUP, OPERATION_ID, None, None),
    ],
)
def test_every_kind_has_its_urls(path: str, kind: Kind, thing_id: str, app: str | None, addon_id: str | None) -> None:
    bases = OFFICIAL_DATABASE_APIS if path.startswith("/api/") else OFFICIAL_REGIONS
    found = parse_url(bases["osc-secnum-fr1"] + path, OFFICIAL_REGIONS)
    assert found == Address(
        region="osc-secnum-fr1",
        kind=kind,
        thing_id=thing_id,
        app=app,
        app_id=app if app == APP_ID else None,
        addon_id=addon_id,
        by_addon=addon_id is not None,
    )
    prefix = {Kind.DATABASE: "db-", Kind.BACKUP: "backup-"}.get(kind, "")
    assert found.tracking_id == f"osc-secnum-fr1-{prefix}{thing_id}"
    with pytest.raises(ValueError, match="names a host that is not configured"):  # the other API has no such path
        parse_url({**OFFICIAL_REGIONS, **OFFICIAL_DATABASE_APIS}["osc-fr1"].replace("db-", "") + path, {}, {})


def test_a_deployments_other_id_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match="give its uuid"):
        parse_url(f"{HOST}/v1/apps/shop/deployments/{OPERATION_ID}", REGIONS)


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({}, [f"/v1/apps/shop/operations/{OPERATION_ID}"]),
        ({"kind": Kind.DEPLOYMENT, "operation_id": UUID}, [f"/v1/apps/shop/deployments/{UUID}"]),
        (
            {"kind": Kind.DEPLOYMENT, "operation_id": UUID, "app_id": APP_ID},
            [f"/v1/apps/{APP_ID}/deployments/{UUID}"],
        ),
        (
            {"kind": Kind.DATABASE, "addon_id": ADDON},
            [f"/api/operations/{OPERATION_ID}", f"/api/databases/{ADDON}/operations/{OPERATION_ID}"],
        ),
        (
            {"kind": Kind.BACKUP, "addon_id": ADDON, "by_addon": True},
            [f"/api/databases/{ADDON}/backups/{OPERATION_ID}", f"/api/backups/{OPERATION_ID}"],
        ),
    ],
)
def test_a_tracking_is_asked_for_at_the_paths_of_its_kind(fields: dict[str, Any], paths: list[str]) -> None:
    tracking = a_tracking(**{"app": "shop", "operation_id": OPERATION_ID, **fields})
    assert list(API_KINDS[tracking.kind].paths(tracking)) == paths


def test_the_dashboard_shows_logs_and_deployments() -> None:
    assert logs_page("osc-fr1", Kind.DATABASE, "shop") == "https://dashboard.scalingo.com/apps/osc-fr1/shop/logs"
    assert logs_page("osc-fr1", Kind.DEPLOYMENT, "shop").endswith("/apps/osc-fr1/shop/deploy/list")


def test_an_override_stands_for_its_region_and_official_hosts_still_lead_there() -> None:
    regions = {**OFFICIAL_REGIONS, "osc-fr1": "http://localhost:9000"}
    for base in ("http://localhost:9000", "https://api.osc-fr1.scalingo.com"):
        assert parse_url(base + PATH, regions).region == "osc-fr1"
    with pytest.raises(ValueError, match="not configured here"):
        parse_url("https://api.osc-secnum-fr1.scalingo.com" + PATH, {"osc-fr1": "http://localhost:9000"})


HOST = "https://api.osc-fr1.scalingo.com"


@pytest.mark.parametrize(
    "url",
    [
        "", "/", PATH, HOST, HOST + "/", "api.osc-fr1.scalingo.com" + PATH, "//api.osc-fr1.scalingo.com" + PATH,
        # Other hosts and ports
        "https://evil.example" + PATH, "https://api.osc-fr1.scalingo.com.evil.example" + PATH,
        "https://evil.example/api.osc-fr1.scalingo.com" + PATH, "https://auth.scalingo.com" + PATH,
        "https://api.osc-fr1.scalingo.com." + PATH, "https://.api.osc-fr1.scalingo.com" + PATH,
        HOST + ":8443" + PATH, HOST + ":0" + PATH, HOST + ":99999" + PATH, HOST + ":port" + PATH, HOST + ":-1" + PATH,
        "http://127.0.0.1" + PATH, "http://127.0.0.1:8081" + PATH, "http://[::1]:8080" + PATH, "http://[::1" + PATH,
        "http://api.osc-fr1.scalingo.com:443.evil.example" + PATH, "http:///v1" + PATH,
        # Userinfo
        "https://user@api.osc-fr1.scalingo.com" + PATH, "https://user:pw@api.osc-fr1.scalingo.com" + PATH,
        "https://api.osc-fr1.scalingo.com@evil.example" + PATH, "https://@api.osc-fr1.scalingo.com" + PATH,
        # Other schemes
        "ftp://api.osc-fr1.scalingo.com" + PATH, "javascript:alert(1)", "file://" + PATH,
        "https:api.osc-fr1.scalingo.com" + PATH,
        "redis://api.osc-fr1.scalingo.com" + PATH, "https//api.osc-fr1.scalingo.com" + PATH,
        # Look-alikes
        "https://\u0430pi.osc-fr1.scalingo.com" + PATH, "https://api.osc-fr1.scaling\uff4f.com" + PATH,
        "https://api\u3002osc-fr1.scalingo.com" + PATH, "https://api.osc-fr1.scalingo.com\uff0f@evil.example" + PATH,
        HOST + PATH[:-1] + "\u0660", HOST + PATH.replace("shop", "sh\u00f6p"),
        # Paths
        HOST + PATH + "//", HOST + "/" + PATH, HOST + PATH + "/cancel", HOST + "/v2" + PATH.removeprefix("/v1"),
        HOST + PATH.replace("shop", "shop%2F.."), HOST + PATH.replace("shop", ".."),
        HOST + "/v1/../v1" + PATH.removeprefix("/v1"),
        HOST + PATH.replace("shop", "a/../shop"), HOST + PATH.replace("/shop", "%2fshop"), HOST + PATH.replace("shop",
        ""),
        HOST + PATH.replace("shop", "-shop"), HOST + PATH.replace("shop", "Shop"), HOST + PATH.replace("shop",
        "s" * 65),
        HOST + PATH[:-1], HOST + PATH + "0", HOST + PATH[:-1] + "g", HOST + PATH[:-24] + PATH[-24:].upper(),
        HOST + PATH.replace("/apps", "\\apps"), "https:\\\\api.osc-fr1.scalingo.com" + PATH,
        HOST + "\\@evil.example" + PATH,
        HOST + PATH + "?", HOST + PATH + "#", HOST + "%2f@evil.example" + PATH, HOST + "%00.evil.example" + PATH,
        HOST.replace(".", "%2e") + PATH, HOST + PATH.replace("shop", "%2e%2e"), HOST + PATH.replace("shop", "sho%70"),
        HOST + PATH + "?a=1", HOST + PATH + "#a", HOST + PATH + ";a", HOST + "?" + PATH, HOST + "#" + PATH,
        # White space and control characters
        " " + HOST + PATH, HOST + PATH + " ", HOST + PATH + "\n", HOST + PATH + "\r\nHost: evil.example",
        "\t" + HOST + PATH,
        HOST.replace("api", "a\npi") + PATH, HOST.replace("api", "a\tpi") + PATH, HOST + PATH + "\x00",
        HOST + PATH + "\x85",
        # Length
        HOST + PATH + "/" * LONGEST_URL, HOST + "/" * 100_000,
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_a_reason(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|names|must|has) ") as caught:
        parse_url(url, REGIONS)
    assert len(str(caught.value)) < 300


@given(apps, operation_ids, st.sampled_from(sorted(REGIONS)))
def test_what_we_build_is_taken_apart_again(app: str, operation_id: str, region: str) -> None:
    (path,) = API_KINDS[Kind.OPERATION].paths(a_tracking(app=app, operation_id=operation_id))
    found = Address(region=region, kind=Kind.OPERATION, app=app, thing_id=operation_id)
    assert parse_url(REGIONS[region] + path, REGIONS) == found


_pieces = st.sampled_from(
    ["https", "http", ":", "//", "api.osc-fr1.scalingo.com", "127.0.0.1", "8080", "@", "evil.example", "/v1/apps/",
   "shop", "/",
     "/operations/", OPERATION_ID, "..", "%2f", "\\", "?", "#", "[", "]", "\n", "\uff0e", ";"]
)  # fmt: skip
_built = st.builds(
    "{}{}{}{}".format, st.sampled_from([HOST, "http://127.0.0.1:8080", "http://"]) | st.text(), st.text(max_size=3),
    st.just(PATH),
    st.text(max_size=3),
)  # fmt: skip


@given(st.text() | st.lists(_pieces).map("".join) | _built)
def test_any_text_gives_parts_that_match_the_patterns_or_a_value_error(url: str) -> None:
    try:
        found = parse_url(url, REGIONS)
    except ValueError:
        return
    assert found.region in REGIONS
    assert re.fullmatch(APP_PATTERN, found.app or "shop")
    assert re.fullmatch(r"[0-9a-f-]{24,36}", found.thing_id)
    assert "evil" not in url.lower().split("/v1/")[0]
