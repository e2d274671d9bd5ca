"""Records as bytes: what is stored is one JSON document."""

from dataclasses import replace

from pydantic import TypeAdapter

from operations.errors import NewerRecordError
from operations.model import Delivery, Tracking
from operations.telling.alerts import alert_id
from operations.telling.audience import delivery_id
from operations.telling.live import live_id

RECORD_VERSION = 1
"""What this code can read and write. A record of a newer version is left alone."""

_WIRE = TypeAdapter(Tracking)


def encode(tracking: Tracking) -> bytes:
    """Write a record for the store: JSON that `decode` reads back as an equal value."""
    return _WIRE.dump_json(tracking, exclude_defaults=True, by_alias=True)


def decode(record: bytes) -> Tracking:
    """Read a stored record, passing over unknown fields; raises NewerRecordError when it is not for this version."""
    try:
        tracking = _WIRE.validate_json(record)
    except ValueError as error:
        raise NewerRecordError("a stored record cannot be understood by this version of Opwatch") from error
    if tracking.v > RECORD_VERSION:
        raise NewerRecordError(f"{tracking.id} was written by a newer version of Opwatch, which will see to it")
    return with_ids(tracking) if tracking.outgoing or tracking.live else tracking


def with_ids(tracking: Tracking) -> Tracking:
    """Add the ids that version 0.1.0 did not store with deliveries and live messages."""

    def named(deliveries: tuple[Delivery, ...]) -> tuple[Delivery, ...]:
        return tuple(d if d.id else replace(d, id=_id(tracking, d)) for d in deliveries)

    return replace(
        tracking,
        deliveries=named(tracking.deliveries),
        alerts=named(tracking.alerts),
        slow=tracking.slow and replace(tracking.slow, deliveries=named(tracking.slow.deliveries)),
        live=tuple(m if m.id else replace(m, id=live_id(tracking, m.target, m.run)) for m in tracking.live),
    )


def _id(tracking: Tracking, delivery: Delivery) -> str:
    if delivery.alert is not None:
        return alert_id(tracking, delivery.run, delivery.alert)
    return delivery_id(tracking, delivery.run, delivery.verdict, delivery.target)
