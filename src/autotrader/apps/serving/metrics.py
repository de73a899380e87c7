"""What the prediction service counts. Label values are bounded: what a caller makes up is `other`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import generate_latest

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

ENDPOINTS = {b"/predict": "/predict", b"/health": "/health", b"/metrics": "/metrics"}
METHODS = {b"GET": "GET", b"POST": "POST"}
OTHER = "other"

# Around the goals: 2 ms of one row, 200 ms of the contract's roll-back.
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0)
_CONFIDENCE = (0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


class ConfidenceHistogram:
    """A histogram that takes many values in one call.

    Values are the largest probability of each row.
    """

    def __init__(self) -> None:
        self._edges = np.array(_CONFIDENCE)
        self._counts = [0] * (len(_CONFIDENCE) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(_CONFIDENCE, value)] += 1
        self._sum += value

    def observe_all(self, values: NDArray[np.float32]) -> None:
        found = np.bincount(np.searchsorted(self._edges, values), minlength=len(self._counts))
        self._counts = [a + int(b) for a, b in zip(self._counts, found, strict=True)]
        self._sum += float(values.sum())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        cumulative = np.cumsum(self._counts)
        edges = [*map(str, _CONFIDENCE), "+Inf"]
        buckets = [(edge, float(count)) for edge, count in zip(edges, cumulative, strict=True)]
        yield HistogramMetricFamily(
            "model_prediction_confidence",
            "Largest probability of each predicted row",
            buckets=buckets,
            sum_value=self._sum,
        )


class ServingMetrics:
    """All of them, in a registry of their own.

    Parameters
    ----------
    in_progress : Callable
        Number of requests under way.
    """

    def __init__(self, *, in_progress: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self.confidence = ConfidenceHistogram()
        self.registry.register(self.confidence)
        ProcessCollector(registry=self.registry)
        registry = self.registry
        self._requests = Counter(
            "http_requests", "Answered requests", ["method", "endpoint", "status"], registry=registry
        )
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "From the first byte of a request to its answer",
            ["method", "endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        Gauge("http_requests_in_progress", "Requests under way", registry=registry).set_function(in_progress)
        self.log_bytes = Counter("prediction_log_bytes", "Written to the prediction log", registry=registry)
        self.rows = Counter("predictions", "Rows that were predicted", registry=registry)
        self.model_errors = Counter(
            "model_errors", "Requests that the model failed to answer", registry=registry
        )
        self.log_failures = Counter(
            "prediction_log_failures", "Requests turned away: they could not be logged", registry=registry
        )
        self._model = Info("model", "What is served", registry=registry)
        # A look-up of children by label costs more than counting: they are held.
        self._held: dict[tuple[bytes, bytes, int], tuple[Counter, Histogram]] = {}

    def describe_model(self, **labels: str) -> None:
        """Say what is served, as `model_info`."""
        self._model.info(labels)

    def observe(self, method: bytes, path: bytes, status: int, seconds: float) -> None:
        """Count an answer."""
        key = (method, path, status)
        held = self._held.get(key)
        if held is None:
            names = (METHODS.get(method, OTHER), ENDPOINTS.get(path, OTHER))
            held = (self._requests.labels(*names, str(status)), self._seconds.labels(*names))
            if OTHER not in names:
                self._held[key] = held
        held[0].inc()
        held[1].observe(seconds)

    def page(self) -> bytes:
        """All of them in Prometheus's text format."""
        page: bytes = generate_latest(self.registry)
        return page
