"""Operations such as a team has in a week, for pictures and tests of the page; and `docs/page.png`.

`python -m tests.support.page_data FILE [count [width [dark]]]` draws the overview as a PNG.
"""

import os
import random
import shutil
import sys
import tempfile
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from playwright.sync_api import sync_playwright
from werkzeug.serving import make_server

from local.valkey import Valkey
from operations.history import Attempt, Looks
from operations.kind import Kind
from operations.model import Delivery, DeliveryState, Operation, State, Tracking, Usual, Verdict
from operations.storage.heartbeat import Heartbeat
from operations.storage.store import Store

_APPS = ("shop", "shop-eu", "blog", "cart", "search-api", "billing", "docs", "staging-shop")
_PEOPLE = ("jane", "omar", "li.wei", "ci-bot")
_ERRORS = (
    "container web-1 failed to start: listen tcp :5000: bind: address already in use",
    "src/cart.ts(14,7): error TS2322: Type 'string' is not assignable to type 'number'.\nbuild failed",
    'hook exited with 1:\npsycopg.errors.UndefinedColumn: column "vat" does not exist\nLINE 1: SELECT vat FROM orders',
)
_IN_FLIGHT = 6
_TOKEN = "for-a-picture-only-0123456789"  # noqa: S105 - it opens nothing


def fill(store: Store, count: int, *, target: str = "slack") -> None:
    """Store `count` trackings: a few in flight, a group, and the others ended within the last week."""
    chance, now = random.Random(7), store.records.now()  # noqa: S311 - not for secrets
    for number in range(count):
        flying = number < min(_IN_FLIGHT, count // 4)
        app, median_s = chance.choice(_APPS), chance.choice((15.0, 25.0, 190.0))
        usual = Usual(p50=median_s, p90=median_s * 1.4, samples=20)
        took_s = round(chance.lognormvariate(0, 0.25) * median_s, 1)
        began = now - timedelta(seconds=took_s * (0.2 * number if flying else 1) + 0.0)
        if not flying:
            began -= timedelta(days=6.5 * ((number - 5) / max(count, 60)) ** 1.3)
        state = State.TRACKING if flying else chance.choices(list(State)[1:], (90, 7, 1, 1, 1))[0]
        store.add(_tracking(chance, number, app, state, usual, began, took_s, target))
    for number in range(min(count // 8, 12)):
        began, state = now - timedelta(seconds=70 - 2 * number), State.FAILED if number == 2 else State.SUCCEEDED
        made = _tracking(chance, count + number, f"tenant-{number}", state, None, began, 30.0 + number, target)
        store.add(replace(made, group="nightly restart", group_size=min(count // 8, 12)))


def _tracking(  # noqa: PLR0913, PLR0917 - one row
    chance: random.Random,
    number: int,
    app: str,
    state: State,
    usual: Usual | None,
    began: datetime,
    took_s: float,
    target: str,
) -> Tracking:
    identity, ended = f"{number + 0x5ED11F2C884F:024x}", state is not State.TRACKING
    deployment = usual is not None and usual.p50 > 60
    outcome = Verdict(state) if state in (State.SUCCEEDED, State.FAILED) else None
    ended_at = began + timedelta(seconds=took_s) if ended else None
    made = Tracking(
        id=f"osc-fr1-{identity}",
        app=app,
        operation_id=identity,
        region="osc-fr1",
        account="default",
        created_at=began,
        created_by="ci",
        timeout_s=3600,
        next_look_at=None if ended else began + timedelta(days=1),
        context={
            "actor": chance.choice(_PEOPLE),
            "environment": "staging" if app.startswith("staging") else "production",
            "commit": f"{chance.getrandbits(28):07x}",
            "url": f"https://ci.example.com/{number}",
        },
        state=state,
        operation=Operation(
            status="running" if not ended else "done",
            outcome=outcome,
            type="deployment" if deployment else chance.choice(("restart", "scale")),
            error=chance.choice(_ERRORS) if state is State.FAILED else None,
        ),
        kind=Kind.OPERATION,
        polls=4,
        looks=(Looks(what="running", first_at=began + timedelta(seconds=1), times=4),),
        ended_at=ended_at,
        duration_s=took_s if ended else None,
        usual=usual,
        reason="no end was seen within 1 h" if state is State.TIMED_OUT else None,
        cancelled_by="jane" if state is State.CANCELLED else None,
        caller_counted=True,
    )
    if ended_at is None or outcome is None:
        return made
    dead = number % 29 == 28
    history = (Attempt(at=ended_at, error="410 Gone" if dead else None),)
    delivery = Delivery(
        id=f"{made.id}_1_{outcome}_{target}", target=target, run=1, verdict=outcome, attempts=1, history=history,
        state=DeliveryState.DEAD if dead else DeliveryState.DELIVERED, ended_at=ended_at,
        last_error="410 Gone" if dead else None,
    )  # fmt: skip
    return replace(made, deliveries=(delivery,))


def draw(path: str, *, count: int, width: int, dark: bool, height: int | None = None) -> bytes:
    """Draw a page in Chromium, from a server of its own."""
    from app import create_app  # noqa: PLC0415 - it reads the environment

    with tempfile.TemporaryDirectory() as directory, Valkey(Path(directory)) as valkey:
        os.environ |= {
            "REDIS_URL": valkey.url, "OPWATCH_TOKENS": f"jane:{_TOKEN}", "SCALINGO_API_TOKEN": "tk-us-x",
            "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0/B0/x", "LOG_LEVEL": "ERROR",
        }  # fmt: skip
        app = create_app()
        store = app.extensions["opwatch"].store
        fill(store, count)
        Heartbeat(app.extensions["opwatch"].connection).beat("worker", store.records.now())
        server = make_server("localhost", 0, app, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page(
                base_url=f"http://localhost:{server.port}",
                viewport={"width": width, "height": height or 800},
                color_scheme="dark" if dark else "light",
                timezone_id="Europe/Paris",
            )
            page.goto(f"/sign-in?next={path}")
            page.get_by_label("Token").fill(_TOKEN)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_load_state("networkidle")
            picture = page.screenshot(full_page=height is None)
            browser.close()
        server.shutdown()
    return picture


if __name__ == "__main__":
    file, count, width, dark = [*sys.argv[1:], *("docs/page.png", "60", "1440", "")[len(sys.argv) - 1 :]]
    Path(file).write_bytes(draw("/", count=int(count), width=int(width), dark=bool(dark), height=1000))
