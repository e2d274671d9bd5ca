"""How the API knows one kind of thing: its address, and the words of its answers."""

from collections.abc import Callable
from dataclasses import dataclass

from operations.model import Tracking, Verdict

APP_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"
ID_PATTERN = r"^[0-9a-f]{24}$"
UUID_PATTERN = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
ADDON_PATTERN = rf"^(ad-{UUID_PATTERN[1:-1]}|{ID_PATTERN[1:-1]})$"

APP, ID, UUID = f"(?P<app>{APP_PATTERN[1:-1]})", f"(?P<id>{ID_PATTERN[1:-1]})", f"(?P<id>{UUID_PATTERN[1:-1]})"
ADDON = f"(?P<addon>{ADDON_PATTERN[1:-1]})"


def app_paths(tracking: Tracking, *, word: str) -> tuple[str, ...]:
    """Return the only path of something of an app; `word` is the route's."""
    return (f"/v1/apps/{tracking.app_id or tracking.app}/{word}/{tracking.operation_id}",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKind:
    """One kind of thing in the API; for people it is `a_name`.

    `url_path` matches the path of its URL. `paths` are those to ask at, below the API's base: the next one if the API
    has no such thing at one. `names` are the fields of an answer that may hold it. Any status that is neither in
    `succeeded` nor `failed` (or ends in `failed_ending`) is unfinished. `type` is used if the API tells none.
    """

    a_name: str
    url_path: str
    paths: Callable[[Tracking], tuple[str, ...]]
    names: tuple[str, ...]
    succeeded: frozenset[str]
    failed: frozenset[str]
    waiting: frozenset[str]
    failed_ending: str | None = None
    type: str | None = None
    id_prefix: str = ""
    in_database_api: bool = False
    status_is_cause: bool = False

    def outcome(self, status: str) -> Verdict | None:
        """Say what a status means; None: it has not ended."""
        if status in self.succeeded:
            return Verdict.SUCCEEDED
        failed = status in self.failed or (self.failed_ending is not None and status.endswith(self.failed_ending))
        return Verdict.FAILED if failed else None
