"""What is counted for the operator, by the fields of one hash that all processes add to. Pure.

Whatever records an event adds to its counters in the same script, so that none is lost or counted twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_BEYOND = "+Inf"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations by one label, counted in buckets up to each of `bounds_s` and one beyond, with their sum."""

    name: str
    bounds_s: tuple[float, ...]

    def additions(self, label: str, took_s: float) -> Iterator[tuple[str, int]]:
        """List what one duration adds to which field; the sum is in milliseconds, since fields are whole numbers."""
        bound = next((f"{bound_s:g}" for bound_s in self.bounds_s if took_s <= bound_s), _BEYOND)
        yield f"{self.name}:{label}:{bound}", 1
        yield f"{self.name}:{label}:ms", round(took_s * 1000)

    def read(self, counters: Mapping[str, int], label: str) -> tuple[list[tuple[str, float]], float]:
        """Give, as Prometheus wants them, each bucket with how many took at most so long, and the sum in seconds."""
        buckets, so_far = [], 0
        for bound in (*(f"{bound_s:g}" for bound_s in self.bounds_s), _BEYOND):
            so_far += counters.get(f"{self.name}:{label}:{bound}", 0)
            buckets.append((bound, float(so_far)))
        return buckets, counters.get(f"{self.name}:{label}:ms", 0) / 1000


DETECTION = Histogram("detection", (0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 900))
DWELL = Histogram("dwell", (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400))


def attempt(target: str, reason: str) -> str:
    """Name the counter of attempts to deliver to a target that ended for this reason."""
    return f"attempts:{target}:{reason}"
