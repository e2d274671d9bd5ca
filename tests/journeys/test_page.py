"""The page in a real browser, with the real processes: refreshes, buttons and accessibility."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, ViewportSize, expect, sync_playwright

from operations.storage.store import Store
from tests.journeys.stage import Stage, staged
from tests.support import page_data
from tests.support.receiver import Reply
from tests.support.running import CALLER_TOKEN, PATIENCE_S, WEBHOOK_SECRET, wait_until

TARGETS = f"""
    [targets.ledger]
    kind = "webhook"
    url = "${{RECEIVER_URL}}/ledger"
    secret = "{WEBHOOK_SECRET}"
    apps = ["ledger-*"]
    """
ERROR = "container web-1 failed to start:\n  <b>listen tcp :5000</b>\nthe last line"
PHONE: ViewportSize = {"width": 320, "height": 640}
SMARTPHONE: ViewportSize = {"width": 390, "height": 844}
LARGE_TEXT: ViewportSize = {"width": 360, "height": 640}
expect.set_options(timeout=PATIENCE_S * 1000)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run one service for all tests here; each uses app names of its own."""
    with staged(tmp_path_factory.mktemp("page"), targets=TARGETS) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run the one browser."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert path, "these tests need Chromium: install the package `chromium`, or name the program in CHROMIUM"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=PATIENCE_S * 1000
        )
        yield running
        running.close()


@contextmanager
def visiting(browser: Browser, stage: Stage, **options: Any) -> Iterator[Page]:
    """Open a signed-in window. Errors in the browser's console, also of its policy, fail the test."""
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "status of 422" not in message.text:
            complaints.append(message.text)

    context = browser.new_context(base_url=f"http://localhost:{stage.opwatch.port}", **options)
    context.set_default_timeout(PATIENCE_S * 1000)
    page = context.new_page()
    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/")
    page.get_by_label("Token").fill(CALLER_TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="In flight")).to_be_visible()
    yield page
    context.close()
    assert complaints == []


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the element with this text or label has the focus."""
    for _ in range(200):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText")
        if name in (focused or ""):
            return
    pytest.fail(f"{name} cannot be reached by Tab")


def test_it_goes_along_with_an_operation_and_keeps_what_is_open(browser: Browser, stage: Stage) -> None:
    with visiting(browser, stage) as page:
        page.evaluate("window.sameDocument = true")
        operation = stage.scalingo.operation("going", type="restart", duration_s=1000)
        identity = stage.opwatch.track(operation.url, context={"actor": "jane"}, notify=[])
        card = page.locator(f"#op-{identity}")
        expect(card.get_by_text("running")).to_be_visible()
        expect(card.get_by_role("progressbar")).to_have_count(1)
        card.get_by_text("Cancel tracking …").click()
        line = card.locator(".line").inner_text()
        expect(card.locator(".line")).not_to_have_text(line)  # it was refreshed
        expect(card.get_by_role("button", name="Cancel tracking going")).to_be_visible()
        assert page.evaluate("document.activeElement.innerText") == "Cancel tracking …"
        stage.scalingo.finish(operation.id, outcome="error", error=ERROR)
        expect(page.locator(f"#ended #op-{identity}").get_by_text("failed", exact=True)).to_be_visible()
        expect(page.get_by_role("status").filter(has_text="going: restart failed after")).to_have_count(1)
        card.get_by_text("container web-1").first.click()
        expect(card.locator("pre")).to_have_text(ERROR)
        assert page.evaluate("window.sameDocument")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#connection")).to_have_text("paused")


def test_a_delivery_is_retried_and_a_tracking_cancelled_by_keyboard(browser: Browser, stage: Stage) -> None:
    stage.receiver.script("/ledger", Reply(status=410), Reply(status=200))
    failed = stage.scalingo.operation("ledger-shop", duration_s=0.1, outcome="error", error=ERROR)
    identity = stage.opwatch.track(failed.url)
    stage.opwatch.wait_for_delivery(identity, "ledger", "dead")
    endless = stage.opwatch.track(stage.scalingo.operation("endless", duration_s=1000).url)
    with visiting(browser, stage) as page:
        expect(page.get_by_role("heading", name="Not delivered")).to_be_visible()
        assert "1 not delivered" in page.title()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.innerText") == "Skip to the content"
        page.keyboard.press("Enter")
        tab_to(page, "Retry ledger, ledger-shop")
        page.keyboard.press("Enter")
        expect(
            page.get_by_text("outcome delivered to ledger", exact=True)
        ).to_be_visible()  # the operation's timeline, refreshed
        stage.opwatch.wait_for_delivery(identity, "ledger", "delivered")
        page.goto(f"/operations/{endless}")
        tab_to(page, "Cancel tracking …")
        page.keyboard.press("Enter")
        tab_to(page, "Cancel tracking endless")
        page.keyboard.press("Enter")
        expect(page.get_by_text("cancelled after")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Token")).to_be_focused()
    assert stage.opwatch.show(endless)["state"] == "cancelled"


def test_everything_works_without_javascript(browser: Browser, stage: Stage) -> None:
    endless = stage.opwatch.track(stage.scalingo.operation("plain", duration_s=1000).url)
    with visiting(browser, stage, java_script_enabled=False) as page:
        card = page.locator(f"#op-{endless}")
        expect(card).to_be_visible()
        expect(page.get_by_role("link", name="Reload")).to_be_visible()
        card.get_by_text("Cancel tracking …").click()
        card.get_by_role("button", name="Cancel tracking plain").click()
        expect(page.get_by_text("cancelled after")).to_be_visible()
        page.get_by_role("link", name="Opwatch").click()
        page.get_by_label("App").fill("plai")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("li.card")).to_have_count(1)


def test_a_link_from_elsewhere_finds_whoever_is_signed_in(browser: Browser, stage: Stage) -> None:
    identity = stage.opwatch.track(stage.scalingo.operation("linked", duration_s=1000).url)
    with visiting(browser, stage) as page:
        link = f'<a href="http://localhost:{stage.opwatch.port}/operations/{identity}">there</a>'
        stage.receiver.script("/elsewhere", Reply(body=link, headers={"Content-Type": "text/html"}))
        page.goto(stage.receiver.url("/elsewhere"))  # on 127.0.0.1: another site than localhost
        page.get_by_role("link", name="there").click()
        expect(page.get_by_role("heading", name="linked")).to_be_visible()
        page.context.clear_cookies()
        expect(page.get_by_label("Token")).to_be_visible()  # by itself: outdated content must not stay


def test_it_notices_that_its_requests_hang_and_goes_on_after_that(browser: Browser, stage: Stage) -> None:
    with visiting(browser, stage) as page:
        held: list[Route] = []
        page.route(
            "**", lambda route: held.append(route) if route.request.resource_type == "fetch" else route.fallback()
        )
        expect(page.locator("#connection")).to_have_text("no connection")
        assert held
        page.unroute_all(behavior="ignoreErrors")
        expect(page.locator("#connection")).to_have_text("live")


def test_all_to_a_target_are_retried_without_leaving_the_page(browser: Browser, stage: Stage) -> None:
    stage.receiver.script("/ledger", Reply(status=410), Reply(status=410), Reply(status=200))
    for _ in range(2):
        failed = stage.scalingo.operation("ledger-all", duration_s=0.1, outcome="error", error=ERROR)
        stage.opwatch.wait_for_delivery(stage.opwatch.track(failed.url), "ledger", "dead")
    for script in (True, False):
        with visiting(browser, stage, java_script_enabled=script) as page:
            page.get_by_role("combobox", name="Delivery").select_option("given up")
            page.get_by_role("combobox", name="Target").select_option("ledger")
            page.get_by_role("button", name="Show").click()
            if script:
                expect(page.locator("li.card")).to_have_count(2)
                page.get_by_role("button", name="Retry all to ledger").click()
                expect(page.get_by_text("2 deliveries to ledger will be retried.")).to_be_visible()
                assert "target=ledger" in page.url
            expect(page.get_by_text("No operations found.")).to_be_visible()


def test_times_are_the_readers_own_and_the_title_has_utc(browser: Browser, stage: Stage) -> None:
    stage.opwatch.track(stage.scalingo.operation("timed", duration_s=1000).url)
    for options, is_local in (({"timezone_id": "Asia/Kolkata"}, True), ({"java_script_enabled": False}, False)):
        with visiting(browser, stage, **options) as page:
            begun = page.locator("time").first
            title = begun.get_attribute("title") or ""
            at = datetime.strptime(title, "%Y-%m-%d %H:%M:%S UTC") + is_local * timedelta(hours=5, minutes=30)  # noqa: DTZ007
            expect(begun).to_have_text(f"{at.day} {at:%b %H:%M:%S}")  # a script makes it local after the page is there
            expect(page.locator("footer")).to_contain_text("GMT+5:30" if is_local else "All times are UTC.")


def test_a_target_is_tested_and_what_went_wrong_is_searched(browser: Browser, stage: Stage) -> None:
    failed = stage.scalingo.operation("searched", duration_s=0.1, outcome="error", error=ERROR)
    identity = stage.opwatch.track(failed.url, notify=[], context={"commit": "4f2c1aa"})
    wait_until(lambda: stage.opwatch.show(identity)["state"] == "failed", what="the end")
    for script in (True, False):
        with visiting(browser, stage, java_script_enabled=script) as page:
            page.get_by_role("link", name="Targets").click()
            page.get_by_role("button", name="Send a test to webhook").click()
            expect(page.get_by_text("A test message to webhook is sent now.")).to_be_visible()
            if script:
                expect(page.get_by_text("outcome delivered to webhook")).to_be_visible()
            page.get_by_role("link", name="Went wrong").click()
            page.get_by_role("searchbox").fill(" LISTEN  4F2C ")
            page.keyboard.press("Enter")
            expect(page.locator("li.card")).to_have_count(1)
            expect(page.locator(f"#op-{identity} summary")).to_have_text(
                "container web-1 failed to start: <b>listen tcp :5000</b>"
            )
            page.emulate_media(media="print")
            expect(page.locator("footer")).to_be_visible()  # else nobody knows the time zone of a print
            assert page.locator("header, form:visible, button:visible").filter(visible=True).count() == 0
            assert page.locator("pre").is_visible() or script, "scripts open it when printing begins"
    assert "opwatch-test" in {json.loads(each.body)["data"]["app"] for each in stage.told("/webhook", "opwatch-test")}


def test_on_a_phone_the_search_is_on_the_first_screen_with_what_is_in_flight(browser: Browser, stage: Stage) -> None:
    stage.receiver.script("/ledger", Reply(status=410))
    failed = stage.scalingo.operation("ledger-phone", duration_s=0.1, outcome="error", error=ERROR)
    identity = stage.opwatch.track(failed.url)
    stage.opwatch.wait_for_delivery(identity, "ledger", "dead")
    flying = stage.opwatch.track(stage.scalingo.operation("phone", duration_s=1000).url, notify=[])
    for script in (True, False):
        with visiting(browser, stage, viewport=SMARTPHONE, java_script_enabled=script) as page:
            expect(page.get_by_role("heading", name="Not delivered")).to_be_visible()
            for shown in (page.get_by_role("searchbox"), page.locator("#flying > li").first):
                expect(shown).to_be_in_viewport(ratio=1)
            expect(page.get_by_label("App")).not_to_be_visible()
            page.get_by_text("Filters", exact=True).click()
            page.get_by_label("App").fill('"phone"')
            page.get_by_role("combobox", name="State").select_option("under way")
            page.get_by_role("button", name="Show").click()
            expect(page.locator("li.card")).to_have_count(1)
            expect(page.locator(f"#op-{flying}")).to_be_visible()
            expect(page.get_by_label("App")).to_be_visible()  # what filters is shown


def test_every_page_can_be_read_at_any_width_in_the_dark_and_by_everybody(
    browser: Browser, stage: Stage, tmp_path: Path
) -> None:
    stage.receiver.script("/ledger", Reply(status=410))
    failed = stage.scalingo.operation(f"ledger-{'long-' * 9}", outcome="error", error=ERROR + "x" * 400)
    context = {"actor": "jane", "environment": "production", "url": "https://ci.example.com/17"}
    identity = stage.opwatch.track(failed.url, context=context, group="x" * 120)
    stage.opwatch.wait_for_delivery(identity, "ledger", "dead")
    flying = stage.opwatch.track(stage.scalingo.operation("flying", duration_s=1000).url, context=context, group="half")
    stage.opwatch.track(stage.scalingo.operation("flying-too", duration_s=0.1).url, group="half", group_size=4)
    with redis.Redis.from_url(stage.valkey.url) as connection:
        page_data.fill(Store(connection, retention=timedelta(days=7)), 80)
    axe = Axe()
    pages = {
        "overview": "/",
        "failed": f"/operations/{identity}",
        "flying": f"/operations/{flying}",
        "list": "/?q=jane&delivery=dead",
        "wrong": "/?state=failed,timed_out,lost",
        "fault": f"/?q={'x' * 201}&app=A_B",
        "nothing": "/?q=never-seen",
        "group": "/groups/nightly%20restart",
        "half": "/groups/half",
        "apps": "/apps",
        "targets": "/targets",
        "sign-in": "/sign-in",
    }
    with visiting(browser, stage, viewport=PHONE) as page:
        for name, path in pages.items():
            page.goto(path)
            for width in (320, 390, 768, 1024, 1440):
                page.set_viewport_size({"width": width, "height": 640})
                assert page.evaluate("document.documentElement.scrollWidth") == width, path
                if width in (PHONE["width"], 1440):
                    in_the_light = axe.run(page)
                    assert in_the_light.violations_count == 0, in_the_light.generate_report()
                    page.screenshot(path=tmp_path / f"{name}-{width}.png", full_page=True)
            page.emulate_media(color_scheme="dark")
            in_the_dark = axe.run(page, options={"runOnly": ["color-contrast"]})
            assert in_the_dark.violations_count == 0, in_the_dark.generate_report()
            page.screenshot(path=tmp_path / f"{name}-dark.png", full_page=True)
            page.emulate_media(color_scheme="light", forced_colors="active")
            page.screenshot(path=tmp_path / f"{name}-forced.png", full_page=True)
            page.emulate_media(forced_colors="none")
            page.set_viewport_size(LARGE_TEXT)
            page.evaluate("document.documentElement.style.fontSize = '200%'")
            assert page.evaluate("document.documentElement.scrollWidth") == LARGE_TEXT["width"], path
            narrowest = page.evaluate(
                "Math.min(...[...document.querySelectorAll('h3')].map((each) => each.clientWidth))"
            )
            assert narrowest is None or narrowest > LARGE_TEXT["width"] / 3, "a name stands upright"
            page.screenshot(path=tmp_path / f"{name}-large.png", full_page=True)
