"""Reads request bodies, within limits."""

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
    """Read the body. Raises RequestEntityTooLarge.

    The web server calls the app only once the body has arrived whole, and always gives its length.
    """
    length = request.content_length or 0
    if length > LARGEST_BODY_BYTES:
        raise RequestEntityTooLarge
    body: bytes = request.environ["wsgi.input"].read(length)
    return body


def names_once(body: bytes) -> None:
    """Refuse a JSON body with a repeated name. Raises ProblemError (422).

    RFC 8259, section 4, leaves open what a repeated name means. Attackers can exploit programs that disagree about it.
    """
    _NAMES.decode(body.decode())


def form(body: bytes) -> dict[str, list[str]]:
    """Read the fields of an HTML form. Raises ProblemError (422) if it is not UTF-8, or has too many fields."""
    try:
        return parse_qs(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise ProblemError.invalid(("", f"the form has more than {MOST_FIELDS} fields, or is not UTF-8")) from error
