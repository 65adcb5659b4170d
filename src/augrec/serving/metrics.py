"""What the service counts, in Prometheus' format."""

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
            "Time from the request's head to the answer's.",
            ["path"],
            buckets=_SECONDS,
            registry=own,
        )
        self.in_flight = Gauge(
            "augrec_requests_in_flight", "Requests being answered.", registry=own
        )
        self.shed = Counter(
            "augrec_requests_shed",
            "Requests turned away because too many were in flight.",
            registry=own,
        )
        self.degraded = Counter(
            "augrec_degraded", "Answers that lacked something.", ["what"], registry=own
        )
        self.batch = Histogram(
            "augrec_batch_size",
            "Requests ranked together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=own,
        )
        self.events = Counter("augrec_events", "Events received.", ["kind"], registry=own)
        self.swaps = Counter(
            "augrec_model_swaps", "Models that took over.", ["alias"], registry=own
        )
        self.refused = Counter(
            "augrec_model_refused", "Models that were kept out.", ["alias"], registry=own
        )
        self.registry_errors = Counter(
            "augrec_registry_errors", "Polls that the registry did not answer.", registry=own
        )
        self.unlogged = Counter(
            "augrec_answers_unlogged", "Answers that the log could not take.", registry=own
        )
        self.model = Gauge(
            "augrec_model",
            "1 while this version serves, 0 afterwards.",
            ["alias", "version", "recommender"],
            registry=own,
        )
        self.refusals = Gauge("augrec_model_refusals", "Versions kept out now.", registry=own)
        self.users = Gauge(
            "augrec_users_in_memory", "Users whose history is in memory.", registry=own
        )
        self.feature_writes = Gauge(
            "augrec_feature_writes_waiting", "Users to write to the online store.", registry=own
        )

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        kept = self._children.get((path, status))
        if kept is None:
            kept = self._children[path, status] = (
                self.requests.labels(path, str(status)),
                self.seconds.labels(path),
            )
        kept[0].inc()
        kept[1].observe(seconds)

    def deployed(self, what: str, alias: str) -> None:
        """Count what the deployer tells."""
        if what == "swap":
            self.swaps.labels(alias).inc()
        elif what == "refused":
            self.refused.labels(alias).inc()
        else:
            self.registry_errors.inc()

    def serving(self, models: Mapping[str, tuple[str, str]]) -> None:
        """Say which (version, recommender) serves under each alias."""
        now = {(alias, *named) for alias, named in models.items()}
        for labels in self._served - now:
            self.model.labels(*labels).set(0)
        for labels in now:
            self.model.labels(*labels).set(1)
        self._served |= now

    def render(self) -> bytes:
        """All of them as text."""
        return generate_latest(self._registry)
