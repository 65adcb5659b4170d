"""The service's Prometheus metrics."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """All counters of one service."""

    def __init__(self) -> None:
        own = self._registry = CollectorRegistry()
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._served: set[tuple[str, ...]] = set()
        self.requests = Counter(
            "augrec_requests", "Requests answered.", ["path", "status"], registry=own
        )
        self.seconds = Histogram(
            "augrec_request_seconds",
            "Seconds from the request to the head of the response.",
            ["path"],
            buckets=_SECONDS,
            registry=own,
        )
        self.in_flight = Gauge("augrec_requests_in_flight", "Requests in progress.", registry=own)
        self.shed = Counter(
            "augrec_requests_shed",
            "Requests refused because too many were in flight.",
            registry=own,
        )
        self.degraded = Counter(
            "augrec_degraded", "Answers with something missing.", ["what"], registry=own
        )
        self.batch = Histogram(
            "augrec_batch_size",
            "Requests ranked together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=own,
        )
        self.events = Counter("augrec_events", "Events received.", ["kind"], registry=own)
        self.swaps = Counter(
            "augrec_model_swaps", "Models put into service.", ["alias"], registry=own
        )
        self.refused = Counter("augrec_model_refused", "Models refused.", ["alias"], registry=own)
        self.registry_errors = Counter(
            "augrec_registry_errors", "Failed polls of the registry.", registry=own
        )
        self.unlogged = Counter(
            "augrec_answers_unlogged", "Answers dropped from the answer log.", registry=own
        )
        self.model = Gauge(
            "augrec_model",
            "1 while this version serves, 0 afterwards.",
            ["alias", "version", "recommender"],
            registry=own,
        )
        self.refusals = Gauge(
            "augrec_model_refusals", "Versions refused at the moment.", registry=own
        )
        self.users = Gauge(
            "augrec_users_in_memory", "Users whose history is in memory.", registry=own
        )
        self.feature_writes = Gauge(
            "augrec_feature_writes_waiting",
            "Users whose features are waiting to be written to the online store.",
            registry=own,
        )

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        kept = self._children.get((path, status))
        if kept is None:
            kept = self._children[path, status] = (
                self.requests.labels(path, str(status)),
                self.seconds.labels(path),
            )
        kept[0].inc()
        kept[1].observe(seconds)

    def count_deployment(self, what: str, alias: str) -> None:
        """Count an event of the deployer: "swap", "refused" or "registry_error"."""
        if what == "swap":
            self.swaps.labels(alias).inc()
        elif what == "refused":
            self.refused.labels(alias).inc()
        else:
            self.registry_errors.inc()

    def set_serving(self, models: Mapping[str, tuple[str, str]]) -> None:
        """Set the (version, recommender) that serves under each alias."""
        now = {(alias, *named) for alias, named in models.items()}
        for labels in self._served - now:
            self.model.labels(*labels).set(0)
        for labels in now:
            self.model.labels(*labels).set(1)
        self._served |= now

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
