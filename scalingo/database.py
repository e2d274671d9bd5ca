"""Operations and backups of a database, in the database API.

The sources disagree about their routes, so both are tried: first the one that the URL had.
https://developers.scalingo.com/databases
"""

from functools import partial

from operations.model import Tracking
from scalingo.api_kind import ADDON, ID, ApiKind


def _paths(tracking: Tracking, *, word: str) -> tuple[str, ...]:
    short = f"/api/{word}/{tracking.operation_id}"
    by_addon = f"/api/databases/{tracking.addon_id}/{word}/{tracking.operation_id}"
    return (by_addon, short) if tracking.by_addon else (short, by_addon)


def token_path(tracking: Tracking) -> str:
    """Return the path, in the API, at which a token for the tracking's addon is issued. It lives for an hour."""
    return f"/v1/apps/{tracking.app_id or tracking.app}/addons/{tracking.addon_id}/token"


DATABASE = ApiKind(
    a_name="a database operation",
    url_path=rf"/api(/databases/{ADDON})?/operations/{ID}/?",
    paths=partial(_paths, word="operations"),
    names=("operation",),
    succeeded=frozenset({"finished", "done"}),
    failed=frozenset({"error", "user-error", "cancelled"}),
    waiting=frozenset({"pending"}),
    id_prefix="db-",
    in_database_api=True,
    status_is_cause=True,
)
BACKUP = ApiKind(
    a_name="a backup",
    url_path=rf"/api(/databases/{ADDON})?/backups/{ID}/?",
    paths=partial(_paths, word="backups"),
    names=("database_backup", "backup"),
    succeeded=frozenset({"done"}),
    failed=frozenset({"error", "cancelled"}),
    waiting=frozenset({"scheduled", "pending"}),
    type="backup",
    id_prefix="backup-",
    in_database_api=True,
    status_is_cause=True,
)
