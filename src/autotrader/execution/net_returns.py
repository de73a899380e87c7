"""What forecasts earn bar by bar, net of costs; of two models on the same bars, for a comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats, Times
from autotrader.execution.compiled import njit
from autotrader.execution.fills import Ledger, account
from autotrader.execution.prices import PriceBars
from autotrader.execution.round_trips import closed_trades
from autotrader.execution.strategy import StrategyRules


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What one model said of one instrument, one element a decision, oldest first.

    Attributes
    ----------
    ts : datetime64[k]
        Opens of the bars at whose close it was said, strictly increasing.
    score : float64[k]
        As `autotrader.execution.strategy.score_of`; NaN where the model does not decide.
    volatility : float64[k]
        `autotrader.execution.strategy.VOLATILITY_FEATURE`, as the model was given it.
    entry_score : float
        Of the model; in its ONNX file's metadata.
    """

    ts: Times
    score: Floats
    volatility: Floats
    entry_score: float


@dataclass(frozen=True, slots=True, eq=False)
class PairedReturns:
    """Simple net returns of two models on the same bars.

    Attributes
    ----------
    ts : datetime64[n]
        Bar opens; a return is that of the equity at the bar's close over the close before.
    stable, candidate : float64[n]
        Costs paid; zero where nothing is held.
    """

    ts: Times
    stable: Floats
    candidate: Floats


def paired_net_returns(
    instrument: str, bars: PriceBars, *, stable: Scores, candidate: Scores, rules: StrategyRules
) -> PairedReturns:
    """Trade two models' scores of the same bars by one and the same sizing, cost and fill model.

    Both begin flat. A score moves nothing before the open of the bar after it, and the last bar is
    the last mark: what is still held then is not sold.

    Parameters
    ----------
    instrument : str
        `venue:symbol`; says whether it may be shorted.
    bars : PriceBars
        Two at least, from the first decision on.
    stable, candidate : Scores
        Each decision belongs to one of the bars.
    rules : StrategyRules

    Raises
    ------
    BadData
        If a decision's bar is not among the bars, or values are out of range.
    """
    return PairedReturns(
        bars.ts,
        net_returns(instrument, bars, stable, rules=rules),
        net_returns(instrument, bars, candidate, rules=rules),
    )


def net_returns(instrument: str, bars: PriceBars, scores: Scores, *, rules: StrategyRules) -> Floats:
    """float64[n]: net return of every bar of one of the two; see `paired_net_returns`."""
    return path_returns(_trade(instrument, bars, scores, rules).equity, rules.capital)


def trade_results(instrument: str, bars: PriceBars, scores: Scores, *, rules: StrategyRules) -> Floats:
    """float64[k]: net PnL of every trade of one of the two that was closed on these bars."""
    return closed_trades(_trade(instrument, bars, scores, rules).fills)


def _trade(instrument: str, bars: PriceBars, scores: Scores, rules: StrategyRules) -> Ledger:
    at = np.minimum(np.searchsorted(bars.ts, scores.ts), max(len(bars) - 1, 0))
    homeless = len(scores.ts) if len(bars) == 0 else int((bars.ts[at] != scores.ts).sum())
    if homeless:
        raise BadData(
            f"expected the bar of every score of {instrument}, was without those of {homeless} of "
            f"{len(scores.ts)}: read bars of the whole window, or leave these scores out"
        )
    known_score, known_volatility = np.full(len(bars), np.nan), np.full(len(bars), np.nan)
    known_score[at], known_volatility[at] = scores.score, scores.volatility
    position = rules.positions(
        instrument, bars.ts, known_score, volatility=known_volatility, entry_score=scores.entry_score
    )
    return account(
        bars.ts, bars.open, bars.close, bars.volume, position, costs=rules.costs, capital=rules.capital
    )


@njit
def bar_return(before: float, worth: float) -> float:
    """Change of equity over the equity before; zero after ruin (equity of zero or less)."""
    return (worth - before) / before if before > 0.0 else 0.0


@njit
def path_returns(equity: Floats, capital: float) -> Floats:
    """Return of every bar; the first is relative to the capital."""
    returns = np.empty(len(equity))
    before = capital
    for i in range(len(equity)):
        returns[i] = bar_return(before, equity[i])
        before = equity[i]
    return returns
