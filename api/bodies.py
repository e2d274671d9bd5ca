"""Request bodies: read once, and no larger than what is taken."""

import json
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from api.problems import ProblemError
from config.web import LARGEST_BODY_BYTES

MOST_FIELDS = 200


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ProblemError.invalid((name, "is given more than once"))


_NAMES = json.JSONDecoder(object_pairs_hook=_once, parse_int=str, parse_float=str)


def read() -> bytes:
    """Read the body; raises a problem when it is too large. The web server has it whole, and knows its length."""
    length = request.content_length or 0
    if length > LARGEST_BODY_BYTES:
        raise RequestEntityTooLarge
    body: bytes = request.environ["wsgi.input"].read(length)
    return body


def names_once(body: bytes) -> None:
    """Raise a problem when an object gives a name twice, in a body that is known to be JSON.

    RFC 8259, section 4, leaves the meaning open; programs that disagree about it can be played off against each other.
    """
    _NAMES.decode(body.decode())


def form(body: bytes) -> dict[str, list[str]]:
    """Read the fields of an HTML form; raises a problem when it is not text in UTF-8, or has far too many."""
    try:
        return parse_qs(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise ProblemError.invalid(
            ("", f"the form cannot be read: more than {MOST_FIELDS} fields, or no UTF-8")
        ) from error
