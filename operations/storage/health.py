"""Whether Redis and the rounds are in order: what `/readyz`, `admin check` and the dead man's switch report."""

import os
import re
import socket
import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Any

import redis

from operations.storage.clock import milliseconds
from operations.storage.due import DueSets
from operations.storage.heartbeat import Heartbeat
from operations.storage.index import DUE, OUTBOX

STALLED_AFTER_S = 15.0
"""Work that is due is claimed within seconds. If no round has ended for so long, none is done."""

NEARLY_FULL = 0.95

WORKED = "opwatch:worked"
"""Sorted set: when a round last worked on `due`, and on `outbox`."""

_ROUNDS = {DUE: "looks", OUTBOX: "deliveries"}
_WRITTEN = "opwatch:check"
_WRITTEN_FOR_RQ = "rq:opwatch-check"
_RQ_SUSPENDED = "rq:suspended"  # https://python-rq.org/docs/workers/#suspending-and-resuming

_CODES = {
    "READONLY": "refuses writes: it is a read-only replica",
    "OOM": "refuses writes: it is full",
    "MISCONF": "refuses writes: it cannot write to its disk",
    "NOREPLICAS": "refuses writes: too few replicas are connected",
    "MASTERDOWN": "refuses commands: it is a replica that has lost its primary",
    "UNBLOCKED": "refuses commands: it has just become a replica",
    "LOADING": "is loading its data",
    "NOPERM": "refuses a command, a key or a channel: its user lacks a permission",
    "NOAUTH": "refuses commands: REDIS_URL has no password",
    "WRONGPASS": "refuses the user or the password of REDIS_URL",
}
_CODE = re.compile(rf"(?:^|[\s-])({'|'.join(_CODES)})(?:\s|$)")
_FORBIDDEN = re.compile(r"'([a-z|]+)' command")


def error_code(error: redis.RedisError) -> str:
    """Return the code of a server's error that this module can explain, or an empty text.

    Older servers put the code of a script's error into the middle of the text, and redis-py puts the whole command
    before that of a pipeline.
    """
    code: str | None = error.status_code
    if code in _CODES:
        return str(code)
    text = str(error).rpartition("caused error: ")[2]
    if "ACL failure in script" in text:
        return "NOPERM"
    found = _CODE.search(text)
    return "" if found is None else found[1]


def explain(error: redis.RedisError) -> str:
    """Say in a sentence without secrets what is wrong with Redis."""
    code = error_code(error)
    if code:
        forbidden = _FORBIDDEN.search(str(error).rpartition("caused error: ")[2]) if code == "NOPERM" else None
        return f"Redis {_CODES[code]} ({code}{f': {forbidden[1]}' if forbidden else ''})"
    if "max number of clients" in str(error):
        return "Redis refuses connections: it has its maximum number of clients"
    if isinstance(error, redis.ResponseError):
        return f"Redis answers an error ({type(error).__name__})"
    return f"Redis does not answer ({_cause(error)})"


def _cause(error: BaseException) -> str:
    """Name the error below redis-py's: an address, a certificate, a port. It contains no secret."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, OSError):
        found = found.__cause__ or found.__context__
    if found is None or isinstance(found, TimeoutError):
        return type(error).__name__
    if isinstance(found, ssl.SSLCertVerificationError):
        text = found.verify_message.partition(",")[0]  # what follows names the host
    elif isinstance(found, socket.gaierror):
        text = str(found.strerror)
    else:
        text = os.strerror(found.errno) if found.errno else ""
    return f"{type(found).__name__}: {text}" if text else type(found).__name__


class Health:
    """Asks Redis. Every method raises redis.RedisError if Redis is away."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis: Any = connection  # redis-py types every answer as bytes or str; without decoding they are bytes
        self._due = DueSets(connection)
        self._heartbeat = Heartbeat(connection)

    def info(self, section: str) -> dict[str, Any]:
        """Read facts about the server; none if the provider does not let this user ask."""
        try:
            return dict(self._redis.info(section))
        except redis.ResponseError:
            return {}

    def storage_faults(self) -> list[str]:
        """List what may make this Redis lose acknowledged writes: no append-only file, or eviction of keys.

        Facts that a provider hides do not count as faults.
        """
        persistence, memory = self.info("persistence"), self.info("memory")
        faults = []
        if persistence.get("aof_enabled") == 0:
            faults.append("Redis has no append-only file (AOF): a crash of Redis loses trackings; enable AOF")
        if persistence.get("aof_last_write_status", "ok") != "ok":
            faults.append("Redis could not write its append-only file; check its disk")
        policy = memory.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            faults.append(f"Redis may evict keys (maxmemory-policy {policy}); set it to noeviction")
        return faults

    def memory_faults(self) -> list[str]:
        """Say that Redis will soon refuse writes, from 95 % of `maxmemory` under `noeviction`."""
        memory = self.info("memory")
        most = memory.get("maxmemory", 0)
        share = memory.get("used_memory", 0) / most if most else 0.0
        if not NEARLY_FULL <= share <= 1 or memory.get("maxmemory_policy") != "noeviction":
            return []  # above 1, `refusals` says it
        return [f"Redis is nearly full ({share:.0%} of maxmemory): then it refuses writes; give it more memory"]

    def refusals(self) -> list[str]:
        """Try a write, a write to RQ's keys, and a script, as the service needs them. List what was refused."""
        attempts: tuple[Callable[[], Any], ...] = (
            lambda: self._redis.set(_WRITTEN, 1, px=1000),
            lambda: self._redis.set(_WRITTEN_FOR_RQ, 1, px=1000),
            lambda: self._due.list(DUE, 0, 1),
        )
        refused: dict[str, None] = {}
        for attempt in attempts:
            try:
                attempt()
            except redis.ResponseError as error:
                refused[explain(error)] = None
        return list(refused)

    def obstacles(self) -> list[str]:
        """List what keeps rounds from being done, or their results from being stored."""
        return self.refusals() or self.work_faults()  # if writes are refused, so are heartbeats: workers may well run

    def work_faults(self) -> list[str]:
        """Say that no worker runs, or that none does rounds."""
        if not self._heartbeat.has_worker():
            return ["no worker sends heartbeats: start one (on a PaaS, scale `worker` to 1)"]
        if self._redis.exists(_RQ_SUSPENDED):
            return ["RQ is suspended, so no operation is looked at or announced: run `rq resume`"]
        faults = []
        for key, name in _ROUNDS.items():
            now_ms, first = self._due.list(key, 0, 1)
            worked_ms = self._redis.zscore(WORKED, key) or 0.0
            oldest = min(abs(now_ms - at_ms) for at_ms in (worked_ms, *(score for _, score in first)))
            if first and oldest > STALLED_AFTER_S * 1000:
                faults.append(f"no round of {name} is done, although one is due: read the workers' log")
        return faults

    def worked(self, key: str, now: datetime) -> None:
        """Store that a round has worked on `due` or `outbox`."""
        self._redis.zadd(WORKED, {key: milliseconds(now)})
