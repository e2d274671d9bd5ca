"""Bodies that are too large, broken off, or shaped to confuse: a clear problem, and nothing tracked."""

from io import BytesIO

import pytest
from flask import Flask

from operations.storage.store import Store
from tests.integration.bench import problem
from tests.support.running import CALLER_TOKEN

FORM = "application/x-www-form-urlencoded"
WHOLE = b"app=shop&operation_id=aaaaaaaaaaaaaaaaaaaaaaaa"


@pytest.mark.parametrize(
    ("body", "content_type", "environ", "status"),
    [
        (WHOLE + b"&context=x&context.actor=jane", FORM, {}, 422),
        (WHOLE + b"&context.actor=jane&context=x", FORM, {}, 422),
        (WHOLE + b"&app=blog", FORM, {}, 422),
        (WHOLE + b"&group=%ff", FORM, {}, 422),
        (WHOLE + b"&x" * 500, FORM, {}, 422),
        (WHOLE, FORM, {"CONTENT_LENGTH": "90"}, 400),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--", "multipart/form-data; boundary=x", {}, 415),
        (WHOLE + b"&" * 80_000, FORM, {}, 413),
        (WHOLE + b"&" * 80_000, FORM, {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}, 413),
        (b'{"app": "shop"}' + b" " * 80_000, "application/json", {}, 413),
    ],
)
def test_half_or_odd_bodies_are_refused_and_nothing_is_tracked(
    app: Flask, store: Store, body: bytes, content_type: str, environ: dict[str, str], status: int
) -> None:
    answer = app.test_client().post(
        "/v1/operations",
        input_stream=BytesIO(body),
        content_type=content_type,
        headers={"Authorization": f"Bearer {CALLER_TOKEN}"},
        environ_overrides={"CONTENT_LENGTH": str(len(body)), "wsgi.input_terminated": True, **environ},
    )
    problem(answer, status)
    assert store.records.due_trackings() == []
