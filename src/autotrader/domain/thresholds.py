"""Every threshold that a check, gate, alert or dashboard uses, in one place, with its source.

One frozen dataclass per subject, each with one instance. "Contract" is the platform's published
behaviour; where a number is our own judgement, the comment says what it was judged on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

# ------------------------------------------------------------------------------------ data


@dataclass(frozen=True, slots=True)
class DataQualityThresholds:
    """Of bars as they are loaded, and as they lie in the lake. Shares are fractions of 1."""

    missing_share_warning: float = 0.05  # contract: missing > 5 % warns
    missing_share_critical: float = 0.10  # contract: > 10 % is critical
    # A bar whose close leaves both neighbours' by more than the floor and by more than this many
    # median absolute returns of its page, and comes back, is a spike and is refused; a move that
    # stays is a jump and is reported. Judged on 616,320 recorded minutes of four spot pairs
    # (2023-11 to 2024-02): the largest move is 9.6 % and 76 medians, the most medians are 93.
    spike_median_returns: float = 50.0
    spike_floor: float = 0.10
    # High or low this many times beyond the body: 1.05 at most in those minutes, and 30,000 in a
    # recorded daily bar of GOOG with a low of 0.01.
    reach_ratio: float = 5.0
    # Bars in a row with one price and no volume; those pairs have at most 1.
    stale_run_bars: int = 60
    quarantined_share_warning: float = 0.0  # any quarantined row is worth a look
    quarantined_share_critical: float = 0.05  # as missing: a quarantined row is a missing one


@dataclass(frozen=True, slots=True)
class FreshnessThresholds:
    """Of a table's newest row, behind the market clock, while the market is open."""

    fresh: timedelta = timedelta(minutes=5)  # contract
    recent: timedelta = timedelta(hours=1)  # contract
    stale: timedelta = timedelta(hours=24)  # contract; beyond is outdated
    pipeline_warning: timedelta = timedelta(minutes=60)  # contract
    pipeline_critical: timedelta = timedelta(minutes=120)  # contract


DATA_QUALITY = DataQualityThresholds()
FRESHNESS = FreshnessThresholds()

# ----------------------------------------------------------------------------------- gates


@dataclass(frozen=True, slots=True)
class GateThresholds:
    """Between a trained model and the registry's word that it may go live."""

    sharpe: float = 2.0  # contract: > 2.0, annualised
    max_drawdown: float = 0.15  # contract: < 15 %
    win_rate: float = 0.55  # contract: > 55 %
    trades: int = 100  # contract: > 100
    excess_net_pnl: float = 0.10  # contract: 10 % of allocated capital above the best baseline
    deflated_sharpe_probability: float = 0.95  # contract
    overfitting_probability: float = 0.20  # contract
    calibration_error: float = 0.05  # contract
    parity_difference: float = 1e-9  # contract: batch against live, relative
    # Probabilities leave ONNX as float32; copies that agree differ by up to 2e-7 on recorded bars.
    onnx_difference: float = 1e-5
    # A short window must not acquit by being asked for: whatever the setting, performance is not
    # passed on less than a year, where the standard error of an annual Sharpe ratio is about 1,
    # half of the bound.
    minimum_evaluation_days: float = 365.0
    sharpe_standard_error: float = 1.0
    # Purging and the last horizon cost a window some hours.
    window_coverage: float = 0.99
    # Two-sided; a window that is too short can fail a gate only beyond it.
    confidence: float = 0.95
    # A perfect forecast shows an error of up to 0.4 sqrt(10 bins / rows): 0.04 here.
    calibration_rows: int = 1_000


GATES = GateThresholds()
