"""The targets, and whether deliveries to them work."""

from collections.abc import Iterator
from dataclasses import dataclass

from api.service import Service
from operations.model import DeliveryState
from operations.storage.failing import failing_targets
from page import view


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """One target: its kind (empty if it is no longer configured), its health in words, and the last error."""

    name: str
    kind: str
    health: str
    mood: str
    delivered: int
    failing: int
    error: str


def target_rows(parts: Service) -> Iterator[TargetRow]:
    """Yield every target that is configured or has failing deliveries. Raises redis.RedisError if Redis is away."""
    counters, configured = parts.overview.counters(), parts.settings.targets
    failing = failing_targets(parts.connection, parts.records)
    known = {each.target: each for each in view.failing(failing, parts.records.now())}
    for name in sorted({*configured, *known}):
        dead, retrying = (known[name].dead, known[name].retrying) if name in known else (0, 0)
        delivered = counters.get(f"deliveries:{name}:{DeliveryState.DELIVERED}", 0)
        words = [f"{dead:,} given up"] * bool(dead) + [f"{retrying:,} retrying"] * bool(retrying)
        good = ("works", "good") if delivered else ("not used yet", "quiet")
        health, mood = (", ".join(words), "bad" if dead else "odd") if words else good
        yield TargetRow(
            name=name,
            kind=configured[name].kind if name in configured else "",
            health=health,
            mood=mood,
            delivered=delivered,
            failing=dead + retrying,
            error=known[name].error if name in known else "",
        )
