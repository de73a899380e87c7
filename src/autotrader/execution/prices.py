"""Prices of one instrument, bar by bar."""

from __future__ import annotations

from dataclasses import dataclass

from autotrader.execution.arrays import Floats, Times


@dataclass(frozen=True, slots=True, eq=False)
class PriceBars:
    """Prices of one instrument, one element a bar.

    Attributes
    ----------
    ts : datetime64[us][n]
        Bar opens, strictly increasing.
    open, close : float64[n]
        Quote currency.
    volume : float64[n]
        Units that traded in the bar; NaN where the venue has none.
    """

    ts: Times
    open: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.ts)

    def between(self, first: int, stop: int) -> PriceBars:
        """Bars [first, stop), without a copy."""
        window = slice(first, stop)
        return PriceBars(self.ts[window], self.open[window], self.close[window], self.volume[window])
