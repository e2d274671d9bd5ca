"""Live messages through a Slack that fails a quarter of the time, while workers are killed: what does the channel show?

`python -m tests.chaos.live [seed …]` proves for 30 operations a seed that each was told as it ended, a failure with the
mention, and that two messages are about one operation only where Slack's answer to the first was lost.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path

from aiohttp import web

from standin.loopback import LoopbackServer
from tests.journeys.stage import Stage, staged
from tests.journeys.test_live import TARGETS
from tests.support.running import wait_until

OPERATIONS = 30
KILLING_S = 50
MENTION = "<!here>"
FATES = (*["answered"] * 12, "500", "429", "reset", "answer lost", "late")


@dataclass
class Message:
    """One message or reply: all its versions, and whether the answer with its place was lost."""

    texts: list[str]
    thread: str | None
    answer_lost: bool = False


@dataclass
class FlakySlack(LoopbackServer):
    """Keeps messages as Slack does, and answers at random."""

    chance: random.Random
    calls: int = 0
    messages: dict[str, Message] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Accept a message or an edit, or fail."""
        self.calls += 1
        said, fate = json.loads(await request.read()), self.chance.choice(FATES)
        if fate == "500":
            return web.Response(status=500)
        if fate == "429":
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "1"})
        if fate == "reset":
            return _broken(request)
        if request.path.endswith("postMessage"):
            ts = f"{len(self.messages) + 1}.000100"
            message = self.messages[ts] = Message([said["text"]], said.get("thread_ts"))
        else:
            ts, message = said["ts"], None
            self.messages[ts].texts.append(said["text"])
        if fate == "late":
            await asyncio.sleep(2)
        if fate == "answer lost" or request.transport is None or request.transport.is_closing():
            if message is not None:
                message.answer_lost = True
            return _broken(request)
        return web.json_response({"ok": True, "channel": "C1", "ts": ts})


def _broken(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _kill_for(stage: Stage, chance: random.Random, seconds: float) -> int:
    """Kill workers and start them again. Returns how often."""
    until_s, killed = time.monotonic() + seconds, 0
    while time.monotonic() < until_s:
        worker = chance.choice(["worker", "worker-2"])
        time.sleep(chance.uniform(1, 6))
        stage.opwatch.kill(worker)
        killed += 1
        time.sleep(chance.uniform(0, 1))
        stage.opwatch.start(worker)
    return killed


def _told(stage: Stage, identity: str) -> bool:
    """Whether an outcome was delivered. If its backoff is minutes, it is retried by hand."""
    deliveries = stage.opwatch.show(identity)["deliveries"]
    states = [each["state"] for each in deliveries]
    assert "dead" not in states, deliveries
    if "retrying" in states:
        stage.opwatch.request("POST", f"/v1/operations/{identity}/deliveries/deploys/retry")
        time.sleep(3)
    return states == ["delivered"]


def _proven(app: str, state: str, messages: list[Message]) -> int:
    """Check what the channel shows of one operation. Returns the number of its messages."""
    about = [message for message in messages if f" {app}: " in message.texts[0]]
    own = [message for message in about if message.thread is None]
    ended = [message for message in own if f"restart {state} after" in message.texts[-1]]
    assert ended, f"{app} {state}, and nobody was told: {about}"
    assert state != "failed" or any(MENTION in message.texts[-1] for message in about), (
        f"{app} with no mention: {about}"
    )
    assert sum(not message.answer_lost for message in own) <= 1, f"{app} has two messages for no reason: {own}"
    assert all(message.answer_lost for message in own if message not in ended), f"{app} has one that never ends: {own}"
    return len(own)


def run(seed: int) -> str:
    """Run one seed. Returns its result in a line."""
    chance = random.Random(seed)  # noqa: S311 - it is to be repeated, not to be secret
    only_live = {"SLACK_WEBHOOK_URL": "", "WEBHOOK_URL": "", "WEBHOOK_SECRET": ""}
    with tempfile.TemporaryDirectory() as directory, FlakySlack(chance) as slack:
        targets = TARGETS.replace("${RECEIVER_URL}", slack.base_url)
        workers = ("worker", "worker-2")
        with staged(Path(directory), targets=targets, workers=workers, settings=only_live) as stage:
            tracked = {}
            for number in range(OPERATIONS):
                ends_after_s, outcome = chance.uniform(2, KILLING_S), chance.choice(["done", "error"])
                app = f"shop-{number}"
                operation = stage.scalingo.operation(app, duration_s=ends_after_s, outcome=outcome)
                tracked[app] = stage.opwatch.track(operation.url)
            killed = _kill_for(stage, chance, KILLING_S)
            for identity in tracked.values():
                wait_until(partial(_told, stage, identity), timeout_s=300, what=f"the delivery of {identity}")
            states = {app: stage.opwatch.show(identity)["state"] for app, identity in tracked.items()}
        messages = list(slack.messages.values())
    counts = [_proven(app, state, messages) for app, state in states.items()]
    lost = sum(message.answer_lost for message in messages)
    return (
        f"seed {seed}: {OPERATIONS} operations told, {killed} workers killed, {slack.calls} calls, "
        f"{lost} answers to posts lost, {sum(count > 1 for count in counts)} operations with a second message"
    )


if __name__ == "__main__":
    for each in map(int, sys.argv[1:] or ["1", "2"]):
        with redirect_stdout(StringIO()):
            found = run(each)
        print(found, flush=True)
