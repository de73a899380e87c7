"""All gates, with their bounds and sources."""

from __future__ import annotations

from autotrader.domain import thresholds
from autotrader.training.gates import rules
from autotrader.training.gates.gate import Gate, Kind

_LIMITS = thresholds.GATES
_CONTRACT = "contract, section 6"

GATES: tuple[Gate, ...] = (
    Gate("no_leakage", "Number of leaks", "<=", 0, "count", Kind.INTEGRITY, _CONTRACT, rules.leakage),
    Gate(
        "schema", "Number of columns that differ", "<=", 0, "count", Kind.INTEGRITY, _CONTRACT, rules.schema
    ),
    Gate(
        "batch_live_parity",
        "Largest relative difference of batch and live features",
        "<=",
        _LIMITS.parity_difference,
        "difference",
        Kind.INTEGRITY,
        "contract, section 5",
        rules.parity,
    ),
    Gate(
        "onnx_equality",
        "Largest difference of ONNX and original",
        "<=",
        _LIMITS.onnx_difference,
        "difference",
        Kind.INTEGRITY,
        "contract, section 7; float32 probabilities",
        rules.onnx,
    ),
    Gate(
        "calibration_computed",
        "Rows behind the calibration",
        ">",
        0,
        "count",
        Kind.INTEGRITY,
        _CONTRACT,
        rules.calibration_computed,
    ),
    Gate("sharpe", "Sharpe", ">", _LIMITS.sharpe, "ratio", Kind.PERFORMANCE, _CONTRACT, rules.sharpe),
    Gate(
        "max_drawdown",
        "Maximum drawdown",
        "<",
        _LIMITS.max_drawdown,
        "share",
        Kind.PERFORMANCE,
        _CONTRACT,
        rules.drawdown,
    ),
    Gate("win_rate", "Win rate", ">", _LIMITS.win_rate, "share", Kind.PERFORMANCE, _CONTRACT, rules.win_rate),
    Gate(
        "trades", "Number of trades", ">", _LIMITS.trades, "count", Kind.PERFORMANCE, _CONTRACT, rules.trades
    ),
    Gate(
        "net_pnl_above_baseline",
        "Net PnL above the best baseline, of capital,",
        ">=",
        _LIMITS.excess_net_pnl,
        "share",
        Kind.PERFORMANCE,
        _CONTRACT,
        rules.excess_pnl,
    ),
    Gate(
        "deflated_sharpe_probability",
        "Probability that the Sharpe is more than luck",
        ">=",
        _LIMITS.deflated_sharpe_probability,
        "share",
        Kind.PERFORMANCE,
        "contract, section 6; Bailey and Lopez de Prado 2014",
        rules.deflated_sharpe,
    ),
    Gate(
        "backtest_overfitting",
        "Probability of backtest overfitting",
        "<=",
        _LIMITS.overfitting_probability,
        "share",
        Kind.PERFORMANCE,
        "contract, section 6; Bailey, Borwein, Lopez de Prado and Zhu 2017",
        rules.overfitting,
    ),
    Gate(
        "calibration_error",
        "Expected calibration error",
        "<=",
        _LIMITS.calibration_error,
        "share",
        Kind.PERFORMANCE,
        _CONTRACT,
        rules.calibration,
    ),
    Gate(
        "challenger",
        "Annual Sharpe above the hardest opponent's",
        ">=",
        0,
        "ratio",
        Kind.PERFORMANCE,
        _CONTRACT,
        rules.challenger,
    ),
)
