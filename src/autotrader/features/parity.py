"""Do the live path and the batch path give the same numbers? A gate before, a watch in production."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autotrader.domain.errors import BadData
from autotrader.domain.thresholds import GATES
from autotrader.domain.verdicts import Finding, Severity, Verdict
from autotrader.features.batch import BarArrays, compute
from autotrader.features.definitions import BALANCED, FeatureSet
from autotrader.features.live import LiveFeatures


@dataclass(frozen=True, slots=True)
class ParityReport:
    """How far two computations of the same features are apart.

    Attributes
    ----------
    rows : int
        Rows that were compared.
    differences : Mapping[str, float]
        Of each feature the largest relative difference; 0 is equal to the last bit, infinite a
        value beside a missing one.
    bound : float
        What is tolerated.
    """

    rows: int
    differences: Mapping[str, float]
    bound: float = GATES.parity_difference

    @property
    def largest(self) -> float:
        return max(self.differences.values(), default=0.0)

    @property
    def passed(self) -> bool:
        return self.rows > 0 and self.largest <= self.bound

    @property
    def verdict(self) -> Verdict:
        """Critical where a feature is beyond the bound, or nothing was compared."""
        if self.rows == 0:
            return Verdict("feature parity", (Finding("parity", Severity.CRITICAL, "no row was compared"),))
        beyond = {n: d for n, d in self.differences.items() if d > self.bound}
        if not beyond:
            reason = f"{self.rows} rows agree within {self.largest:.1e}"
            return Verdict("feature parity", (Finding("parity", Severity.HEALTHY, reason),))
        return Verdict(
            "feature parity",
            tuple(
                Finding("parity", Severity.CRITICAL, f"{name} differs by {d:.1e}", {"difference": d})
                for name, d in beyond.items()
            ),
        )


def compare_live_to_batch(
    bars: pl.DataFrame, feature_set: FeatureSet = BALANCED, *, last: int = 2000
) -> ParityReport:
    """Replay bars one by one through the live path, and compare with the batch over all of them.

    Parameters
    ----------
    bars : pl.DataFrame
        Of one instrument, sorted.
    last : int
        Newest bars whose rows are compared; the live path is given the lookback before them only.

    Raises
    ------
    BadData
        As `autotrader.features.batch.compute`.
    """
    first = max(bars.height - last, 0)
    arrays = BarArrays.from_frame(bars)
    if len(arrays) == 0:
        return ParityReport(0, {})
    live = LiveFeatures(arrays.interval, feature_set)
    rows = []
    for i in range(max(first - feature_set.lookback + 1, 0), len(arrays)):
        bar = (
            int(arrays.ts[i]),
            float(arrays.high[i]),
            float(arrays.low[i]),
            float(arrays.close[i]),
            float(arrays.volume[i]),
            float(arrays.taker_buy[i]),
        )
        if i < first:
            live.append(*bar)
        else:
            rows.append(live.update(*bar))
    replayed = pl.DataFrame(np.array(rows), schema=list(feature_set.names), orient="row")
    return compare(replayed, compute(bars, feature_set)[first:], names=feature_set.names)


def compare(served: pl.DataFrame, computed: pl.DataFrame, *, names: Sequence[str]) -> ParityReport:
    """Compare two frames of features, row by row, as what was served with what the batch gives later.

    Raises
    ------
    BadData
        If they are not of the same height.
    """
    if served.height != computed.height:
        raise BadData(f"expected as many rows in both, was {served.height} and {computed.height}")
    differences = {n: _largest(served[n].to_numpy(), computed[n].to_numpy()) for n in names}
    return ParityReport(served.height, differences)


def _largest(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    a, b = one.astype(np.float64), other.astype(np.float64)
    differing = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if not differing.any():
        return 0.0
    a, b = a[differing], b[differing]
    relative = np.abs(a - b) / np.maximum(np.abs(a), np.abs(b))
    return float(np.where(np.isfinite(relative), relative, np.inf).max())
