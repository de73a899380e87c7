"""Measures of returns and of forecasts, each with the source of its formula."""

from autotrader.execution.clock import bars_per_year
from autotrader.execution.forecasts import (
    brier_score,
    expected_calibration_error,
    log_loss,
    precision_at_k,
)
from autotrader.training.statistics.overfitting import (
    Overfitting,
    cross_validate_symmetrically,
    deflated_sharpe_probability,
    expected_maximum_sharpe,
    probabilistic_sharpe,
    probability_of_backtest_overfitting,
)
from autotrader.training.statistics.paths import max_drawdown, profit_factor, win_rate
from autotrader.training.statistics.sharpe import (
    Difference,
    annualised_sharpe,
    sharpe_difference,
    sharpe_ratio,
    sharpe_standard_error,
    sortino_ratio,
    total_difference,
)

__all__ = [
    "Difference",
    "Overfitting",
    "annualised_sharpe",
    "bars_per_year",
    "brier_score",
    "cross_validate_symmetrically",
    "deflated_sharpe_probability",
    "expected_calibration_error",
    "expected_maximum_sharpe",
    "log_loss",
    "max_drawdown",
    "precision_at_k",
    "probabilistic_sharpe",
    "probability_of_backtest_overfitting",
    "profit_factor",
    "sharpe_difference",
    "sharpe_ratio",
    "sharpe_standard_error",
    "sortino_ratio",
    "total_difference",
    "win_rate",
]
