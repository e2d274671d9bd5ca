"""`python -m admin`: commands for a running Opwatch. They use the same settings as `web` and `worker`."""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from admin import check, environment, trackings
from config import streams
from config.redis import connect
from config.settings import Settings, examine, load
from notifiers import Notifier, Previewable, editing
from notifiers.targets import Target
from operations.errors import ConfigError, NewerRecordError, OpwatchError
from operations.model import DeliveryState, State
from operations.storage import Redis, RedisError
from operations.storage.store import Store
from operations.telling import sample, view
from operations.telling.announcement import Announcement
from workers.deliver import ATTEMPT_WITHIN_S, failure_of
from workers.doorbell import Round, enqueue
from workers.runtime import REDIS_TIMEOUT_S
from workers.session import targets_session

_EPILOG = """\
exit codes: 0 no problem, 1 a problem (it is printed), 2 the command line is wrong

On Scalingo: scalingo --app my-opwatch run python -m admin check
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command. Returns the exit code."""
    parser = _parser()
    try:
        return _carry_out(parser, parser.parse_args(arguments))
    except BrokenPipeError:  # the reader has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its end
        return 0
    except OSError as error:
        with suppress(OSError):
            print(f"the output could not be written: {error.strerror}", file=sys.stderr)
    return 1


def _carry_out(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    if given.command == "check":
        return asyncio.run(_check(as_json=given.json))
    if given.command in ("send-test", "preview"):
        return _message(parser, given)
    try:
        settings = load(environment.read())
        with closing(connect(settings, timeout_s=REDIS_TIMEOUT_S)) as connection:
            store = Store(connection, retention=timedelta(days=settings.retention_days))
            if given.command == "list":
                return _list(given, store)
            if given.command == "cancel":
                return _cancel(given, store)
            return _retry_dead(parser, given, settings, store, connection)
    except ConfigError as error:
        _say_faults(error.faults)
    except NewerRecordError as error:
        print(error, file=sys.stderr)
    except RedisError as error:
        print(f"Redis fails ({type(error).__name__}); see python -m admin check", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m admin",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")

    checking = command("check", "check settings, Redis, workers, accounts and targets; posts nothing")
    sending = command("send-test", "send one test message to a target; ignores its rules and stores nothing")
    previewing = command("preview", "print the message for a target (an HTTP body, or a text); sends nothing")
    for each, default in ((sending, "succeeded"), (previewing, "failed")):
        each.add_argument("target", help="its name")
        each.add_argument("--verdict", choices=sample.KINDS, default=default, help="default: %(default)s")
    listing = command("list", "list operations, newest first")
    listing.add_argument("--app", help="only operations of this app; * stands for any text")
    listing.add_argument("--state", choices=[*map(str, State)], help="only operations in this state")
    listing.add_argument(
        "--delivery", choices=[*map(str, DeliveryState)], help="only operations with a delivery in this state"
    )
    listing.add_argument("--group", help="only operations of this group")
    listing.add_argument(
        "--limit", type=_positive, default=50, help="maximum number of operations (default: %(default)s)"
    )
    retrying = command("retry-dead", "retry deliveries that were given up, now; safe to repeat")
    retrying.add_argument("target", nargs="?", help="only deliveries to this target (default: all configured targets)")
    cancelling = command("cancel", "cancel the tracking of an operation, which continues; nobody is told how it ended")
    cancelling.add_argument("id", help="its id, as `list` shows it")
    for each in (checking, listing, retrying):
        each.add_argument("--json", action="store_true", help="for scripts")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a number from 1")
    return int(text)


async def _check(*, as_json: bool) -> int:
    settings, faults = examine(environment.read())
    findings = []
    async for finding in check.everything(settings, faults):
        findings.append(finding)
        if not as_json:
            print(finding, flush=True)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    return int(any(finding.level == "FAIL" for finding in findings))


def _message(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    """Send or preview a message; only the target's settings have to be right."""
    settings, faults = examine(environment.read(required=False))
    if faults and given.target not in settings.targets:
        _say_faults(faults)
        print(_unknown(given.target, settings), file=sys.stderr)
        return 1
    target = _known(parser, given.target, settings)
    announcement = sample.outcome(given.verdict, target.name, settings.region, datetime.now(UTC))
    if given.command == "send-test":
        return _send_test(target, announcement, settings)
    if isinstance(target.notifier, Previewable):
        print(target.notifier.preview(announcement))
        return 0
    print(f"the kind {target.kind} has no preview", file=sys.stderr)
    return 1


def _send_test(target: Target, announcement: Announcement, settings: Settings) -> int:
    """Send the message through the target's notifier, and print the result; nothing is stored."""
    begun_s = time.monotonic()
    failure = asyncio.run(_sent(target.notifier, announcement, settings))
    took_s = time.monotonic() - begun_s
    if failure is None:
        print(f"ok    target {target.name}: accepted the test message in {took_s:.1f} s")
        return 0
    print(f"FAIL  target {target.name}: {failure}")
    return 1


async def _sent(notifier: Notifier, announcement: Announcement, settings: Settings) -> OpwatchError | None:
    """Tell the target the same way as for an operation: if its messages are live, show the progress first."""

    async def told() -> None:
        live = editing(notifier)
        if live is None:
            await notifier.send(announcement, http)
        else:
            posted = await live.show(sample.running(announcement), None, http)
            await live.follow_up(announcement, posted, http)

    async with targets_session(allow_private=settings.allow_private_targets) as http:
        return await failure_of(told(), ATTEMPT_WITHIN_S)


def _say_faults(faults: Sequence[str]) -> None:
    print("Correct these settings:", *(f"  - {fault}" for fault in faults), sep="\n", file=sys.stderr)


def _list(given: argparse.Namespace, store: Store) -> int:
    found = trackings.listed(store.listing, given)
    if given.json:
        print(json.dumps([view.as_json(tracking) for tracking in found], indent=2))
        return 0
    print(*trackings.table(found, store.records.now()), sep="\n")
    if len(found) == given.limit:
        print(f"(the newest {given.limit}; --limit shows more)", file=sys.stderr)
    return 0


def _retry_dead(
    parser: argparse.ArgumentParser,
    given: argparse.Namespace,
    settings: Settings,
    store: Store,
    connection: Redis,
) -> int:
    targets = settings.targets if given.target is None else [_known(parser, given.target, settings).name]
    retried = trackings.retry_dead(store, connection, targets)
    if retried:
        enqueue(connection, Round.DELIVER)
    dead = {} if given.target else trackings.count_dead(store.listing)
    left = {target: count for target, count in dead.items() if target not in settings.targets}
    if given.json:
        print(json.dumps({"retried": retried, "left": left}))
        return 0
    print(f"{retried.total()} will be retried: {trackings.each_of(retried)}" if retried else "no delivery was given up")
    if left:
        print(f"not retried, because these targets are not configured: {trackings.each_of(left)}")
    return 0


def _known(parser: argparse.ArgumentParser, name: str, settings: Settings) -> Target:
    if name not in settings.targets:
        parser.error(_unknown(name, settings))
    return settings.targets[name]


def _unknown(name: str, settings: Settings) -> str:
    return f"no target is named {name!r}; configured: {', '.join(sorted(settings.targets))}"


def _cancel(given: argparse.Namespace, store: Store) -> int:
    if fault := trackings.cancel(store, given.id):
        print(fault, file=sys.stderr)
        return 1
    print(f"cancelled {given.id}")
    return 0


if __name__ == "__main__":
    streams.hold()
    sys.exit(main())
