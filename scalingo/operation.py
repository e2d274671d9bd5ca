"""Operations of an app: a restart, a scale, a one-off.

https://developers.scalingo.com/operations
"""

from functools import partial

from scalingo.api_kind import APP, ID, ApiKind, app_paths

OPERATION = ApiKind(
    a_name="an operation",
    url_path=rf"/v1/apps/{APP}/operations/{ID}/?",
    paths=partial(app_paths, word="operations"),
    names=("operation",),
    succeeded=frozenset({"done"}),
    failed=frozenset({"error"}),
    waiting=frozenset({"pending"}),
)
