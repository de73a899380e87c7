"""How much of the result is the luck of having tried much: what the ledger and the searches know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autotrader.ports.trials import Trial, TrialLedger
from autotrader.training.dataset import PreparedData
from autotrader.training.evaluation import Evaluation
from autotrader.training.search import FamilySearch
from autotrader.training.statistics import deflated_sharpe_probability, probability_of_backtest_overfitting


@dataclass(frozen=True, slots=True)
class Luck:
    """Statistics of having tried much.

    Attributes
    ----------
    trials : int
        In the ledger whose data shares an instant with this run's: failed and pruned ones too.
    trials_complete : int
        Those with a Sharpe ratio; their variance is behind the deflation.
    deflated_sharpe_probability : float or None
        None if fewer than two trials completed, or the model never traded.
    overfitting_probability : float or None
        Over the complete trials of this run. None if there are fewer than two.
    overfitting_trials : int
    """

    trials: int
    trials_complete: int
    deflated_sharpe_probability: float | None
    overfitting_probability: float | None
    overfitting_trials: int


def measure_luck(
    *,
    prepared: PreparedData,
    searches: Sequence[FamilySearch],
    evaluation: Evaluation,
    ledger: TrialLedger,
    strategy_id: str,
) -> Luck:
    """Deflated Sharpe probability and probability of backtest overfitting, by the true number of trials.

    Parameters
    ----------
    prepared : PreparedData
        Its window, lookback and all, is what trials must share to count.
    searches : sequence of FamilySearch
    evaluation : Evaluation
    ledger : TrialLedger
    strategy_id : str
    """
    tried = ledger.overlapping(strategy_id, prepared.first_ts, prepared.last_ts)
    returns = _returns(searches)
    return Luck(
        trials=len(tried),
        trials_complete=sum(t.sharpe is not None for t in tried),
        deflated_sharpe_probability=_deflated(tried, evaluation),
        overfitting_probability=(
            probability_of_backtest_overfitting(np.column_stack(returns)) if len(returns) >= 2 else None
        ),
        overfitting_trials=len(returns),
    )


def _deflated(tried: Sequence[Trial], evaluation: Evaluation) -> float | None:
    sharpes = [t.sharpe for t in tried if t.sharpe is not None]
    error, per_bar = evaluation.sharpe_standard_error, evaluation.sharpe_per_bar
    metrics = evaluation.metrics["model"]
    bars, a_year = metrics["bars"], metrics["bars_per_year"]
    if len(sharpes) < 2 or error is None or per_bar is None or bars is None or a_year is None:
        return None
    probability = deflated_sharpe_probability(
        per_bar,
        n_trials=len(tried),
        trial_variance=float(np.var(sharpes, ddof=1)),
        n_observations=int(bars),
        standard_error=error / math.sqrt(a_year),
    )
    return probability if math.isfinite(probability) else None


def _returns(searches: Sequence[FamilySearch]) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Hourly returns of every complete trial, each once."""
    found = {
        trial.key: np.load(Path(search.folder) / trial.returns_file)
        for search in searches
        for trial in search.trials
        if trial.returns_file is not None
    }
    return [found[key] for key in sorted(found)]
