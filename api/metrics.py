"""Metrics for Prometheus, read from Redis: they hold for all processes, and survive restarts.

https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import product

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from api.openapi import VERSION
from api.service import Service
from operations.errors import Reason
from operations.kind import Kind
from operations.model import DeliveryState, State
from operations.storage.glances import glances_counter, hints_counter
from operations.storage.index import OUTBOX
from operations.storage.tallies import DETECTION, DWELL, ORPHANS, attempt
from operations.watching import looks
from operations.watching.glances import Word

OVERDUE = timedelta(seconds=60)


class Collector:
    """Reads the shared numbers when Prometheus asks. Every series exists from the start, with 0.

    Label values come from the settings and from this code, so their number is bounded.
    """

    def __init__(self, parts: Service) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        counters = self._parts.overview.counters()
        build = GaugeMetricFamily("opwatch_build_info", "The version of the process that answers", labels=["version"])
        build.add_metric([VERSION], 1)
        yield build
        yield from self._accounts()
        yield from self._outbox()
        yield CounterMetricFamily(
            "opwatch_orphans_removed", "Index entries and announcements of no record", counters.get(ORPHANS, 0)
        )
        yield from self._due()
        yield from self._workers()
        yield from self._looks(counters)
        yield from self._deliveries(counters)

    def _accounts(self) -> Iterator[Metric]:
        accounts = self._parts.settings.accounts
        budget = self._parts.budget.balances(accounts)
        in_flight, rejected = self._parts.overview.in_flight(), self._parts.account_alerts.rejected(accounts)

        def each(family: GaugeMetricFamily, value: Callable[[str], float]) -> Metric:
            for account in accounts:
                family.add_metric([account], value(account))
            return family

        yield each(
            GaugeMetricFamily("opwatch_operations_in_flight", "Operations in flight", labels=["account"]),
            lambda account: in_flight.get(account, 0),
        )
        yield each(
            GaugeMetricFamily("opwatch_budget_tokens", "Requests that may be sent now", labels=["account"]),
            lambda account: budget[account].tokens,
        )
        yield each(
            GaugeMetricFamily("opwatch_budget_share", "Share of the full rate of requests", labels=["account"]),
            lambda account: budget[account].share,
        )
        yield each(
            GaugeMetricFamily("opwatch_account_rejected", "Whether the API token is rejected", labels=["account"]),
            lambda account: account in rejected,
        )

    def _outbox(self) -> Iterator[Metric]:
        overview = self._parts.overview
        yield GaugeMetricFamily("opwatch_deliveries_unfinished", "Deliveries not finished", overview.size(OUTBOX))
        retrying = GaugeMetricFamily("opwatch_deliveries_retrying", "Deliveries to be retried", labels=["target"])
        for target, count in overview.retrying(self._parts.settings.targets).items():
            retrying.add_metric([target], count)
        yield retrying

    def _due(self) -> Iterator[Metric]:
        looks, deliveries = self._parts.overview.overdue(OVERDUE)
        yield GaugeMetricFamily("opwatch_looks_overdue", "Looks due for more than 60 s", looks.count)
        yield GaugeMetricFamily("opwatch_oldest_due_look_seconds", "How long the oldest has been due", looks.oldest_s)
        yield GaugeMetricFamily("opwatch_deliveries_overdue", "Deliveries due for more than 60 s", deliveries.count)
        yield GaugeMetricFamily(
            "opwatch_oldest_due_delivery_seconds", "How long the oldest has been due", deliveries.oldest_s
        )

    def _workers(self) -> Iterator[Metric]:
        alive, last_beat_s = self._parts.heartbeat.beats()
        yield GaugeMetricFamily("opwatch_worker_up", "Whether a worker sends heartbeats", int(alive > 0))
        yield GaugeMetricFamily("opwatch_workers", "Workers that send heartbeats", alive)
        yield GaugeMetricFamily("opwatch_worker_last_beat_timestamp_seconds", "Time of the last heartbeat", last_beat_s)

    def _looks(self, counters: dict[str, int]) -> Iterator[Metric]:
        outcomes = CounterMetricFamily("opwatch_outcomes", "Trackings ended", labels=["state"])
        by_kind = CounterMetricFamily("opwatch_outcomes_by_kind", "Trackings ended", labels=["kind", "state"])
        for state in (each for each in State if each is not State.TRACKING):
            outcomes.add_metric([state.value], counters.get(f"outcomes:{state}", 0))
            for kind in Kind:
                by_kind.add_metric([kind.value, state.value], counters.get(f"outcomes-by-kind:{kind}:{state}", 0))
        yield from (outcomes, by_kind)
        seen = CounterMetricFamily("opwatch_looks", "Looks at operations", labels=["result"])
        for result in looks.RESULTS:
            seen.add_metric([result], counters.get(f"looks:{result}", 0))
        yield seen
        yield from self._glances(counters)
        detection = HistogramMetricFamily(
            "opwatch_detection_delay_seconds", "From an operation's end until Opwatch saw it", labels=["account"]
        )
        for account in self._parts.settings.accounts:
            detection.add_metric([account], *DETECTION.read(counters, account))
        yield detection

    def _glances(self, counters: dict[str, int]) -> Iterator[Metric]:
        made = CounterMetricFamily("opwatch_glances", "Glances at an account", labels=["account", "result"])
        turned = CounterMetricFamily("opwatch_revealed", "What a glance saw no longer busy", labels=["account"])
        hints = CounterMetricFamily(
            "opwatch_hints",
            "Looks that showed whether the glance before was right",
            labels=["account", "word", "right"],
        )
        for account in self._parts.settings.accounts:
            for result in ("answered", "failed"):
                made.add_metric([account, result], counters.get(glances_counter(account, result), 0))
            turned.add_metric([account], counters.get(glances_counter(account, "revealed"), 0))
            for word, right in product(Word, (True, False)):
                count = counters.get(hints_counter(account, word, right=right), 0)
                hints.add_metric([account, word.value, "yes" if right else "no"], count)
        yield from (made, turned, hints)

    def _deliveries(self, counters: dict[str, int]) -> Iterator[Metric]:
        ended = CounterMetricFamily("opwatch_deliveries", "Deliveries finished", labels=["target", "state"])
        attempts = CounterMetricFamily(
            "opwatch_delivery_attempts", "Attempts to deliver, by result", labels=["target", "reason"]
        )
        dwell = HistogramMetricFamily(
            "opwatch_dwell_seconds", "From an outcome being stored until it was delivered", labels=["target"]
        )
        for target in self._parts.settings.targets:
            for state in (DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.SKIPPED):
                ended.add_metric([target, state.value], counters.get(f"deliveries:{target}:{state}", 0))
            for reason in Reason:
                attempts.add_metric([target, reason.value], counters.get(attempt(target, reason), 0))
            dwell.add_metric([target], *DWELL.read(counters, target))
        yield from (ended, attempts, dwell)


def render(parts: Service) -> tuple[bytes, str]:
    """Return all metrics as text, and their content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(parts))
    return generate_latest(registry), CONTENT_TYPE_LATEST
