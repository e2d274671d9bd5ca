"""One chaos journey: hundreds of operations, deployments, … are tracked while everything around them fails."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import redis

from local.valkey import Valkey
from standin import faults
from standin.api import DEFAULT_TOKENS, OperationHandle, ScalingoApi
from tests.chaos.handed import Handed
from tests.chaos.plan import CALMING, Event, plan, things
from tests.chaos.targets import FailingTargets
from tests.support.receiver import Receiver
from tests.support.redis_proxy import RedisProxy
from tests.support.running import Opwatch, wait_until

REQUESTS_PER_MINUTE = 600
WORKERS = ("worker", "worker-2")
TARGETS = """
    [targets.ledger]
    kind = "webhook"
    url = "${LEDGER_URL}"
    secret = "${WEBHOOK_SECRET}"
    """
EVENTS_SECRET = "an-events-secret-for-chaos-only"  # noqa: S105 - it opens nothing
CALLERS = 4
FAR_AWAY_S = 40.0
"""Longer than a lease. Deliveries due later are retried by hand at the end, so that the journey ends."""


@dataclass
class Journey:
    """One running journey. `happened` has each event with its unix time."""

    seed: int
    seconds: float
    appendfsync: Literal["everysec", "always"]
    handed: list[Handed]
    valkey: Valkey
    proxy: RedisProxy
    scalingo: ScalingoApi
    targets: FailingTargets
    opwatch: Opwatch
    happened: list[tuple[float, Event]] = field(default_factory=list)
    calm_at: float = 0.0
    hurried: int = 0

    def run(self) -> None:
        """Track all operations during the faults, and end the faults."""
        started_at = time.time()
        callers = [threading.Thread(target=self._call, args=(started_at, n), daemon=True) for n in range(CALLERS)]
        for caller in callers:
            caller.start()
        for event in plan(self.seed, self.seconds):
            time.sleep(max(0.0, started_at + event.at_s - time.time()))
            self._do(event)
            self.happened.append((time.time(), event))
        self._calm()
        for caller in callers:
            caller.join(60)

    def keep_running(self) -> None:
        """Start what has ended, as a PaaS does."""
        for name in ("web", *WORKERS):
            self.opwatch.start(name)

    @contextmanager
    def redis(self) -> Iterator[Any]:
        """Connect to the server itself."""
        with redis.Redis.from_url(self.valkey.url) as connection:
            yield connection

    def hurry(self, shown: dict[str, Any]) -> None:
        """Retry by hand the deliveries whose backoff is minutes."""
        soon = time.time() + FAR_AWAY_S
        for delivery in shown["deliveries"]:
            at = delivery["next_attempt_at"]
            if delivery["state"] == "retrying" and unix_time(at) > soon:
                path = f"/v1/operations/{shown['id']}/deliveries/{delivery['target']}/retry"
                self.hurried += self.opwatch.request("POST", path).status == 202  # another status if it was delivered

    def _call(self, started_at: float, number: int) -> None:
        for each in self.handed[number::CALLERS]:
            time.sleep(max(0.0, started_at + each.thing.at_s - time.time()))
            begun = each.begin(self.scalingo)
            while not each.identity:
                with suppress(OSError, HTTPException):
                    self._send(each, begun)
                time.sleep(0 if each.identity else 0.2)

    def _send(self, each: Handed, begun: OperationHandle) -> None:
        """Send it once, as a deploy script and Scalingo's notifier do. An event of a deployment hurries the look."""
        if not each.thing.by_event:
            answer = self.opwatch.post(each.request(begun), timeout_s=10)
            assert answer.status in (200, 202, 503), answer
            each.identity = answer.json()["id"] if answer.status != 503 else ""
        if each.deploys:
            event = each.event(begun)
            answer = self.opwatch.request("POST", f"/v1/scalingo/{EVENTS_SECRET}", event, token=None, timeout_s=10)
            assert answer.status in (204, 503), answer
            if each.thing.by_event and answer.status == 204:
                each.identity = f"osc-fr1-{begun.id}"

    def _do(self, event: Event) -> None:
        acts: dict[str, Callable[[], object]] = {
            "kill": lambda: self.opwatch.kill(event.what),
            "kill at a command": lambda: self._kill_at_a_command(event),
            "kill at a message": lambda: self.targets.on_next(lambda: self.opwatch.kill(event.what)),
            "start": lambda: self.opwatch.start(event.what),
            "stop": lambda: self.opwatch.terminate(event.what),
            "freeze": lambda: self.opwatch.freeze(event.what),
            "wake": lambda: self.opwatch.wake(event.what),
            "kill Redis": self.valkey.kill,
            "start Redis": self.valkey.launch,
            "delay Redis": lambda: setattr(self.proxy, "delay_s", 0.05 * event.amount),
            "cut Redis": self.proxy.cut,
            "reset Redis": self.proxy.reset,
            "mend Redis": self._mend,
            "flush RQ": self._flush,
            "API down": self.scalingo.stop,
            "API up": self._api_up,
            "API fault": lambda: self._api_fault(event),
            "API well": self.scalingo.clear_faults,
            "expire bearers": self.scalingo.expire_bearers,
        }
        acts[event.act]()

    def _kill_at_a_command(self, event: Event) -> None:
        """Kill the worker at the moment when it sends one of its next scripts to Redis."""
        left = iter(range(round(event.amount)))
        self.proxy.watch(
            lambda chunk: b"EVALSHA" in chunk and next(left, None) is None, lambda: self.opwatch.kill(event.what)
        )

    def _mend(self) -> None:
        self.proxy.delay_s = 0.0
        self.proxy.mend()

    def _flush(self) -> None:
        with suppress(redis.RedisError), self.redis() as connection:
            connection.delete("rq:queue:opwatch-look", "rq:queue:opwatch-deliver")

    def _api_up(self) -> None:
        with suppress(RuntimeError):  # it runs already: two outages overlapped
            self.scalingo.start()

    def _api_fault(self, event: Event) -> None:
        arguments = {"hang": (event.amount * 2,), "slow": (event.amount,), "drip": (0.02,), "rate_limited": (1,)}
        self.scalingo.fault(getattr(faults, event.what)(*arguments.get(event.what, ())), times=None)

    def _calm(self) -> None:
        """End every fault; the targets' only after a refusal, however late the first message is."""
        self._mend()
        self._api_up()
        self.scalingo.clear_faults()
        self.valkey.start()
        for name in ("web", *WORKERS):
            self.opwatch.wake(name)
        wait_until(self._refused, timeout_s=60, what="a message that a target refuses")
        self.targets.failing = False
        self.calm_at = time.time()

    def _refused(self) -> int:
        self.keep_running()
        return self.targets.refused


def unix_time(rfc3339: str) -> float:
    """Read a time as the API writes it."""
    return datetime.fromisoformat(rfc3339).timestamp()


@contextmanager
def staged(seed: int, directory: Path, *, operations: int, seconds: float) -> Iterator[Journey]:
    """Set up one seed; odd ones use `appendfsync always`."""
    appendfsync: Literal["everysec", "always"] = "always" if seed % 2 else "everysec"
    handed = [Handed(f"chaos-{seed}-{number}", thing) for number, thing in enumerate(things(seed, operations, seconds))]
    valkey = Valkey(directory / "data", appendfsync=appendfsync)
    with (
        valkey,
        RedisProxy(urlsplit(valkey.url).path) as proxy,
        ScalingoApi(DEFAULT_TOKENS, limit=None) as scalingo,
        FailingTargets(seed) as targets,
        Receiver() as unused,
        Opwatch(
            valkey.url,
            scalingo,
            unused,
            settings={
                "OPWATCH_EVENTS_SECRET": EVENTS_SECRET,
                "SCALINGO_REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE),
                "SLACK_WEBHOOK_URL": f"{targets.base_url}/slack",
                "WEBHOOK_URL": f"{targets.base_url}/webhook",
                "LEDGER_URL": f"{targets.base_url}/ledger",
            },
            targets=TARGETS,
            workers=WORKERS,
            own={"worker": {"REDIS_URL": proxy.url}},
        ) as opwatch,
    ):
        yield Journey(seed, seconds, appendfsync, handed, valkey, proxy, scalingo, targets, opwatch)


def faults_in(journey: Journey) -> list[tuple[float, Event]]:
    """List the faults, without the events that ended them."""
    return [(at, event) for at, event in journey.happened if event.act not in CALMING]
