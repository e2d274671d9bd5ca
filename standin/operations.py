"""The life of a Scalingo operation, deployment, database operation or backup, as a function of time."""

import hashlib
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

Kind = Literal["operation", "deployment", "database", "backup"]

DEFAULT_ERROR = "container web-1 failed to restart"
DEFAULT_OUTPUT = "<-- Start deployment of {app} -->\n       Fetching source code\n-----> Ruby app detected\n"

WAITING = {"operation": "pending", "deployment": "queued", "database": "pending", "backup": "scheduled"}
RUNNING = {"operation": "running", "deployment": "building", "database": "running", "backup": "running"}
DONE = {"operation": "done", "deployment": "success", "database": "finished", "backup": "done"}
"""The API's words for each kind."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Operation:
    """One of them: pending, then running, then its outcome. Raises ValidationError if a field is wrong."""

    id: str
    """24 hex digits; of a deployment, a uuid."""
    app: str
    created_at: float
    """Unix time; `pending_s` and `duration_s` both count from here."""
    type: str = "restart"
    pending_s: float = 0
    duration_s: float | None = 0
    """None: it runs until `finish`."""
    outcome: str = ""
    """The API's word for the end; empty: a success."""
    error: str | None = DEFAULT_ERROR
    """Shown only with the outcome `error`, or `user-error` of a database."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Added to the body, or replacing its fields, in every status."""
    kind: Kind = "operation"
    addon_id: str | None = None
    output: str | None = None
    """The output of a deployment; None: a short one."""
    output_bytes: int = 0
    """The output is filled up in front to so many bytes."""

    @property
    def app_id(self) -> str:
        """The app's own id, 24 hex digits, always the same for the same name."""
        return app_id(self.app)

    def status(self, now: float) -> str:
        """Return the API's word for the state."""
        age_s = now - self.created_at
        if self.duration_s is not None and age_s >= self.duration_s:
            return self.outcome or DONE[self.kind]
        return WAITING[self.kind] if age_s < self.pending_s else RUNNING[self.kind]

    def url(self, base_url: str) -> str:
        """Return its URL, as the answer that began it has it."""
        match self.kind:
            case "deployment":
                return f"{base_url}/v1/apps/{self.app_id}/deployments/{self.id}/output"
            case "database":
                return f"{base_url}/api/operations/{self.id}"
            case "backup":
                return f"{base_url}/api/databases/{self.addon_id}/backups/{self.id}"
        return f"{base_url}/v1/apps/{self.app}/operations/{self.id}"

    def body(self, now: float, base_url: str) -> dict[str, Any]:
        """Return the operation as the API shows it; a field that does not apply is absent, not null."""
        body: dict[str, Any] = {
            "id": self.id,
            "created_at": _date(self.created_at),
            "status": self.status(now),
        }
        over = self.duration_s is not None and now - self.created_at >= self.duration_s
        ended_at = _date(self.created_at + self.duration_s) if over and self.duration_s is not None else None
        match self.kind:
            case "operation":
                body |= {"app_id": self.app_id, "type": self.type, "message": None}
                body |= {"finished_at": ended_at} if over else {}
                body |= {"error": self.error} if over and self.outcome == "error" else {}
            case "deployment":
                links = {"output": self.url(base_url)}
                body |= {"app_id": self.app_id, "finished_at": ended_at, "git_ref": None, "type": "deployment"}
                body |= {"duration": round(self.duration_s or 0) if over else 0, "links": links}
            case "database":
                body |= {"type": self.type, "finished_at": ended_at, "error": self.error if self._failed(now) else None}
            case "backup":
                body |= {"database_id": self.addon_id, "name": None}
        return body | dict(self.extra)

    def whole_output(self) -> bytes:
        """Return the output of a deployment that has ended."""
        whole = (DEFAULT_OUTPUT.format(app=self.app) if self.output is None else self.output).encode()
        filler = b"       Installing dependencies\n"
        missing = max(0, self.output_bytes - len(whole))
        return (filler * (missing // len(filler) + 1))[:missing] + whole

    def _failed(self, now: float) -> bool:
        return self.status(now) in ("error", "user-error")


def new_id() -> str:
    """Return an id as Scalingo makes them: 24 hex digits."""
    return secrets.token_hex(12)


def new_uuid() -> str:
    """Return a deployment's id."""
    return str(uuid.uuid4())


def app_id(app: str) -> str:
    """Return the app's own id, 24 hex digits, always the same for the same name."""
    return hashlib.sha256(app.encode()).hexdigest()[:24]


def begun(app: str, now: float, *, kind: Kind = "operation", **fields: Any) -> Operation:
    """Begin an operation, a deployment, …, with fields of `Operation`; it gets an id of its kind."""
    made = new_uuid() if kind == "deployment" else new_id()
    return Operation(**{"id": made, "app": app, "created_at": now, "kind": kind, **fields})


def _date(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
