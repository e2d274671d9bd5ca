"""Glances at all apps or deployments of an account, so that looks go to what has probably ended: only hints."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import redis
import structlog

from operations.errors import OpwatchError, RateLimitedError, TransientError
from operations.storage.glances import BYTES_OF_A_REQUEST, Glanced, Place
from operations.watching.glances import merged
from scalingo.listing import Listed
from workers.runtime import LOOK_DEADLINE_S, Runtime

log = structlog.get_logger()

LOCK_S = int(LOOK_DEADLINE_S) + 5


@dataclass(frozen=True, slots=True)
class Glance:
    """A glance to make, after what is known; the token for it was granted at `granted_at_s`."""

    place: Place
    known: Glanced
    lock: str
    granted_at_s: float = 0.0


def lock_of(place: Place) -> str:
    """Name the lock that lets one worker at a time glance at a place."""
    return f"glance:{place}"


async def glance(runtime: Runtime, wanted: Glance) -> None:
    """Glance once, store what it shows, and start a round of looks if something is no longer busy."""
    try:
        seen = await _ask(runtime, wanted)
        if isinstance(seen, RateLimitedError):
            await runtime.slow_down(wanted.place.account, seen)
        with suppress(redis.RedisError):  # what it shows would be old once Redis is back
            await asyncio.to_thread(_store, runtime, wanted, seen)
    finally:
        with suppress(redis.RedisError):  # the lock runs out by itself
            await asyncio.to_thread(runtime.locks.release, lock_of(wanted.place), wanted.lock)


async def _ask(runtime: Runtime, wanted: Glance) -> Listed | OpwatchError:
    try:
        async with asyncio.timeout(LOOK_DEADLINE_S):
            return await runtime.client.glance(*wanted.place, granted_at_s=wanted.granted_at_s)
    except OpwatchError as error:
        return error
    except TimeoutError:
        return TransientError(f"no answer within {LOOK_DEADLINE_S:.0f} s")


def _store(runtime: Runtime, wanted: Glance, seen: Listed | OpwatchError) -> None:
    """Store what a glance shows. Blocks: call it in a thread, since even the time may be asked of Redis."""
    place, now = wanted.place, runtime.records.now()
    about = place._asdict() | {"source": place.source.value}  # logs in text would show the enum
    if isinstance(seen, OpwatchError):
        runtime.glances.save(place, wanted.known.failed(now), {"failed": 1})
        log.warning("glances rest", **about, error=str(seen))
        return
    sights = merged(wanted.known.sights, seen.shown, now)
    turned = {id(app) for name, app in seen.shown.items() if sights[name].busy_at and sights[name].idle_since == now}
    cost = seen.requests + seen.size / BYTES_OF_A_REQUEST
    runtime.glances.save(place, Glanced(sights, now, cost), {"answered": 1, "revealed": len(turned)})
    log.info("glanced", **about, shown=len(seen.shown), revealed=len(turned))
    if turned:
        runtime.looks_due.ring()
