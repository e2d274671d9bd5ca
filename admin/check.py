"""`check`: tests everything that announcing needs, and posts nothing."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from aiohttp import ClientSession

from admin import trackings
from config.redis import connect
from config.settings import Settings
from notifiers import Checkable, Mentioning
from notifiers.targets import Target
from operations.errors import OpwatchError, RateLimitedError
from operations.kind import Kind
from operations.model import Verdict
from operations.storage import Redis, RedisError
from operations.storage.budget import Budget
from operations.storage.health import Health, explain
from operations.storage.heartbeat import Heartbeat
from operations.storage.listing import Listing
from operations.storage.locks import Locks
from operations.storage.maintenance import Maintenance
from operations.storage.overview import Overview
from operations.storage.records import Records
from scalingo.client import Client, Hosts
from workers.deliver import ATTEMPT_WITHIN_S, failure_of
from workers.loop import api_session
from workers.runtime import REDIS_TIMEOUT_S, SharedGate
from workers.session import targets_session

SIGN_IN_WITHIN_S = 30.0
OLDEST_REDIS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one test, and what to do if it failed."""

    level: Literal["ok", "warn", "FAIL"]
    name: str
    what: str

    def __str__(self) -> str:
        """Write the result in one line."""
        return f"{self.level:4}  {self.name}: {self.what}"


async def everything(settings: Settings, faults: Sequence[str]) -> AsyncIterator[Finding]:
    """Test each part separately, even if others fail. `faults` are the faults of the settings."""
    for finding in _settings(settings, faults):
        yield finding
    if settings.redis_url.get_secret_value():
        with connect(settings, timeout_s=REDIS_TIMEOUT_S) as connection:
            for finding in _redis(connection):
                yield finding
            for part in (_workers(connection), _orphans(connection), _deliveries(settings, connection)):
                with suppress(RedisError):  # `_redis` has reported it
                    for finding in part:
                        yield finding
            async for finding in _accounts(settings, faults, connection):
                yield finding
    else:
        yield Finding("warn", "redis, workers and accounts", "not tested: REDIS_URL is wrong or not set")
    async with targets_session(allow_private=settings.allow_private_targets) as http:
        for trying in [asyncio.ensure_future(_target(target, http)) for target in settings.targets.values()]:
            yield await trying


def _settings(settings: Settings, faults: Sequence[str]) -> Iterator[Finding]:
    yield from (Finding("FAIL", "settings", fault) for fault in faults)
    if not faults:
        alerts = f"alerts go to {settings.alert_target}" if settings.alert_target else "no alert target"
        configured = f"accounts {_listed(settings.accounts)}; callers {_listed(settings.tokens)}"
        yield Finding("ok", "settings", f"{configured}; targets {_listed(settings.targets)}; {alerts}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _redis(connection: Redis) -> Iterator[Finding]:
    health = Health(connection)
    try:
        server = health.info("server")
        faults = [*health.storage_faults(), *health.memory_faults(), *health.refusals()]
    except RedisError as error:
        what = f"{explain(error)}: check that it runs, and that REDIS_URL is right on this machine"
        yield Finding("FAIL", "redis", what)
        return
    version = str(server.get("redis_version", OLDEST_REDIS))
    if int(version.partition(".")[0]) < OLDEST_REDIS:
        faults.append(f"Redis is version {version}; at least Redis 5 or Valkey 7.2 is needed")
    yield from (Finding("FAIL", "redis", fault) for fault in faults)
    if not faults and server:
        named = f"Valkey {server['valkey_version']}" if "valkey_version" in server else f"Redis {version}"
        yield Finding("ok", "redis", f"{named} accepts writes and scripts, persists them (AOF) and evicts nothing")
    elif not faults:
        unknown = "it does not tell this user (INFO) whether it persists them and evicts nothing"
        yield Finding("ok", "redis", f"accepts writes and scripts; {unknown}")


def _workers(connection: Redis) -> Iterator[Finding]:
    faults = Health(connection).work_faults()
    yield from (Finding("FAIL", "workers", fault) for fault in faults)
    if not faults:
        yield Finding("ok", "workers", f"{Heartbeat(connection).beats().alive} alive")


def _orphans(connection: Redis) -> Iterator[Finding]:
    """Report orphans: entries without a record, of operations whose outcome cannot be announced."""
    if found := Maintenance(connection, Records(connection)).orphans():
        counts = ", ".join(f"{count} in {key}" for key, count in found.items())
        yield Finding(
            "warn", "orphans", f"{counts}: their records were lost; a worker removes these entries within minutes"
        )


def _deliveries(settings: Settings, connection: Redis) -> Iterator[Finding]:
    """Report failed deliveries: some targets cannot be tested without posting, so only this shows their faults."""
    records = Records(connection)
    if dead := trackings.count_dead(Listing(connection, records)):
        what = "see `list --delivery dead`, fix the cause, then run `retry-dead`"
        yield Finding("warn", "deliveries", f"given up: {trackings.each_of(dead)}; {what}")
    counts = Overview(connection, records).retrying(settings.targets)
    if retrying := {target: count for target, count in counts.items() if count}:
        what = f"failed, will be retried: {trackings.each_of(retrying)}; see `list --delivery retrying`"
        yield Finding("warn", "deliveries", what)
    if not dead and not retrying:
        yield Finding("ok", "deliveries", "none has failed recently")


async def _accounts(settings: Settings, faults: Sequence[str], connection: Redis) -> AsyncIterator[Finding]:
    if any(fault.startswith(("SCALINGO_API_URL", "SCALINGO_AUTH_URL")) for fault in faults):
        yield Finding("warn", "accounts", "not tested: SCALINGO_API_URL or SCALINGO_AUTH_URL is wrong")
        return
    budget = Budget(connection, settings.requests_per_minute)
    async with api_session() as http:
        client = Client(
            http,
            accounts=settings.accounts,
            hosts=Hosts(settings.regions, settings.database_apis, settings.auth_url),
            gate=SharedGate(budget, Locks(connection), "admin"),
        )
        for trying in [asyncio.ensure_future(_account(client, budget, name)) for name in settings.accounts]:
            yield await trying


async def _account(client: Client, budget: Budget, account: str) -> Finding:
    """Sign in. Like every request, this spends the account's budget."""
    name = f"account {account}"
    try:
        async with asyncio.timeout(SIGN_IN_WITHIN_S):
            await client.sign_in.bearer(account)
            share = (await asyncio.to_thread(budget.balance, account)).share
    except TimeoutError:
        said = f"could not sign in within {SIGN_IN_WITHIN_S:.0f} s"
        return Finding("warn", name, f"{said}: the workers use the account's whole budget; try again")
    except RateLimitedError as error:
        await asyncio.to_thread(budget.slow_down, account, error.retry_after_s)
        return Finding("warn", name, f"{error}; others use up the account's 60 requests a minute")
    except OpwatchError as error:
        return Finding("FAIL", name, str(error))
    except RedisError as error:
        return Finding("warn", name, f"not tested: each request is counted in Redis. {explain(error)}")
    if share < 1:
        return Finding("warn", name, f"signed in; after a 429 the rate is at {share:.0%}, and recovers")
    return Finding("ok", name, "signed in")


async def _target(target: Target, http: ClientSession) -> Finding:
    name, notifier, rules = f"target {target.name}", target.notifier, "; ".join(_rules(target))
    if not isinstance(notifier, Checkable):
        what = f"the kind {target.kind} can only be tested by posting: `python -m admin send-test {target.name}`"
        return Finding("warn", name, f"{what}; {rules}")
    checking = asyncio.ensure_future(notifier.check(http))
    failure = await failure_of(checking, ATTEMPT_WITHIN_S)
    if failure is not None:
        return Finding("FAIL", name, str(failure))
    return Finding("ok", name, f"{checking.result()}; {rules}")


def _rules(target: Target) -> Iterator[str]:
    """Say what the target is told, and whom it mentions: `told of failed, recovered`, `apps shop-*`."""
    rule = target.rule
    on = [*(verdict for verdict in Verdict if verdict in rule.on), *("slow",) * rule.slow]
    if rule.recovered and Verdict.SUCCEEDED not in rule.on:
        on.append("recovered")
    yield f"told of {', '.join(on) or 'nothing'}"
    if rule.kinds != frozenset(Kind):
        yield f"kinds {', '.join(kind for kind in Kind if kind in rule.kinds) or 'none'}"
    for name, patterns in (("apps", rule.apps), ("environments", rule.environments)):
        if patterns != ("*",):
            yield f"{name} {', '.join(patterns) or 'none'}"
    if isinstance(target.notifier, Mentioning) and target.notifier.mention is not None:
        verdicts = ", ".join(dict.fromkeys(target.notifier.mention_on)) or "alerts alone"
        yield f"mentions {target.notifier.mention} on {verdicts}"
