"""What the prediction service counts. Label values are bounded: what a caller makes up is `other`.

What is counted with each request is counted in plain numbers, and becomes Prometheus's when the page is
asked for: its own counters take a lock each, for threads that are not here, and a tenth of a request's time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Info
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.utils import floatToGoString

from autotrader.apps.process_metrics import register_process

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

ENDPOINTS = {b"/predict": "/predict", b"/health": "/health", b"/metrics": "/metrics"}
METHODS = {b"GET": "GET", b"POST": "POST"}
OTHER = "other"

# Around the goals: 2 ms of one row, 200 ms of the contract's roll-back.
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0)
_CONFIDENCE = (0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


class RequestTally:
    """How many requests were answered how, and how long that took."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, str], int] = {}
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._seconds: dict[tuple[str, str], float] = {}
        # By what the request said; bounded, since it holds no name that a caller made up.
        self._known: dict[tuple[bytes, bytes, int], tuple[tuple[str, str], tuple[str, str, str]]] = {}

    def observe(self, method: bytes, path: bytes, status: int, seconds: float) -> None:
        """Count an answer."""
        place, answer = self._known.get((method, path, status)) or self._place(method, path, status)
        self._answers[answer] += 1
        self._buckets[place][bisect_left(_SECONDS, seconds)] += 1
        self._seconds[place] += seconds

    def collect(self) -> Iterator[Metric]:
        answers = CounterMetricFamily(
            "http_requests", "Answered requests", labels=["method", "endpoint", "status"]
        )
        for labels, count in self._answers.items():
            answers.add_metric(labels, count)
        yield answers
        seconds = HistogramMetricFamily(
            "http_request_duration_seconds",
            "From the first byte of a request to its answer",
            labels=["method", "endpoint"],
        )
        for place, counts in self._buckets.items():
            seconds.add_metric(place, _cumulative(_SECONDS, counts), self._seconds[place])
        yield seconds

    def _place(self, method: bytes, path: bytes, status: int) -> tuple[tuple[str, str], tuple[str, str, str]]:
        place = (METHODS.get(method, OTHER), ENDPOINTS.get(path, OTHER))
        answer = (*place, str(status))
        self._answers.setdefault(answer, 0)
        self._buckets.setdefault(place, [0] * (len(_SECONDS) + 1))
        self._seconds.setdefault(place, 0.0)
        if OTHER not in place:
            self._known[method, path, status] = (place, answer)
        return place, answer


class RowTally:
    """How many rows were predicted, and how sure the model was: the largest probability of each."""

    def __init__(self) -> None:
        self._edges = np.array(_CONFIDENCE)
        self._counts = [0] * (len(_CONFIDENCE) + 1)
        self._sum = 0.0

    def observe(self, probabilities: NDArray[np.float32]) -> None:
        """Count the rows of one answer, float32[n, 3]."""
        if len(probabilities) == 1:
            confidence = max(probabilities[0].tolist())
            self._counts[bisect_left(_CONFIDENCE, confidence)] += 1
            self._sum += confidence
            return
        confidences = probabilities.max(axis=1)
        found = np.bincount(np.searchsorted(self._edges, confidences), minlength=len(self._counts))
        self._counts = [a + b for a, b in zip(self._counts, found.tolist(), strict=True)]
        self._sum += float(confidences.sum())

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("predictions", "Rows that were predicted", value=sum(self._counts))
        yield HistogramMetricFamily(
            "model_prediction_confidence",
            "Largest probability of each predicted row",
            buckets=_cumulative(_CONFIDENCE, self._counts),
            sum_value=self._sum,
        )


class ServingMetrics:
    """All of them, in a registry of their own.

    Parameters
    ----------
    in_progress : Callable
        Number of requests under way.
    log_bytes : Callable
        Written to the prediction log.
    """

    def __init__(self, *, in_progress: Callable[[], float], log_bytes: Callable[[], float]) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = RequestTally()
        self.rows = RowTally()
        registry.register(self.requests)
        registry.register(self.rows)
        register_process(registry)
        Gauge("http_requests_in_progress", "Requests under way", registry=registry).set_function(in_progress)
        registry.register(_LogBytes(log_bytes))
        self.model_errors = Counter(
            "model_errors", "Requests that the model failed to answer", registry=registry
        )
        self.log_failures = Counter(
            "prediction_log_failures", "Requests turned away: they could not be logged", registry=registry
        )
        self._model = Info("model", "What is served", registry=registry)

    def describe_model(self, **labels: str) -> None:
        """Say what is served, as `model_info`."""
        self._model.info(labels)

    def page(self) -> bytes:
        """All of them in Prometheus's text format."""
        page: bytes = generate_latest(self.registry)
        return page


class _LogBytes:
    def __init__(self, written: Callable[[], float]) -> None:
        self._written = written

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "prediction_log_bytes", "Written to the prediction log", value=self._written()
        )


def _cumulative(edges: tuple[float, ...], counts: list[int]) -> list[tuple[str, float]]:
    """Buckets as Prometheus wants them: each with all that is below."""
    names = [*map(floatToGoString, edges), "+Inf"]
    return [(name, float(count)) for name, count in zip(names, accumulate(counts), strict=True)]
