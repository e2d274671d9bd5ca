"""Bodies that are too large or confusing: a clear problem, and nothing is tracked."""

import pytest
from flask import Flask

from operations.storage.store import Store
from tests.integration.bench import problem
from tests.support.running import CALLER_TOKEN

FORM = "application/x-www-form-urlencoded"
WHOLE = b"app=shop&operation_id=aaaaaaaaaaaaaaaaaaaaaaaa"


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (WHOLE + b"&context=x&context.actor=jane", FORM, 422),
        (WHOLE + b"&context.actor=jane&context=x", FORM, 422),
        (WHOLE + b"&app=blog", FORM, 422),
        (WHOLE + b"&group=%ff", FORM, 422),
        (WHOLE + b"&x" * 500, FORM, 422),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--", "multipart/form-data; boundary=x", 415),
        (WHOLE + b"&" * 80_000, FORM, 413),
        (b'{"app": "shop"}' + b" " * 80_000, "application/json", 413),
    ],
)
def test_odd_bodies_are_refused_and_nothing_is_tracked(
    app: Flask, store: Store, body: bytes, content_type: str, status: int
) -> None:
    answer = app.test_client().post(
        "/v1/operations",
        data=body,
        content_type=content_type,
        headers={"Authorization": f"Bearer {CALLER_TOKEN}"},
    )
    problem(answer, status)
    assert store.records.due_trackings() == []
