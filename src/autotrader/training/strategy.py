"""The strategy that is judged: forecasts become positions, positions an equity path after costs.

Every instrument has an equal share of the capital. A forecast is made at every sampled bar; between
them the position is kept, by the rules of `autotrader.execution.strategy` that the trader follows too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats
from autotrader.execution.prices import PriceBars
from autotrader.execution.strategy import StrategyRules
from autotrader.training.backtest import BacktestResult, backtest, backtest_variants, combine
from autotrader.training.dataset import Dataset, Rows

_QUANTILES = (0.0, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99)


def choose_entry_score(data: Dataset, rows: Rows, score: Floats, *, rules: StrategyRules) -> float:
    """The threshold that earned most after costs on these rows; the higher one of equals.

    Parameters
    ----------
    data : Dataset
    rows : int64[k]
        Rows of the training window that the model was not fitted on.
    score : float64[k]
        Their scores.
    rules : StrategyRules

    Returns
    -------
    float
        In [0, 1): a quantile of the scores' sizes.
    """
    candidates = np.unique(np.quantile(np.abs(score), _QUANTILES))
    candidates = candidates[candidates < 1.0]
    earned = np.zeros(len(candidates))
    for sleeve in _sleeves(data, rows, score):
        results = backtest_variants(
            sleeve.bars.ts,
            sleeve.bars.open,
            sleeve.bars.close,
            sleeve.bars.volume,
            sleeve.score,
            volatility=sleeve.volatility,
            variants=[rules.sizing(sleeve.instrument, float(c)) for c in candidates],
            costs=rules.costs,
            capital=rules.capital,
            threads=1,
        )
        earned += [m.net_pnl for m in results.metrics]
    return float(candidates[np.flatnonzero(earned == np.max(earned))[-1]])


def trade(
    data: Dataset, rows: Rows, score: Floats, *, entry_score: Floats, rules: StrategyRules
) -> BacktestResult:
    """Trade the scores of these rows, all instruments in one account.

    Parameters
    ----------
    data : Dataset
    rows : int64[k]
        Increasing.
    score : float64[k]
        In [-1, 1].
    entry_score : float64[k]
        Threshold of the model that gave each score; models change from fold to fold.
    rules : StrategyRules

    Raises
    ------
    BadData
        If there are no rows.
    """
    decided = _decide(data, rows, score, entry_score, rules)
    return combine([_backtest(s.bars, position, rules, share=len(decided)) for s, position in decided])


def decision_hash(
    data: Dataset, rows: Rows, score: Floats, *, entry_score: Floats, rules: StrategyRules
) -> str:
    """SHA-256 of all positions that `trade` of the same arguments takes: equal ones decided equally."""
    digest = hashlib.sha256()
    for sleeve, position in _decide(data, rows, score, entry_score, rules):
        digest.update(f"{sleeve.instrument} {len(position)} ".encode())
        digest.update(sleeve.bars.ts.tobytes())
        digest.update(position.tobytes())
    return digest.hexdigest()


def hold(data: Dataset, rows: Rows, *, rules: StrategyRules, position: float) -> BacktestResult:
    """The baseline that keeps one position in every instrument over the window of these rows.

    Parameters
    ----------
    position : float
        1: buy and hold; 0: flat.
    """
    sleeves = list(_sleeves(data, rows, np.zeros(len(rows))))
    return combine(
        [_backtest(s.bars, np.full(len(s.bars.ts), position), rules, share=len(sleeves)) for s in sleeves]
    )


def _decide(
    data: Dataset, rows: Rows, score: Floats, entry_score: Floats, rules: StrategyRules
) -> Sequence[tuple[_Sleeve, Floats]]:
    """Each instrument's part with its positions."""
    strong = np.where(np.abs(score) > entry_score, score, 0.0)
    return [
        (
            s,
            rules.positions(s.instrument, s.bars.ts, s.score, volatility=s.volatility, entry_score=0.0),
        )
        for s in _sleeves(data, rows, strong)
    ]


@dataclass(frozen=True, slots=True)
class _Sleeve:
    """One instrument's part of a window: prices, and what is known at the close of each bar."""

    instrument: str
    bars: PriceBars
    score: Floats
    volatility: Floats


def _sleeves(data: Dataset, rows: Rows, score: Floats) -> Iterator[_Sleeve]:
    """From the first row of the window until the last forecast has run its course."""
    if len(rows) == 0:
        raise BadData("expected rows to trade, were none")
    begins, ends = data.ts[rows[0]], np.max(data.end_ts[rows])
    instruments: NDArray[np.int32] = data.instrument[rows]
    for number in np.unique(instruments):
        own = instruments == number
        bars = data.bars(int(number))
        first, stop = np.searchsorted(bars.ts, [begins, ends + np.timedelta64(1, "us")])
        at = data.bar[rows[own]] - first
        known_score = np.full(stop - first, np.nan)
        known_volatility = np.full(stop - first, np.nan)
        known_score[at] = score[own]
        known_volatility[at] = data.volatility[rows[own]]
        yield _Sleeve(
            instrument=data.prepared.instruments[number].instrument,
            bars=bars.between(first, stop),
            score=known_score,
            volatility=known_volatility,
        )


def _backtest(bars: PriceBars, position: Floats, rules: StrategyRules, *, share: int) -> BacktestResult:
    return backtest(
        bars.ts,
        bars.open,
        bars.close,
        bars.volume,
        position,
        costs=rules.costs,
        capital=rules.capital / share,
    )
