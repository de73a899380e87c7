"""The rules by which forecasts become money: the same for backtest, canary and trader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import overload

import numpy as np
from numpy.typing import NDArray

from autotrader.config.settings import StrategySettings
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import ASSET_CLASS_OF, AssetClass, InstrumentId
from autotrader.execution.arrays import Floats, Times
from autotrader.execution.costs import Costs
from autotrader.execution.sizing import Sizing, target_positions

# A forecast must pay for its round trip this many times before a position is opened.
COST_MULTIPLE = 1.0

# Selling what one does not own needs a lender: spot crypto has none, equities need a locate.
SHORTABLE = frozenset({AssetClass.FX})

# The feature that sizing looks at: standard deviation of one bar's return over 200 bars.
VOLATILITY_FEATURE = "volatility_200"


@dataclass(frozen=True, slots=True)
class EntryRule:
    """When a model version decides, and how sure it must be; its training chose both.

    Attributes
    ----------
    score : float
        Size of score from which a position is opened.
    every_bars : int
        It decides at bars whose open is a multiple of so many intervals since 1970, as it was judged;
        in between, what it says is no opinion.
    """

    score: float
    every_bars: int

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> EntryRule:
        """As the ONNX file says; raises BadData where it does not."""
        try:
            return cls(float(metadata["entry_score"]), int(metadata["decide_every_bars"]))
        except (KeyError, ValueError):
            raise BadData(
                "expected a model that says from which score it trades and how often, was one without: "
                "train it anew"
            ) from None


@overload
def decides(ts_us: int, interval: Interval, every_bars: int) -> bool: ...
@overload
def decides(ts_us: NDArray[np.int64], interval: Interval, every_bars: int) -> NDArray[np.bool_]: ...
def decides(ts_us: int | NDArray[np.int64], interval: Interval, every_bars: int) -> bool | NDArray[np.bool_]:
    """Whether a strategy that decides at every n-th bar does so at bars of these opens: bool, or bool[n].

    Parameters
    ----------
    ts_us : int or int64[n]
        Microseconds since 1970.
    """
    return ts_us // (interval.seconds * 1_000_000) % every_bars == 0


@dataclass(frozen=True, slots=True)
class StrategyRules:
    """What turns forecasts into money, whatever the model.

    Attributes
    ----------
    holding : timedelta
        The labels' horizon: what is forecast is held.
    round_trip_cost_bps : float
    capital : float
        Of all instruments together, quote currency.
    """

    holding: timedelta
    round_trip_cost_bps: float
    capital: float

    @classmethod
    def of(cls, strategy: StrategySettings) -> StrategyRules:
        return cls(
            holding=timedelta(minutes=strategy.horizon_minutes),
            round_trip_cost_bps=strategy.round_trip_cost_bps,
            capital=float(strategy.allocated_capital),
        )

    @property
    def costs(self) -> Costs:
        return Costs.of_round_trip(self.round_trip_cost_bps)

    def sizing(self, instrument: str, entry_score: float) -> Sizing:
        """How scores of this instrument (`venue:symbol`) become positions."""
        return Sizing(
            entry_score=entry_score,
            holding=self.holding,
            cost_multiple=COST_MULTIPLE,
            round_trip_cost_bps=self.round_trip_cost_bps,
            shortable=ASSET_CLASS_OF[InstrumentId.parse(instrument).venue] in SHORTABLE,
        )

    def positions(
        self, instrument: str, ts: Times, score: Floats, *, volatility: Floats, entry_score: Floats | float
    ) -> Floats:
        """Target position at the close of every bar, flat before the first.

        Parameters
        ----------
        instrument : str
            `venue:symbol`.
        ts : datetime64[n]
            Bar opens, strictly increasing, n >= 2.
        score : float64[n]
            In [-1, 1]; NaN is no opinion. Uses data up to and including the bar.
        volatility : float64[n]
            `VOLATILITY_FEATURE` of the bar; NaN opens nothing.
        entry_score : float64[n] or float
            Size of score from which a position is opened; may change from bar to bar, as models do.

        Returns
        -------
        float64[n]
            Fractions of equity in [-1, 1], to be traded from the next bar on.

        Raises
        ------
        BadData
            If shapes differ, or there are fewer than two bars.
        """
        strong = np.where(np.abs(score) > entry_score, score, 0.0)
        return target_positions(ts, strong, sizing=self.sizing(instrument, 0.0), volatility=volatility)


def score_of(probabilities: Floats) -> Floats:
    """float64[n] in [-1, 1]: probability of a rise beyond costs minus that of a fall.

    Parameters
    ----------
    probabilities : float64[n, 3]
        Of -1, 0 and +1.

    Raises
    ------
    BadData
        If there are not three columns.
    """
    if probabilities.ndim != 2 or probabilities.shape[1] != 3:
        raise BadData(f"expected probabilities of -1, 0 and +1 in rows, was shape {probabilities.shape}")
    return probabilities[:, 2] - probabilities[:, 0]
