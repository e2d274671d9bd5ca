"""The kinds of things that are tracked, and where people find more about one."""

from dataclasses import dataclass
from enum import StrEnum

GROUP_PREFIX = "group-"
"""The ids of groups begin with it; those of what is tracked begin with a region."""


class Kind(StrEnum):
    """What is tracked: an operation of an app, a deployment, or an operation or a backup of a database."""

    OPERATION = "operation"
    DEPLOYMENT = "deployment"
    DATABASE = "database"
    BACKUP = "backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where people find more: Scalingo's page with the logs, and Opwatch's page of the tracking. None if unknown."""

    logs: str | None = None
    story: str | None = None


NO_LINKS = Links()
