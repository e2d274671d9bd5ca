"""The targets, and whether deliveries to them work."""

from collections.abc import Iterator

from api.service import Service
from operations.model import DeliveryState
from operations.storage.failing import failing_targets
from page import view


class TargetRow:
    """One target: its kind (empty if it is no longer configured), its health in words, and the last error."""

    def __init__(self, name: str, kind: str, delivered: int, failing: view.Failing | None) -> None:
        dead, retrying = (failing.dead, failing.retrying) if failing else (0, 0)
        words = [f"{dead:,} given up"] * bool(dead) + [f"{retrying:,} retrying"] * bool(retrying)
        good = ("works", "good") if delivered else ("not used yet", "quiet")
        self.name, self.kind, self.delivered = name, kind, delivered
        self.health, self.mood = (", ".join(words), "bad" if dead else "odd") if words else good
        self.failing = dead + retrying
        self.error = failing.error if failing else ""


def target_rows(parts: Service) -> Iterator[TargetRow]:
    """Yield every target that is configured or has failing deliveries. Raises redis.RedisError if Redis is away."""
    counters, configured = parts.overview.counters(), parts.settings.targets
    failing = failing_targets(parts.connection, parts.records)
    known = {each.target: each for each in view.failing(failing, parts.records.now())}
    for name in sorted({*configured, *known}):
        kind = configured[name].kind if name in configured else ""
        yield TargetRow(name, kind, counters.get(f"deliveries:{name}:{DeliveryState.DELIVERED}", 0), known.get(name))
