"""Deployments of an app. They have no error field: why one failed is in its output, see `scalingo.output`.

https://developers.scalingo.com/deployments
"""

import re
from functools import partial

from scalingo.api_kind import APP, APP_PATTERN, ID_PATTERN, UUID, ApiKind, app_paths

OTHER_ID = re.compile(rf"/v1/apps/{APP_PATTERN[1:-1]}/deployments/{ID_PATTERN[1:-1]}(/output)?/?")
"""The path of a deployment by its second id, which events have; its answer may have the uuid instead."""


DEPLOYMENT = ApiKind(
    a_name="a deployment",
    url_path=rf"/v1/apps/{APP}/deployments/{UUID}(/output)?/?",
    paths=partial(app_paths, word="deployments"),
    names=("deployment",),
    succeeded=frozenset({"success"}),
    failed=frozenset({"aborted"}),
    failed_ending="-error",
    waiting=frozenset({"queued"}),
    type="deployment",
)
