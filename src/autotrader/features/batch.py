"""Features over history: one instrument's bars in, one row of features for each bar out."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from autotrader.data.schemas import TIMESTAMP
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.features.definitions import BALANCED, FeatureSet
from autotrader.features.kernels.evaluate import fill
from autotrader.features.kernels.layout import COLUMNS, WORKSPACE_SHAPE
from autotrader.features.sessions import ORIGIN, session_opens

INPUTS = ("high", "low", "close", "volume", "taker_buy_base")
"""Columns of bars that features read, besides `ts`; null and NaN are the same to them."""

_SMALLEST_SHARE = 8192  # rows below which a second thread costs more than it saves


@dataclass(frozen=True, slots=True)
class BarArrays:
    """Bars of one instrument as read-only arrays (n,), in order of time.

    Attributes
    ----------
    ts : int64
        Opens in microseconds since 1970, UTC.
    high, low, close, volume, taker_buy : float64
        NaN where unknown.
    interval : Interval
    """

    ts: NDArray[np.int64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    taker_buy: NDArray[np.float64]
    interval: Interval

    @classmethod
    def from_frame(cls, bars: pl.DataFrame) -> BarArrays:
        """Check and unwrap a frame; nothing is copied where there are no nulls.

        Parameters
        ----------
        bars : pl.DataFrame
            `ts`, `interval`, INPUTS; `venue` and `instrument` where several could be mixed.

        Raises
        ------
        BadData
            If a column is missing, rows of several series are mixed, or the opens are not
            increasing by at least an interval.
        """
        missing = [c for c in ("ts", "interval", *INPUTS) if c not in bars.columns]
        if missing:
            raise BadData(f"expected columns ts, interval, {', '.join(INPUTS)}, was without {missing}")
        for column in ("venue", "instrument", "interval"):
            if bars.height and column in bars.columns and not (bars[column] == bars[column][0]).all():
                raise BadData(f"expected bars of one {column}, was several: compute each on its own")
        interval = Interval(bars["interval"][0]) if bars.height else Interval.M1
        ts = bars["ts"].cast(TIMESTAMP).to_physical()
        if ts.has_nulls():
            raise BadData("expected a ts in every bar, was null: quarantine the row")
        opens = _read_only(ts)
        if bars.height > 1:
            shortest = int(np.diff(opens).min())
            if shortest < interval.seconds * 1_000_000:
                raise BadData(
                    f"expected bars sorted by ts, {interval} apart or more, "
                    f"was a step of {shortest / 1e6:g} seconds: sort and drop doubles first"
                )
        high, low, close, volume, taker_buy = (_read_only(bars[c].cast(pl.Float64)) for c in INPUTS)
        return cls(opens, high, low, close, volume, taker_buy, interval)

    def __len__(self) -> int:
        return self.ts.size


def compute(
    bars: pl.DataFrame, feature_set: FeatureSet = BALANCED, *, workers: int | None = None
) -> pl.DataFrame:
    """Features of every bar of one instrument.

    Parameters
    ----------
    bars : pl.DataFrame
        Sorted by ts; see `BarArrays.from_frame`.
    feature_set : FeatureSet
        Which features, in which order.
    workers : int or None
        Threads; None is one a processor. The numbers do not depend on it.

    Returns
    -------
    pl.DataFrame
        `ts` and one Float32 column a feature, a row a bar. NaN while a feature warms up and where
        its lookback holds a NaN; never null. A row uses bars up to and including its own.

    Raises
    ------
    BadData
        As `BarArrays.from_frame`.
    """
    values = compute_arrays(BarArrays.from_frame(bars), workers=workers)
    rows = [COLUMNS.index(name) for name in feature_set.names]
    columns = [_arrow_column(values[row]) for row in rows]
    features = pl.from_arrow(pa.Table.from_arrays(columns, names=list(feature_set.names)))
    assert isinstance(features, pl.DataFrame)  # noqa: S101 - a table gives a frame
    return features.insert_column(0, bars["ts"].cast(TIMESTAMP))


def compute_each(
    frames: Iterable[pl.DataFrame], feature_set: FeatureSet = BALANCED, *, workers: int | None = None
) -> Iterator[pl.DataFrame]:
    """`compute` for one instrument after another, on several threads, in the order given.

    Frames are taken when a thread is free, and at most `workers` results wait to be fetched, so
    memory does not grow with the number of instruments.
    """
    threads = workers or _processors()
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[pl.DataFrame]] = deque()
        for bars in frames:
            under_way.append(pool.submit(compute, bars, feature_set, workers=1))
            if len(under_way) == threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def compute_arrays(
    bars: BarArrays, *, first: int = 0, dtype: DTypeLike = np.float32, workers: int | None = None
) -> NDArray[Any]:
    """Features of bars from `first` on, for callers that need no frame.

    Returns
    -------
    array (len(COLUMNS), n - first)
        In the order of `COLUMNS`, computed in float64 and rounded to `dtype` at the end.
    """
    count = max(len(bars) - first, 0)
    out = np.empty((len(COLUMNS), count), dtype)
    threads = max(min(workers or _processors(), count // _SMALLEST_SHARE), 1)
    bounds = [first + count * k // threads for k in range(threads + 1)]
    if threads == 1:
        _fill(bars, first, first, first + count, out)
        return out
    with ThreadPoolExecutor(threads) as pool:
        shares = [pool.submit(_fill, bars, first, *bound, out) for bound in pairwise(bounds)]
    for share in shares:
        share.result()
    return out


def _fill(bars: BarArrays, origin: int, first: int, stop: int, out: NDArray[Any]) -> None:
    fill(
        bars.ts,
        bars.high,
        bars.low,
        bars.close,
        bars.volume,
        bars.taker_buy,
        bars.interval.seconds * 1_000_000,
        session_opens(),
        ORIGIN,
        first,
        stop,
        np.empty(WORKSPACE_SHAPE),
        np.empty(WORKSPACE_SHAPE[1], np.int64),
        out,
        origin,
    )


def _read_only(column: pl.Series) -> NDArray[Any]:
    """The column's memory, null as NaN. One kind of array, or the kernels would compile for each."""
    array = np.require(column.rechunk().to_numpy(), requirements=["C", "A"]).view()
    array.flags.writeable = False
    return array


def _arrow_column(values: NDArray[Any]) -> pa.Array:
    """The array as an Arrow column on the same memory."""
    return pa.Array.from_buffers(pa.float32(), values.size, [None, pa.py_buffer(values)])


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
