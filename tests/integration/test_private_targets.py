"""No message goes to a private address: checked at the sockets, with real rounds and the worker's session."""

import socket
from collections import deque
from collections.abc import Callable

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from operations.model import Delivery, DeliveryState
from operations.storage.store import Store
from standin.api import ScalingoApi
from tests.integration.bench import BROKEN, NO_OTHER_TARGETS, OPERATION_ID, Caller, found, seen
from tests.integration.rounds import hold
from tests.support.receiver import Receiver, Reply
from tests.support.running import WEBHOOK_SECRET, wait_until
from tests.support.trap import Trap
from workers.deliver import delivery_round
from workers.look import look_round
from workers.runtime import Runtime

IDENTITY = f"osc-fr1-{OPERATION_ID}"
NEVER_ASSIGNED = "3ffe::1"
"""Of the former 6bone (RFC 3701): public by the guard's table, but unused."""

URLS = {
    "v4": "https://127.0.0.1:{port}/",
    "v4-metadata": "https://169.254.169.254:{port}/latest/meta-data",
    "v4-private": "https://10.0.0.1:{port}/",
    "v4-unspecified": "https://0.0.0.0:{port}/",
    "v6": "https://[::1]:{port}/",
    "v6-long": "https://[0:0:0:0:0:0:0:1]:{port}/",
    "v6-unspecified": "https://[::]:{port}/",
    "v6-mapped": "https://[::ffff:127.0.0.1]:{port}/",
    "v6-mapped-hex": "https://[::ffff:7f00:1]:{port}/",
    "v6-compatible": "https://[::127.0.0.1]:{port}/",
    "v6-nat64": "https://[64:ff9b::7f00:1]:{port}/",
    "v6-nat64-local": "https://[64:ff9b:1::7f00:1]:{port}/",
    "v6-6to4": "https://[2002:7f00:1::1]:{port}/",
    "v6-teredo": "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]:{port}/",
    "v6-ula": "https://[fd00::1]:{port}/",
    "v6-link-local-zone": "https://[fe80::1%25lo]:{port}/",
    "v6-loopback-zone": "https://[::1%25lo]:{port}/",
    "v6-multicast": "https://[ff02::1]:{port}/",
    "name": "https://localhost:{port}/",
    "name-upper": "HTTPS://LOCALHOST:{port}/",
    "name-dot": "https://private.example.:{port}/",
    "name-two-addresses": "https://both.example:{port}/",
    "name-mixed": "https://mixed.example:{port}/",
    "name-mixed-turned": "https://turned.example:{port}/",
    "name-mapped": "https://mapped.example:{port}/",
    "name-circled": "https://ⓛocalhost:{port}/",
    "decimal": "https://2130706433:{port}/",
    "octal": "https://0177.0.0.1:{port}/",
    "octal-whole": "https://017700000001:{port}/",
    "hex": "https://0x7f.0.0.1:{port}/",
    "hex-whole": "https://0x7f000001:{port}/",
    "short": "https://127.1:{port}/",
    "zero": "https://0:{port}/",
    "v4-dot": "https://127.0.0.1.:{port}/",
    "v4-fullwidth": "https://１２７.0.0.1:{port}/",  # noqa: RUF001 - the point of it
    "v4-circled": "https://①②⑦.0.0.1:{port}/",
    "v4-ideographic-dots": "https://127。0。0。1:{port}/",
    "userinfo": "https://good.example@127.0.0.1:{port}/",
    "userinfo-password": "https://good.example:443@127.0.0.1:{port}/",
    "userinfo-after-path": "https://127.0.0.1:{port}/@good.example",
    "userinfo-in-fragment": "https://127.0.0.1:{port}#@good.example/",
    "userinfo-backslash": "https://127.0.0.1:{port}\\\\@good.example/",
}
NAMES = {
    "private.example.": [["127.0.0.1"]],
    "both.example": [["127.0.0.1", "::1"]],
    "mixed.example": [[NEVER_ASSIGNED, "127.0.0.1"]],
    "turned.example": [["127.0.0.1", NEVER_ASSIGNED]],
    "mapped.example": [["::ffff:127.0.0.1"]],
    "rebound.example": [[NEVER_ASSIGNED], ["127.0.0.1"]],
}
"""The answers to look-ups; the last one repeats. The system resolves other names."""


class Scripted(AbstractResolver):
    """A DNS that an attacker owns."""

    def __init__(self) -> None:
        self._answers = {name: deque(answers) for name, answers in NAMES.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        answers = self._answers.get(host)
        if answers is None:
            return await ThreadedResolver().resolve(host, port, family)
        now = answers.popleft() if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in now
        ]

    async def close(self) -> None:
        """Hold nothing."""


Run = Callable[[str, str], Runtime]
GUARDED, OPEN = "false", "true"
"""The setting OPWATCH_ALLOW_PRIVATE_TARGETS."""


@pytest.fixture
def run(start_worker: Callable[..., Runtime]) -> Run:
    """Return a function that starts a worker's parts with these targets, with or without the guard."""

    def start(targets: str, allow_private: str) -> Runtime:
        guard = {"OPWATCH_ALLOW_PRIVATE_TARGETS": allow_private}
        return start_worker(targets, resolver=Scripted(), **NO_OTHER_TARGETS, **guard)

    return start


def webhook(name: str, url: str) -> str:
    return f'[targets.{name}]\nkind = "webhook"\nurl = "{url}"\nsecret = "{WEBHOOK_SECRET}"\n'


def slack(name: str, url: str) -> str:
    return f'[targets.{name}]\nkind = "slack"\nwebhook_url = "{url}"\n'


def bot(name: str, url: str) -> str:
    return f'[targets.{name}]\nkind = "slack"\nbot_token = "xoxb-1"\nchannel = "C1"\napi_url = "{url}"\n'


def mail(name: str, host: str, port: int) -> str:
    addresses = 'from = "a@example.com"\nto = "b@example.com"'
    return f'[targets.{name}]\nkind = "email"\nhost = "{host}"\nport = {port}\n{addresses}\n'


def told(store: Store, caller: Caller, runtime: Runtime) -> dict[str, Delivery]:
    """Let an operation fail. Returns each target's delivery."""
    caller.track()
    seen(store, IDENTITY, BROKEN, runtime.settings.rules)
    return attempted(store, 1)


def attempted(store: Store, attempts: int) -> dict[str, Delivery]:
    """Run rounds until so many attempts of each delivery have ended. On a busy machine, late claims are released."""

    def ended() -> tuple[Delivery, ...]:
        deliveries = found(store, IDENTITY).tracking.deliveries
        over = all(d.claim is None and d.attempts >= attempts and d.state != "pending" for d in deliveries)
        return deliveries if over else ()

    return {d.target: d for d in hold(delivery_round, ended, "the attempts")}


def test_whatever_the_url_nobody_dials_a_private_address(caller: Caller, store: Store, run: Run, trap: Trap) -> None:
    targets = {name: url.format(port=trap.port) for name, url in URLS.items()}
    text = "".join(webhook(name, url) for name, url in targets.items())
    for kind in (slack, bot):
        for name in ("v4", "v6-mapped", "name", "decimal"):
            text += kind(f"{kind.__name__}-{name}", targets[name])
    hosts = ("127.0.0.1", "::1", "::ffff:7f00:1", "localhost", "LOCALHOST", "2130706433", "0x7f.1", "0")
    text += "".join(mail(f"mail-{number}", host, trap.port) for number, host in enumerate(hosts))
    deliveries = told(store, caller, run(text, GUARDED))
    assert len(deliveries) == len(URLS) + 8 + len(hosts)
    assert trap.caught == 0
    assert {
        name: d.last_error for name, d in deliveries.items() if "refused by Opwatch" not in (d.last_error or "")
    } == {}
    counters = store.overview.counters()
    assert [name for name in deliveries if not counters.get(f"attempts:{name}:guard")] == []
    # A URL that the client cannot use never works: the delivery is given up, and says what to do.
    dead = {name for name, d in deliveries.items() if d.state is DeliveryState.DEAD}
    assert dead == {
        "decimal", "octal", "octal-whole", "short", "zero", "v4-dot", "userinfo-backslash",
        "slack-decimal", "bot-decimal",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["webhook", "email"])
def test_without_the_guard_the_same_address_is_dialled(
    caller: Caller, store: Store, run: Run, trap: Trap, kind: str
) -> None:
    url = URLS["v4"].format(port=trap.port)
    runtime = run(webhook("v4", url) if kind == "webhook" else mail("v4", "127.0.0.1", trap.port), OPEN)
    caller.track()
    seen(store, IDENTITY, BROKEN, runtime.settings.rules)
    delivery_round()
    wait_until(lambda: trap.caught, what="a connection: the trap works")


def test_a_name_that_moves_to_a_private_address_is_refused_there(
    caller: Caller, store: Store, run: Run, trap: Trap
) -> None:
    runtime = run(webhook("rebound", f"https://rebound.example:{trap.port}/"), GUARDED)
    first = told(store, caller, runtime)["rebound"]
    assert "refused" not in (first.last_error or "")  # the address is public, although unused
    connector = runtime.loop.targets.connector
    connector.clear_dns_cache()
    assert caller.request("POST", f"/v1/operations/{IDENTITY}/deliveries/rebound/retry").status_code == 202
    second = attempted(store, 2)["rebound"]
    assert "refused by Opwatch: 127.0.0.1" in (second.last_error or "")
    assert trap.caught == 0


def test_no_redirect_is_followed_wherever_it_leads(
    caller: Caller, store: Store, run: Run, trap: Trap, receiver: Receiver
) -> None:
    text = ""
    for status in (301, 302, 303, 307, 308):
        for place, location in (("away", f"http://127.0.0.1:{trap.port}/"), ("back", receiver.url("/landing"))):
            for kind in (webhook, slack, bot):
                name = f"{kind.__name__}-{status}-{place}"
                path = f"/{name}" + ("/chat.postMessage" if kind is bot else "")
                receiver.script(path, Reply(status, "ok", {"Location": location}))
                text += kind(name, receiver.url(f"/{name}"))
    deliveries = told(store, caller, run(text, OPEN))
    assert len(deliveries) == 30
    assert trap.caught == 0
    assert [request for request in receiver.requests if request.path == "/landing"] == []
    for name, delivery in deliveries.items():
        assert delivery.state is DeliveryState.RETRYING, name
        assert "redirect" in (delivery.last_error or "") or name.split("-")[1] in (delivery.last_error or ""), name


@pytest.mark.parametrize("allow_private", [GUARDED, OPEN])
def test_no_proxy_of_the_environment_is_asked(  # noqa: PLR0913, PLR0917 - it takes all of the stage
    caller: Caller,
    store: Store,
    run: Run,
    trap: Trap,
    receiver: Receiver,
    scalingo: ScalingoApi,
    monkeypatch: pytest.MonkeyPatch,
    allow_private: str,
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        for spelt in (name, name.lower()):
            monkeypatch.setenv(spelt, f"http://127.0.0.1:{trap.port}")
    for spelt in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(spelt, raising=False)
    base = "https://private.example." if allow_private == GUARDED else receiver.base_url
    run(webhook("webhook", base) + slack("slack", base) + bot("bot", f"{base}/api"), allow_private)
    receiver.script("/api/chat.postMessage", Reply(200, '{"ok": true}', {"Content-Type": "application/json"}))
    operation = scalingo.operation(outcome="error")
    caller.track(operation_url=operation.url)
    identity = f"osc-fr1-{operation.id}"

    def looked_at() -> bool:
        look_round()
        return found(store, identity).tracking.ended_at is not None

    wait_until(looked_at, what="the look")
    delivery_round()
    state = "retrying" if allow_private == GUARDED else "delivered"
    wait_until(
        lambda: {d.state.value for d in found(store, identity).tracking.deliveries} == {state},
        what=f"all being {state}",
    )
    assert len(found(store, identity).tracking.deliveries) == 3
    assert trap.caught == 0
