"""Metrics for Prometheus, read from what all processes share: true across processes and restarts.

https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from api.service import Service
from operations.model import DeliveryState, State

LOOK_RESULTS = ("answered", "Transient", "RateLimited", "SignInRejected", "AccessRefused", "OperationMissing")


class Collector:
    """Reads the shared counters when Prometheus asks; every series is there from the start, at zero."""

    def __init__(self, parts: Service) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """Give every family."""
        counters, accounts = self._parts.store.counters(), self._parts.settings.accounts
        in_flight = self._parts.store.in_flight()
        tracking = GaugeMetricFamily("opwatch_operations_in_flight", "Operations being watched", labels=["account"])
        budget = GaugeMetricFamily("opwatch_budget_tokens", "Requests that may be made at once", labels=["account"])
        share = GaugeMetricFamily("opwatch_budget_share", "Share of the full rate of requests", labels=["account"])
        for account in accounts:
            tracking.add_metric([account], in_flight.get(account, 0))
            budget.add_metric([account], self._parts.budget.left(account))
            share.add_metric([account], self._parts.budget.share(account))
        yield tracking
        yield budget
        yield share
        yield GaugeMetricFamily(
            "opwatch_deliveries_unfinished", "Deliveries not finished", self._parts.store.outbox_size()
        )
        retrying = GaugeMetricFamily("opwatch_deliveries_retrying", "Deliveries failed so far", labels=["target"])
        for target, count in self._parts.store.retrying(self._parts.settings.targets).items():
            retrying.add_metric([target], count)
        yield retrying
        yield GaugeMetricFamily(
            "opwatch_worker_up", "Whether a worker's clock beats", int(self._parts.presence.has_worker())
        )
        outcomes = CounterMetricFamily("opwatch_outcomes", "Trackings ended", labels=["state"])
        for state in (each for each in State if each is not State.TRACKING):
            outcomes.add_metric([state.value], counters.get(f"outcomes:{state}", 0))
        yield outcomes
        looks = CounterMetricFamily("opwatch_looks", "Looks at operations", labels=["result"])
        for result in LOOK_RESULTS:
            looks.add_metric([result], counters.get(f"looks:{result}", 0))
        yield looks
        deliveries = CounterMetricFamily("opwatch_deliveries", "Deliveries finished", labels=["target", "state"])
        for target in self._parts.settings.targets:
            for ended in (DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.SKIPPED):
                deliveries.add_metric([target, ended.value], counters.get(f"deliveries:{target}:{ended}", 0))
        yield deliveries


def render(parts: Service) -> tuple[bytes, str]:
    """Write all metrics, and say their content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(parts))
    return generate_latest(registry), CONTENT_TYPE_LATEST
