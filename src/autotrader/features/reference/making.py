"""Making a profile: counts by the hour, and from them every window that alarms are calibrated on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autotrader.domain.errors import BadData
from autotrader.features.reference.calibration import Calibration, calibrate
from autotrader.features.reference.distances import PSI_BINS, quantile_edges, stability_index
from autotrader.features.reference.profile import (
    FINE_BINS,
    Columns,
    Counts,
    Floats,
    Profile,
    Times,
    correlation_distances,
    correlation_from_sums,
)

WINDOW_SHARES = (1 / 24, 1 / 4, 1.0)
"""Lengths that alarms are calibrated for, as shares of the monitored window."""

_MOST_WINDOWS = 512
_MOST_SINGLE_INSTRUMENTS = 8
_WINSOR = (0.005, 0.995)  # one outlier must not make a correlation
_HOUR = np.timedelta64(1, "h")


def make_profile(
    values: Columns,
    *,
    names: Sequence[str],
    ts: Times,
    instrument: NDArray[np.integer],
    instruments: Sequence[str],
    window_hours: float,
) -> Profile:
    """Condense columns over a window.

    Instruments are taken one after the other: beside the values, memory does not grow with them.

    Parameters
    ----------
    values : float32[n, f]
        No NaN.
    names : sequence of str
    ts : datetime64[n]
        Bar opens.
    instrument : int[n]
        Number of each row's in `instruments`.
    instruments : sequence of str
    window_hours : float
        The longest window that will be compared with it; alarms are calibrated for this length, a
        quarter and a twenty-fourth of it.

    Raises
    ------
    BadData
        If there is no row.
    """
    if len(values) == 0:
        raise BadData("expected rows to make a reference of, was none: choose another window")
    f = len(names)
    edges = np.full((f, FINE_BINS - 1), np.inf, np.float32)
    coarse = np.full((f, PSI_BINS), FINE_BINS, np.int64)
    bounds = np.empty((2, f), np.float32)
    figures = np.empty((4, f))
    for j in range(f):
        ordered = np.sort(values[:, j])
        fine = quantile_edges(ordered, FINE_BINS)
        edges[j, : fine.size] = fine
        ends = np.searchsorted(fine, quantile_edges(ordered, PSI_BINS)) + 1
        coarse[j, : ends.size] = ends
        bounds[:, j] = ordered[[int(q * (ordered.size - 1)) for q in _WINSOR]]
        exact = ordered.astype(np.float64)
        figures[:, j] = exact[0], exact[-1], exact.mean(), exact.std()
    bare = Profile(
        names=tuple(names),
        instruments=tuple(instruments),
        edges=edges,
        coarse=coarse,
        counts=np.zeros((len(instruments), f, FINE_BINS), np.int64),
        minimum=figures[0],
        maximum=figures[1],
        mean=figures[2],
        deviation=figures[3],
        bounds=bounds,
        correlation=np.eye(f),
        psi_calibrations=(),
        correlation_calibrations=(),
    )
    return _Blocks(bare, values, ts, instrument, window_hours).profile()


class _Blocks:
    """Counts and products of a reference by the hour, from which any window's are two look-ups."""

    def __init__(
        self,
        bare: Profile,
        values: Columns,
        ts: Times,
        instrument: NDArray[np.integer],
        window_hours: float,
    ) -> None:
        self._bare = bare
        self._values = values
        first = np.min(ts)
        self._hour = ((ts - first) // _HOUR).astype(np.int64)
        self._hours = int(np.max(self._hour)) + 1
        self._instrument = instrument
        self._lengths = sorted({max(round(window_hours * share), 1) for share in WINDOW_SHARES})

    def profile(self) -> Profile:
        bare, f = self._bare, len(self._bare.names)
        windows = {length: _Windows(length, self._hours, f) for length in self._lengths}
        singles = self._chosen()
        counts = bare.counts.copy()
        product, total, n = np.zeros((f, f)), np.zeros(f), 0
        for number in range(len(bare.instruments)):
            rows = np.flatnonzero(self._instrument == number)
            if rows.size == 0:
                continue
            part, hour = np.ascontiguousarray(self._values[rows]), self._hour[rows]
            fine, _ = bare.count(list(np.ascontiguousarray(part.T)))
            counts[number] = fine
            hourly = self._hourly_counts(part, hour)
            products, sums = self._hourly_products(part, hour)
            product, total, n = product + products[-1], total + sums[-1], n + rows.size
            for window in windows.values():
                window.add(hourly, products, sums, bare.to_coarse(fine), keep=number in singles)
        correlation = correlation_from_sums(product, total, n)
        psi = [c for w in windows.values() for c in w.psi_calibrations(self._hours)]
        moves = [c for w in windows.values() for c in w.correlation_calibrations(correlation, self._hours)]
        return replace(
            bare,
            counts=counts,
            correlation=correlation,
            psi_calibrations=tuple(psi),
            correlation_calibrations=tuple(moves),
        )

    def _chosen(self) -> set[int]:
        """Instruments whose windows are looked at on their own: all, or a few from first to last."""
        numbers = np.linspace(0, len(self._bare.instruments) - 1, _MOST_SINGLE_INSTRUMENTS)
        return set(np.round(numbers).astype(int).tolist())

    def _hourly_counts(self, part: Columns, hour: Counts) -> Counts:
        """int64[hours + 1, f, 10]: coarse counts before each hour."""
        f = len(self._bare.names)
        hourly = np.zeros((self._hours + 1, f, PSI_BINS), np.int64)
        for j in range(f):
            ends = self._bare.coarse[j]
            edges = self._bare.edges[j, ends[ends < FINE_BINS] - 1]
            bin_ = np.searchsorted(edges, part[:, j], side="left")
            found = np.bincount(hour * PSI_BINS + bin_, minlength=self._hours * PSI_BINS)
            hourly[1:, j] = found.reshape(self._hours, PSI_BINS)
        counts: Counts = hourly.cumsum(axis=0)
        return counts

    def _hourly_products(self, part: Columns, hour: Counts) -> tuple[Floats, Floats]:
        """Cumulative outer products [hours + 1, f, f] and sums [hours + 1, f] of held values."""
        f = len(self._bare.names)
        held = (np.clip(part, *self._bare.bounds) - self._bare.mean.astype(np.float32)).astype(np.float64)
        products, sums = np.zeros((self._hours + 1, f, f)), np.zeros((self._hours + 1, f))
        borders = np.searchsorted(hour, np.arange(self._hours + 1))
        for h in range(self._hours):
            block = held[borders[h] : borders[h + 1]]
            products[h + 1], sums[h + 1] = block.T @ block, block.sum(axis=0)
        return products.cumsum(axis=0), sums.cumsum(axis=0)


class _Windows:
    """Windows of one length that begin at even distances, of instruments alone and of all together."""

    def __init__(self, length: int, hours: int, f: int) -> None:
        last = max(hours - length, 0)
        self._length = length
        self._starts = np.unique(np.linspace(0, last, min(_MOST_WINDOWS, last + 1)).astype(np.int64))
        s = len(self._starts)
        self._seen, self._expected = np.zeros((s, f, PSI_BINS)), np.zeros((s, f, PSI_BINS))
        self._products, self._sums, self._n = np.zeros((s, f, f)), np.zeros((s, f)), np.zeros(s)
        self._alone: list[tuple[Floats, Floats, Floats, Floats]] = []

    def add(self, hourly: Counts, products: Floats, sums: Floats, whole: Floats, *, keep: bool) -> None:
        """Take one instrument's windows in."""
        begin, end = self._starts, np.minimum(self._starts + self._length, len(hourly) - 1)
        seen = (hourly[end] - hourly[begin]).astype(np.float64)
        n = seen.sum(axis=-1, keepdims=True)
        rest = whole - seen
        expected = rest / np.maximum(rest.sum(axis=-1, keepdims=True), 1.0)
        product, total = products[end] - products[begin], sums[end] - sums[begin]
        self._seen += seen
        self._expected += n * expected
        self._products += product
        self._sums += total
        self._n += n[:, 0, 0]
        if keep:
            self._alone.append((stability_index(expected, _shares(seen)), n[:, 0, 0], product, total))

    def psi_calibrations(self, span_hours: int) -> Iterator[Calibration]:
        pooled = stability_index(_shares(self._expected), _shares(self._seen))
        yield from self._fitted([(pooled, self._n)], span_hours, single=False)
        yield from self._fitted([(psi, n) for psi, n, _, _ in self._alone], span_hours, single=True)

    def correlation_calibrations(self, reference: Floats, span_hours: int) -> Iterator[Calibration]:
        def moved(product: Floats, total: Floats, n: Floats) -> Floats:
            found = correlation_from_sums(product, total, np.maximum(n, 1.0)[:, None, None])
            return correlation_distances(found, reference)

        yield from self._fitted(
            [(moved(self._products, self._sums, self._n), self._n)], span_hours, single=False
        )
        alone = [(moved(product, total, n), n) for _, n, product, total in self._alone]
        yield from self._fitted(alone, span_hours, single=True)

    def _fitted(
        self, series: list[tuple[Floats, Floats]], span_hours: int, *, single: bool
    ) -> Iterator[Calibration]:
        counts = np.array([n for _, n in series])
        rows = int(np.median(counts[counts > 0])) if (counts > 0).any() else 0
        # A window in which the market was closed for most of the time says nothing of one in which
        # it was open; a window that any series lacks is left out of all, to keep them aligned.
        full = (counts >= max(rows / 2, 1)).all(axis=0)
        found = calibrate(
            np.array([statistic[full] for statistic, _ in series]),
            hours=self._length,
            single=single,
            rows=rows,
            span_hours=span_hours * float(full.mean()),
        )
        if found is not None:
            yield found


def _shares(counts: Floats) -> Floats:
    return np.asarray(counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1.0))
