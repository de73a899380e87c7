"""Features of the newest bar, from the last bars alone, bit for bit those of the batch path.

Needs numpy and numba, no frames: this is what a trading process imports.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.features.definitions import BALANCED, FeatureSet
from autotrader.features.kernels.evaluate import fill_newest
from autotrader.features.kernels.layout import COLUMNS, LOOKBACK, WORKSPACE_SHAPE
from autotrader.features.sessions import ORIGIN, session_opens

_CAPACITY = 8 * LOOKBACK


class LiveFeatures:
    """Features of one instrument, a bar at a time.

    Holds the last bars that any feature looks back on, and nothing else: a process that starts
    with those bars continues as if it had never stopped. Not for several threads at once.

    Parameters
    ----------
    interval : Interval
    feature_set : FeatureSet
        Which features, in which order.
    dtype : DTypeLike
        float32, as served and stored; float64 shows what was rounded.
    """

    def __init__(
        self, interval: Interval, feature_set: FeatureSet = BALANCED, *, dtype: DTypeLike = np.float32
    ) -> None:
        self._interval_us = interval.seconds * 1_000_000
        self._ts = np.empty(_CAPACITY, np.int64)
        self._columns = np.empty((5, _CAPACITY))
        self._end = 0
        # The kernels are compiled for read-only inputs, as the batch path has them.
        self._inputs = self._ts.view(), self._columns.view()
        for view in self._inputs:
            view.flags.writeable = False
        self._workspace = np.empty(WORKSPACE_SHAPE)
        self._starts = np.empty(WORKSPACE_SHAPE[1], np.int64)
        self._out = np.empty((len(COLUMNS), 1), dtype)
        self._sessions = session_opens()
        order = [COLUMNS.index(name) for name in feature_set.names]
        self._order = None if order == list(range(len(COLUMNS))) else np.array(order)

    def __len__(self) -> int:
        """Bars held, at most the lookback."""
        return min(self._end, LOOKBACK)

    def update(
        self, ts_us: int, high: float, low: float, close: float, volume: float, taker_buy: float
    ) -> NDArray[Any]:
        """Take the newest closed bar and evaluate its features.

        Parameters
        ----------
        ts_us : int
            Its open in microseconds since 1970, UTC.
        high, low, close, volume, taker_buy : float
            NaN where unknown.

        Returns
        -------
        array (n_features,)
            In the feature set's order; a new array each time. NaN while a feature warms up.

        Raises
        ------
        BadData
            If the bar opens less than an interval after the one before; nothing has changed then.
        """
        self.append(ts_us, high, low, close, volume, taker_buy)
        fill_newest(
            *self._inputs,
            min(self._end, LOOKBACK),
            self._end,
            self._interval_us,
            self._sessions,
            ORIGIN,
            self._workspace,
            self._starts,
            self._out,
        )
        row = self._out[:, 0]
        return row.copy() if self._order is None else row[self._order]

    def append(
        self, ts_us: int, high: float, low: float, close: float, volume: float, taker_buy: float
    ) -> None:
        """Take a bar without evaluating it, as when history is loaded at the start.

        Raises
        ------
        BadData
            As `update`.
        """
        end = self._end
        if end and ts_us < self._ts[end - 1] + self._interval_us:
            raise BadData(
                f"expected a bar that opens at {self._ts[end - 1] + self._interval_us} us or later, "
                f"was {ts_us}: drop it, or replay the series from its restatement on"
            )
        if end == _CAPACITY:
            kept = LOOKBACK - 1
            self._ts[:kept] = self._ts[end - kept :]
            self._columns[:, :kept] = self._columns[:, end - kept :]
            end = kept
        self._ts[end] = ts_us
        column = self._columns
        column[0, end], column[1, end], column[2, end] = high, low, close
        column[3, end], column[4, end] = volume, taker_buy
        self._end = end + 1


def newest_features(
    ts_us: NDArray[np.int64],
    columns: NDArray[np.float64],
    interval: Interval,
    feature_set: FeatureSet = BALANCED,
) -> NDArray[np.float32]:
    """Features of the last of some bars, as a pure function.

    Parameters
    ----------
    ts_us : int64 array (n,)
        Opens in microseconds since 1970, UTC, increasing by an interval or more. The last
        `feature_set.lookback` bars are enough, and more change nothing.
    columns : float64 array (5, n)
        High, low, close, volume, taker-buy volume; NaN where unknown.

    Returns
    -------
    float32 array (n_features,)

    Raises
    ------
    BadData
        If there is no bar, or the bars are not in order.
    """
    live = LiveFeatures(interval, feature_set)
    if ts_us.size == 0:
        raise BadData("expected at least one bar, was none")
    for i in range(max(ts_us.size - LOOKBACK, 0), ts_us.size - 1):
        live.append(int(ts_us[i]), *columns[:, i])
    return live.update(int(ts_us[-1]), *columns[:, -1])


def warm_up() -> None:
    """Load or compile the kernels, so that the first bar does not wait for it."""
    live = LiveFeatures(Interval.M1)
    live.update(0, 1.0, 1.0, 1.0, 1.0, 1.0)
