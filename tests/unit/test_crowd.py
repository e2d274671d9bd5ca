"""Which of too many connections makes room."""

import pytest

from server.crowd import MOST_NEW, NEW_FOR_S, makes_room

NOW_S = 1000.0


def chosen(*connections: tuple[str, float]) -> str:
    """Choose among connections that began so many seconds ago; the names of silent ones begin with "silent"."""
    arriving = {name: NOW_S - age_s for name, age_s in connections}
    return makes_room(arriving, lambda name: name.startswith("silent"), NOW_S)


@pytest.mark.parametrize(
    ("connections", "expected"),
    [
        ([("half", 9), ("silent", 5), ("silent-2", 4), ("half-2", 1)], "silent"),
        ([("half", 9), ("silent", NEW_FOR_S), ("half-2", 0)], "silent"),
        ([("half", 9), ("half-2", 8)], "half"),
        ([("half", 9), ("silent", 0.01)], "half"),
        ([("silent", 0.9), ("half", 0.5), ("silent-2", 0)], "half"),
        ([("silent", 0.9), ("silent-2", 0.5)], "silent"),
        ([("half", 9), *((f"silent-{number}", 0.1) for number in range(MOST_NEW))], "half"),
        ([("half", 9), *((f"silent-{number}", 0.1) for number in range(MOST_NEW + 1))], "silent-0"),
    ],
)
def test_silence_makes_room_unless_it_is_new_and_rare(connections: list[tuple[str, float]], expected: str) -> None:
    assert chosen(*connections) == expected
