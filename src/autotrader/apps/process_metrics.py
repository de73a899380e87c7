"""What every process of ours exports of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from autotrader import measuring

# Around the goal of the slow ones: p95 below 1 s.
_STATEMENT_SECONDS = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_STATUS = Path("/proc/self/status")


def register_process(registry: CollectorRegistry) -> None:
    """Export processor time, memory, files and threads, and what code measures by our decorators.

    Nothing where the system does not tell.
    """
    ProcessCollector(registry=registry)
    registry.register(_Threads())
    registry.register(measuring.REGISTRY)


def statement_histogram(registry: CollectorRegistry) -> Histogram:
    """What a process waits for its database, by operation."""
    return Histogram(
        "database_query_duration_seconds",
        "Statements, from their start to their first row",
        ["operation"],
        buckets=_STATEMENT_SECONDS,
        registry=registry,
    )


class _Threads(Collector):
    """All of the process, those of libraries too."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            lines = _STATUS.read_text().splitlines()
        except OSError:  # not Linux
            return
        for line in lines:
            if line.startswith("Threads:"):
                yield GaugeMetricFamily("process_threads", "Threads", value=int(line.split()[1]))
