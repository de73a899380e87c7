"""How large a statistic of a window gets where nothing has changed: the null distribution of alarms.

A day of a slow feature is a few draws, not thousands: its PSI against a quarter is often above 1
with nothing wrong. So the reference itself is asked. Contiguous blocks as long as the monitored
window are compared with the rest of the reference, all features of a block together, which keeps
their dependence in time and on each other. The largest of the standardised log statistics over all
features is what an alarm is judged by (Westfall and Young, Resampling-Based Multiple Testing,
1993): a p-value from it holds for the family, however its members depend on each other.

Alarms are rarer than the reference has blocks, so the upper tail is extrapolated: excesses over the
80 % quantile are taken as exponential, and with their mean estimated from k independent ones the
predictive distribution is Lomax, P(excess > x) = (1 + x / (k m))^-k. Little history means a small k
and a heavy tail: then nothing is beyond chance, which is the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TAIL_SHARE = 0.2
_SMALLEST = 1e-4  # a statistic below is as good as nil; its logarithm is taken
_SMALLEST_SPREAD = 0.05
_SHARES = np.linspace(0.0, 1.0, 41)
FEWEST_WINDOWS = 3


@dataclass(frozen=True, eq=False)
class Calibration:
    """Null distribution of a family of statistics, for windows of one length.

    Attributes
    ----------
    hours : float
        Length of the windows.
    single : bool
        Windows of one instrument, rather than of all together.
    rows : int
        That a window had, in the median.
    windows : float
        How many independent ones the reference is worth.
    center, spread : float64[f]
        Mean and deviation of the logarithm of each statistic.
    quantiles : float64[41]
        Of the largest standardised one, evenly from the 0 to the 100 % quantile.
    tail_start, tail_mean, tail_count : float
        Its 80 % quantile, the mean excess over that, and the independent excesses behind the mean.
    """

    hours: float
    single: bool
    rows: int
    windows: float
    center: Floats
    spread: Floats
    quantiles: Floats
    tail_start: float
    tail_mean: float
    tail_count: float

    def p_value(self, statistics: Floats) -> Floats:
        """Chance that, nothing having changed, any of the family gets as far as each of these.

        Parameters
        ----------
        statistics : float64[f]

        Returns
        -------
        float64[f]
            Already corrected for the number of statistics.
        """
        # The centre is itself an estimate: a new window is further from it than the old ones were.
        spread = self.spread * np.sqrt(1 + 1 / self.windows)
        z = (np.log(np.maximum(statistics, _SMALLEST)) - self.center) / spread
        body = 1 - np.interp(z, self.quantiles, _SHARES)
        excess = np.maximum(z - self.tail_start, 0.0)
        tail = _TAIL_SHARE * (1 + excess / (self.tail_count * self.tail_mean)) ** -self.tail_count
        p: Floats = np.where(z > self.tail_start, tail, np.maximum(body, _TAIL_SHARE))
        return p


def calibrate(
    statistics: Floats, *, hours: float, single: bool, rows: int, span_hours: float
) -> Calibration | None:
    """Fit the null distribution to what windows of the reference gave.

    Parameters
    ----------
    statistics : float64[series, windows, f]
        Of windows that begin at even distances, in order of time; series are instruments.
    hours : float
        Length of a window.
    single : bool
    rows : int
    span_hours : float
        Of the reference.

    Returns
    -------
    Calibration or None
        None where the reference has room for fewer than three windows.
    """
    if span_hours / hours < FEWEST_WINDOWS or statistics.shape[1] < FEWEST_WINDOWS:
        return None
    logs = np.log(np.maximum(statistics, _SMALLEST))
    flat = logs.reshape(-1, logs.shape[-1])
    center = flat.mean(axis=0)
    spread = np.maximum(flat.std(axis=0, ddof=1), _SMALLEST_SPREAD)
    largest = ((logs - center) / spread).max(axis=-1)
    # Instruments move together: several of them are taken to be worth one.
    independent = min(span_hours / hours, float(np.mean([_independent(series) for series in largest])))
    independent = max(independent, 1.0)
    start = float(np.quantile(largest, 1 - _TAIL_SHARE))
    excess = largest[largest > start] - start
    return Calibration(
        hours=hours,
        single=single,
        rows=rows,
        windows=independent,
        center=center,
        spread=spread,
        quantiles=np.quantile(largest, _SHARES),
        tail_start=start,
        tail_mean=max(float(excess.mean()) if excess.size else 0.0, 1e-3),
        tail_count=max(independent * _TAIL_SHARE, 0.5),
    )


def _independent(series: Floats) -> float:
    """Values that the series is worth, by its autocorrelation while that is positive (Geyer 1992)."""
    n = len(series)
    centred = series - series.mean()
    variance = float(centred @ centred)
    if variance == 0.0:
        return 1.0
    time = 1.0
    for lag in range(1, n // 2):
        correlation = float(centred[:-lag] @ centred[lag:]) / variance
        if correlation <= 0.0:
            break
        time += 2 * correlation
    return n / time
