"""The life of a Scalingo operation, as a function of time."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

Outcome = Literal["done", "error"]
DateStyle = Literal["Z", "+00:00", "+02:00"]

DEFAULT_ERROR = "container web-1 failed to restart"
RESTART_PENDING_S = 1.0
RESTART_DURATION_S = 5.0


@dataclass(frozen=True)
class Operation:
    """One operation: pending, then running, then its outcome."""

    id: str
    """24 hex digits."""
    app: str
    created_at: float
    """Unix time; `pending_s` and `duration_s` both count from here."""
    type: str = "restart"
    pending_s: float = 0
    duration_s: float | None = 0
    """None: it runs until `finish`."""
    outcome: Outcome = "done"
    error: str | None = DEFAULT_ERROR
    """Shown only with the outcome `error`."""
    running_status: str = "running"
    """The API's word for running: clients must treat unknown words as unfinished."""
    pending_finished_at: bool = False
    """Whether it has a `finished_at` while still pending, as in the documented example."""
    dates: DateStyle = "Z"
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Added to the body, or replacing its fields, in every status."""

    @property
    def app_id(self) -> str:
        """The app's own id, 24 hex digits, always the same for the same name."""
        return hashlib.sha256(self.app.encode()).hexdigest()[:24]

    def status(self, now: float) -> str:
        """Return the API's word for the state."""
        age_s = now - self.created_at
        if self.duration_s is not None and age_s >= self.duration_s:
            return self.outcome
        return "pending" if age_s < self.pending_s else self.running_status

    def body(self, now: float) -> dict[str, Any]:
        """Return the operation as the API shows it; a field that does not apply is absent, not null."""
        status = self.status(now)
        body: dict[str, Any] = {
            "id": self.id,
            "app_id": self.app_id,
            "created_at": self._date(self.created_at),
            "status": status,
            "type": self.type,
            "message": None,
        }
        if status == self.outcome and self.duration_s is not None:
            body["finished_at"] = self._date(self.created_at + self.duration_s)
            if status == "error":
                body["error"] = self.error
        elif status == "pending" and self.pending_finished_at:
            body["finished_at"] = self._date(self.created_at + self.pending_s)
        return body | dict(self.extra)

    def _date(self, unix_time: float) -> str:
        zone = timezone(timedelta(hours=2)) if self.dates == "+02:00" else UTC
        text = datetime.fromtimestamp(unix_time, zone).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z") if self.dates == "Z" else text


def new_id() -> str:
    """Return an id as Scalingo makes them: 24 hex digits."""
    return secrets.token_hex(12)


def restart(app: str, action: str, now: float) -> Operation:
    """Return the operation of a restart or a scale: pending for 1 s, done after 5 s."""
    return Operation(
        new_id(), app, created_at=now, type=action, pending_s=RESTART_PENDING_S, duration_s=RESTART_DURATION_S
    )
