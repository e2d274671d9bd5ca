"""Which connection makes room when too many are on their way in. Pure: times go in, a connection comes out."""

from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")

NEW_FOR_S = 1.0
"""One that has been silent for so short a time may only be ahead of its own first bytes."""

MOST_NEW = 50
"""So many such are spared; more of them are a flood that says nothing."""


def makes_room(arriving: Mapping[T, float], is_silent: Callable[[T], bool], now_s: float) -> T:
    """Choose among connections by when they began, the first of them first: one that says nothing, if that is no news.

    Otherwise the first that is in the middle of a request. There has to be at least one.
    """
    silent = [connection for connection in arriving if is_silent(connection)]
    if silent and (len(silent) > MOST_NEW or arriving[silent[0]] <= now_s - NEW_FOR_S):
        return silent[0]
    return next((connection for connection in arriving if not is_silent(connection)), next(iter(arriving)))
