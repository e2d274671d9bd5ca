"""Lists the deliveries that a round attempts, the oldest outcome of each target first."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from operator import itemgetter

import structlog

from operations.errors import Reason
from operations.model import Delivery
from operations.storage.index import added
from operations.storage.records import Stored
from operations.storage.tallies import attempt as attempt_counter
from operations.telling import attempts, retries
from workers.runtime import Runtime

log = structlog.get_logger()

Due = tuple[Stored, Delivery]


def due_in_order(runtime: Runtime) -> list[Due]:
    """List the deliveries that are due and that no worker attempts: warnings last, otherwise the oldest outcome first.

    A lease may have run out while Redis was down, although its holder lives and will record its result.
    """
    found: list[Due] = []
    for stored, due in runtime.records.due_deliveries():
        for delivery in stored.tracking.outgoing:
            if delivery.id in due and delivery.claim is None:
                found.append((stored, delivery))
            elif delivery.id in due and runtime.heartbeat.is_settled:
                found += _abandoned(runtime, stored, delivery)
    return sorted(found, key=lambda each: (each[1].warns, retries.since(each[0].tracking, each[1])))


def attempted_now(runtime: Runtime, due: list[Due]) -> Iterator[tuple[Stored, list[Delivery]]]:
    """Yield what is attempted, record by record. At a target that is told one by one, an older message goes first."""
    heads: dict[str, Due] = {}
    for stored, delivery in due:
        target = runtime.targets.get(delivery.target)
        if target is not None and target.notifier.at_once == 1 and not delivery.warns:
            heads.setdefault(target.name, (stored, delivery))
    now, held = runtime.records.now(), set[str]()
    for name, (stored, delivery) in runtime.store.told.oldest_waiting(tuple(heads)).items():
        head, head_delivery = heads[name]
        if retries.since(stored.tracking, delivery) >= retries.since(head.tracking, head_delivery):
            continue
        first = retries.first(head_delivery, delivery, now)
        if first is delivery:
            yield stored, [delivery]
        elif first is None:
            held.add(name)
    yield from _by_record(each for each in due if each[1].target not in held)


def _by_record(due: Iterable[Due]) -> Iterator[tuple[Stored, list[Delivery]]]:
    """Put neighbours of the same record together: they can be claimed at once."""
    for stored, neighbours in groupby(due, key=itemgetter(0)):
        yield stored, [delivery for _, delivery in neighbours]


def _abandoned(runtime: Runtime, stored: Stored, delivery: Delivery) -> list[Due]:
    """Record an attempt whose worker died. Returns the delivery if it is due again."""
    now, policy = runtime.records.now(), runtime.policy(delivery.target)
    record = partial(attempts.abandoned, delivery=delivery, now=now, policy=policy)
    counted = attempt_counter(delivery.target, Reason.OTHER)
    after = runtime.store.update(stored, record, also=(added(counted),))
    if after is None:
        return []
    log.warning(
        "the worker of an attempt died", tracking=stored.tracking.id, delivery=delivery.id, target=delivery.target
    )
    same = (d for d in after.tracking.outgoing if d.id == delivery.id and d.unfinished)
    return [(after, d) for d in same if d.next_attempt_at is not None and d.next_attempt_at <= now]
