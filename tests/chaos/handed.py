"""One tracked thing of a chaos journey: how it begins in the API, how it is tracked, and the text of its failure."""

import zlib
from dataclasses import dataclass
from typing import Any

from standin.api import OperationHandle, ScalingoApi
from standin.operations import DEFAULT_ERROR
from tests.chaos.plan import Thing

CAUSE = "ModuleNotFoundError: No module named 'psycopg2'"
OUTPUT = f"""
       {CAUSE}
 !     Error deploying the application
 !     → Invalid return code from buildpack
"""


@dataclass
class Handed:
    """A thing with its app, and its tracking's id once it is accepted."""

    app: str
    thing: Thing
    identity: str = ""

    @property
    def state(self) -> str:
        """Its true verdict."""
        return "failed" if self.thing.failure else "succeeded"

    @property
    def deploys(self) -> bool:
        """Whether it is a deployment."""
        return self.thing.kind == "deployment"

    @property
    def addon_id(self) -> str | None:
        """The addon of its database; None if it is about none."""
        return f"{zlib.crc32(self.app.encode()):024x}" if self.thing.kind in ("database", "backup") else None

    def begin(self, scalingo: ScalingoApi) -> OperationHandle:
        """Begin it in the API."""
        return scalingo.operation(
            self.app,
            kind=self.thing.kind,
            addon_id=self.addon_id,
            pending_s=self.thing.pending_s,
            duration_s=self.thing.duration_s,
            outcome=self.thing.failure,
            output=OUTPUT if self.thing.output_bytes else "",
            output_bytes=self.thing.output_bytes,
        )

    def request(self, begun: OperationHandle) -> dict[str, str]:
        """Return the body with which a script tracks it."""
        addon = {} if self.addon_id is None else {"addon_id": self.addon_id}
        return {"operation_url": begun.url, "app": self.app, **addon}

    def event(self, begun: OperationHandle) -> dict[str, Any]:
        """Return the event in which Scalingo tells of it, if it is a deployment."""
        return {"type": "deployment", "app_name": self.app, "type_data": {"deployment_uuid": begun.id}}

    def is_explained(self, tracking: dict[str, Any]) -> bool:
        """Tell whether an ended tracking has the right error text.

        A deployment's is its status if its output is empty, or could not be read because of a fault.
        """
        error: str | None = tracking["operation"]["error"]
        failure = self.thing.failure
        if error is None or not failure:
            return error is None and not failure
        if self.deploys:
            status_only = error == failure and not self.thing.output_bytes
            unread = f"{failure} (its output could not be read"
            return status_only or error.startswith(
                (CAUSE, f"aborted\n\n{CAUSE}", unread) if self.thing.output_bytes else unread
            )
        return error == (failure if self.thing.kind == "backup" or failure == "cancelled" else DEFAULT_ERROR)
