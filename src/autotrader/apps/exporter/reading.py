"""What one look at a source found, in the names of the catalogue, with bounded labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family

from autotrader.domain.metrics import METRICS, Kind, Metric

MOST_SERIES = 500  # of a metric: what a store holds is not ours to multiply
MOST_CHARACTERS = 100
REPLACEMENT = "\ufffd"

CATALOGUE: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}

Labels = tuple[str, ...]
Buckets = Sequence[tuple[float, int]]


class Reading:
    """Series by metric; a value that is not known is not there.

    Attributes
    ----------
    left_out : dict of str to int
        Series beyond the bound, by metric.
    """

    def __init__(self) -> None:
        self._series: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, tuple[Buckets, int, float]]] = {}
        self.left_out: dict[str, int] = {}

    def add(self, name: str, value: float | Decimal | None, **labels: str) -> None:
        """Take a value; None, and what is no number, is left away.

        Raises
        ------
        ValueError
            If the catalogue has no such metric with these labels: a mistake of the reader.
        """
        metric = CATALOGUE.get(name)
        if metric is None or set(metric.labels) != set(labels):
            raise ValueError(f"expected a metric of the catalogue, was {name} with {sorted(labels)}")
        if value is None or not math.isfinite(value):
            return
        series = self._series.setdefault(name, {})
        key = tuple(bounded(labels[label]) for label in metric.labels)
        # Two that differ only beyond the bound would make Prometheus refuse the whole page.
        if key in series or len(series) >= MOST_SERIES:
            self.left_out[name] = self.left_out.get(name, 0) + 1
            return
        series[key] = float(value)

    def add_histogram(self, name: str, buckets: Buckets, count: int, total: float, **labels: str) -> None:
        """Take a distribution.

        Parameters
        ----------
        buckets : sequence of float and int
            How many are at most so large, by rising bound.
        count : int
            How many there are in all.
        total : float
            Their sum.

        Raises
        ------
        ValueError
            If the catalogue has no such histogram with these labels.
        """
        metric = CATALOGUE.get(name)
        if metric is None or metric.kind is not Kind.HISTOGRAM or set(metric.labels) != set(labels):
            raise ValueError(f"expected a histogram of the catalogue, was {name} with {sorted(labels)}")
        key = tuple(bounded(labels[label]) for label in metric.labels)
        self._histograms.setdefault(name, {})[key] = (buckets, count, total)

    def include(self, other: Reading) -> None:
        """Take what another one found, of other things; a metric may be of both."""
        for name, series in other._series.items():
            self._series.setdefault(name, {}).update(series)
        for name, histograms in other._histograms.items():
            self._histograms.setdefault(name, {}).update(histograms)

    def families(self) -> Iterator[Family]:
        """As prometheus_client writes them."""
        for name, series in self._series.items():
            yield _family(CATALOGUE[name], series)
        for name, histograms in self._histograms.items():
            metric = CATALOGUE[name]
            family = HistogramMetricFamily(name, metric.help, labels=metric.labels)
            for labels, (buckets, count, total) in histograms.items():
                written = [(f"{bound:g}", float(number)) for bound, number in buckets]
                family.add_metric(labels, [*written, ("+Inf", float(count))], total)
            yield family


def bounded(value: str) -> str:
    """A label's value that is short, of one line, and can be written."""
    if value.isprintable() and len(value) <= MOST_CHARACTERS:
        return value
    return "".join(c if c.isprintable() else REPLACEMENT for c in value[:MOST_CHARACTERS])


def _family(metric: Metric, series: Mapping[Labels, float]) -> Family:
    family = (
        CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
        if metric.kind is Kind.COUNTER
        else GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    )
    for labels, value in series.items():
        family.add_metric(labels, value)
    return family


@dataclass
class Rising:
    """A counter of what is counted elsewhere, where something may be forgotten.

    It never falls: what is taken away there has happened all the same.
    """

    total: float = 0.0
    _seen: float = 0.0

    def see(self, count: float) -> float:
        """The counter, given what is counted there now."""
        self.total += max(count - self._seen, 0.0)
        self._seen = count
        return self.total
