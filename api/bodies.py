"""Reads request bodies, within limits."""

import json
from codecs import BOM_UTF8
from collections import Counter
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

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
    """Read the body, without a byte order mark. Raises RequestEntityTooLarge, and ProblemError (415) if it is encoded.

    The web server calls the app only once the body has arrived whole, and always gives its length.
    """
    codings = {coding.strip().lower() for coding in request.headers.get("Content-Encoding", "").split(",")}
    if codings - {"", "identity"}:  # RFC 9110, section 15.5.16
        headers = {"Accept-Encoding": "identity"}
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body without Content-Encoding", headers=headers)
    length = request.content_length or 0
    if length > LARGEST_BODY_BYTES:
        raise RequestEntityTooLarge
    body: bytes = request.environ["wsgi.input"].read(length)
    return body.removeprefix(BOM_UTF8)  # RFC 8259, section 8.1


def names_once(body: bytes) -> None:
    """Refuse a JSON body with a repeated name. Raises ProblemError (422).

    RFC 8259, section 4, leaves open what a repeated name means. Attackers can exploit programs that disagree about it.
    """
    _NAMES.decode(body.decode())


def form(body: bytes) -> dict[str, str]:
    """Read the fields of an HTML form. Raises ProblemError (422), with the name of the faulty field."""
    pairs = [[_decoded(part) for part in pair.partition(b"=")[::2]] for pair in body.split(b"&") if pair]
    if pairs and pairs[0][0].lstrip().startswith((b"{", b"[")):
        raise ProblemError.invalid(("", "this looks like JSON: send it with Content-Type: application/json"))
    if len(pairs) > MOST_FIELDS:
        raise ProblemError.invalid(("", f"the form has more than {MOST_FIELDS} fields"))
    fields: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name = raw_name.decode(errors="replace")
        if name in fields:
            raise ProblemError.invalid((name, "is given more than once"))
        try:
            raw_name.decode()
            fields[name] = raw_value.decode()
        except UnicodeDecodeError:
            raise ProblemError.invalid((name, "is not UTF-8")) from None
    return fields


def _decoded(part: bytes) -> bytes:
    return unquote_to_bytes(part.replace(b"+", b" "))
