"""Operations of an app: a restart, a scale, a one-off.

https://developers.scalingo.com/operations
"""

from operations.model import Tracking
from scalingo.api_kind import APP, ID, ApiKind


def _paths(tracking: Tracking) -> tuple[str, ...]:
    return (f"/v1/apps/{tracking.app_id or tracking.app}/operations/{tracking.operation_id}",)


OPERATION = ApiKind(
    a_name="an operation",
    url_path=rf"/v1/apps/{APP}/operations/{ID}/?",
    paths=_paths,
    names=("operation",),
    succeeded=frozenset({"done"}),
    failed=frozenset({"error"}),
    waiting=frozenset({"pending"}),
)
