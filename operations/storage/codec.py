"""Records as bytes: what is stored is one JSON document."""

from pydantic import TypeAdapter

from operations.errors import NewerRecordError
from operations.model import Tracking

RECORD_VERSION = 1
"""What this code can read and write. A record of a newer version is left alone."""

_WIRE = TypeAdapter(Tracking)


def encode(tracking: Tracking) -> bytes:
    """Write a record for the store: JSON that `decode` reads back as an equal value."""
    return _WIRE.dump_json(tracking, exclude_defaults=True)


def decode(record: bytes) -> Tracking:
    """Read a stored record, passing over unknown fields; raises NewerRecordError when it is not for this version."""
    try:
        tracking = _WIRE.validate_json(record)
    except ValueError as error:
        raise NewerRecordError("a stored record cannot be understood by this version of Opwatch") from error
    if tracking.v > RECORD_VERSION:
        raise NewerRecordError(f"{tracking.id} was written by a newer version of Opwatch, which will see to it")
    return tracking
