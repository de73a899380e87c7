"""What the gates judge: figures, each of them None until it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from autotrader.training.statistics import Difference

CHAMPION = "champion"
BASELINES = ("flat", "buy_and_hold")
OPPONENTS_WITHOUT_CHAMPION = (*BASELINES, "shuffled_labels")


@dataclass(frozen=True, slots=True)
class Window:
    """Rows out of sample that two models are compared on.

    Attributes
    ----------
    first_ts, last_ts : datetime
        Open of the first and the last bar, UTC.
    days : float
        Length without gaps.
    """

    first_ts: datetime
    last_ts: datetime
    days: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GateEvidence:
    """Figures of one challenger. None and NaN mean "not measured" and never help to pass.

    Attributes
    ----------
    required_days : float
        Length of window that the setting `evaluation_days` asks for.
    evaluation_days : float or None
        Length of the out-of-sample window that was judged.
    sharpe, sharpe_standard_error : float or None
        Annualised from the bar clock, both.
    max_drawdown : float or None
        Fraction of the peak; the sign does not matter.
    win_rate : float or None
        Share of closed trades.
    trades : int or None
        Closed trades.
    net_pnl, allocated_capital : float or None
        Quote currency.
    baselines : Mapping[str, float]
        Net PnL over the same window, by name; `flat` and `buy_and_hold` are needed.
    excess_standard_error : float or None
        Of net PnL minus that of the best baseline, quote currency; lets a short window condemn.
    deflated_sharpe_probability : float or None
    trials : int or None
        Number of trials behind it: all in the ledger that share the window.
    overfitting_probability : float or None
    calibration_error : float or None
        Expected calibration error of out-of-sample probabilities.
    calibration_rows : int or None
        Rows behind it.
    has_champion : bool or None
        Whether there is one to compare with.
    comparisons : Mapping[str, Difference]
        Annualised Sharpe ratio of the challenger minus that of an opponent over the same bars, by
        name: `champion` where there is one, else `flat`, `buy_and_hold` and `shuffled_labels`.
    champion_window : Window or None
        What the comparison with the champion stands on: at most the window that was judged.
    leaks : int or None
        Rows or features found to have seen the future; 0 if the checks ran and found none.
    schema_mismatches : int or None
        Columns that differ from the feature set's in name, order or type.
    parity_difference : float or None
        Largest relative difference between features computed in batch and live.
    onnx_difference : float or None
        Largest absolute difference between the probabilities of the ONNX copy and the original.
    """

    required_days: float
    evaluation_days: float | None = None
    sharpe: float | None = None
    sharpe_standard_error: float | None = None
    max_drawdown: float | None = None
    win_rate: float | None = None
    trades: int | None = None
    net_pnl: float | None = None
    allocated_capital: float | None = None
    baselines: Mapping[str, float] | None = None
    excess_standard_error: float | None = None
    deflated_sharpe_probability: float | None = None
    trials: int | None = None
    overfitting_probability: float | None = None
    calibration_error: float | None = None
    calibration_rows: int | None = None
    has_champion: bool | None = None
    comparisons: Mapping[str, Difference] | None = None
    champion_window: Window | None = None
    leaks: int | None = None
    schema_mismatches: int | None = None
    parity_difference: float | None = None
    onnx_difference: float | None = None
