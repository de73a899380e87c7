"""What the API counts. Label values are bounded: what a caller makes up is `other`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from autotrader.apps.api.status import VALUE_OF, ComponentStatus
from autotrader.apps.process_metrics import register_process, statement_histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Around the goal: p95 below 100 ms; the contract warns above 1 s.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0)


class ApiMetrics:
    """All of them, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        register_process(registry)
        self._requests = Counter(
            "http_requests", "Answered requests", ["method", "endpoint", "status"], registry=registry
        )
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "From a request's head to the end of its answer",
            ["method", "endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._statements = statement_histogram(registry)
        self.in_progress = Gauge("http_requests_in_progress", "Requests under way", registry=registry)
        self._health = Gauge(
            "component_health",
            "1 healthy, 0.5 degraded, 0 unhealthy; absent while unknown",
            ["component"],
            registry=registry,
        )
        self.stream_clients = Gauge("stream_clients", "Open streams", registry=registry)
        self.stream_messages = Counter("stream_messages", "Published to the streams", registry=registry)
        self.stream_dropped = Counter(
            "stream_dropped_clients", "Clients that did not keep up", registry=registry
        )
        self.stream_failures = Counter(
            "stream_poll_failures", "Times that what is new could not be read for them", registry=registry
        )

    def observe_statement(self, operation: str, seconds: float) -> None:
        """Count a statement of the database."""
        self._statements.labels(operation).observe(seconds)

    def observe(self, method: str, endpoint: str | None, status: int, seconds: float) -> None:
        """Count an answer.

        Parameters
        ----------
        endpoint : str or None
            The route's template, such as `/api/health/{component}`; None where none was met.
        """
        names = (method if method in _METHODS else OTHER, endpoint or OTHER)
        self._requests.labels(*names, str(status)).inc()
        self._seconds.labels(*names).observe(seconds)

    def tell_health(self, component: str, status: ComponentStatus) -> None:
        """Export a component's health; what is not known is not exported."""
        value = VALUE_OF.get(status)
        if value is None:
            self._health.remove_by_labels({"component": component})
        else:
            self._health.labels(component).set(value)

    def page(self) -> bytes:
        """All of them in Prometheus's text format."""
        page: bytes = generate_latest(self.registry)
        return page
