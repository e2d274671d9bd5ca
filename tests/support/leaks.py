"""Searches for secrets in texts, and in everything that a Redis stores or ever wrote to its disk."""

import base64
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import redis


def found(secrets: Iterable[str], texts: Mapping[str, str]) -> list[str]:
    """List the secrets found, in any encoding, as `place: secret`."""
    return [
        f"{place}: {secret}"
        for secret in secrets
        for place, text in texts.items()
        if any(form in text for form in dressed(secret))
    ]


def dressed(secret: str) -> set[str]:
    """Return a secret plain, as URLs, JSON and Python write it, and in base64 at each offset."""
    forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
    forms |= {json.dumps(secret)[1:-1], repr(secret)[1:-1], repr(secret.encode())[2:-1]}
    for before in range(3):
        # Base64 groups three bytes: the text before shifts the secret within its group, and changes its ends.
        coded = base64.b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        forms.add(coded[(0, 2, 3)[before] : len(coded) - 1])
    return forms | {form.replace("+", "-").replace("/", "_") for form in forms}


def kept(connection: redis.Redis) -> str:
    """Return every key and value of a Redis, RQ's compressed ones readable."""
    return "\n".join(_texts(connection))


def written(directory: Path) -> str:
    """Return everything that a server has written below a directory; its append-only file has every change."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return "\n".join(path.read_bytes().decode("latin-1") for path in files)


def _texts(connection: Any) -> Iterator[str]:
    for key in connection.scan_iter():
        yield key.decode("latin-1")
        for value in _values(connection, key):
            yield value.decode("latin-1")
            try:
                yield zlib.decompress(value).decode("latin-1")
            except zlib.error:
                continue


def _values(connection: Any, key: bytes) -> list[bytes]:
    readers: dict[str, Callable[[], Iterable[Any]]] = {
        "string": lambda: [connection.get(key) or b""],
        "hash": lambda: chain(*connection.hgetall(key).items()),
        "list": lambda: connection.lrange(key, 0, -1),
        "set": lambda: connection.smembers(key),
        "zset": lambda: connection.zrange(key, 0, -1),
        "stream": lambda: (part for _, fields in connection.xrange(key) for pair in fields.items() for part in pair),
        "none": list,  # it has expired since it was listed
    }
    kind = connection.type(key).decode()
    assert kind in readers, f"{key!r} is a {kind}: teach this to read it"
    return list(readers[kind]())
