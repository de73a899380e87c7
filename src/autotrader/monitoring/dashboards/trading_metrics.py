"""What the account earns and risks."""

from __future__ import annotations

from autotrader.domain.service_levels import promql_duration
from autotrader.domain.thresholds import ALERTS, MODEL_PERFORMANCE, PANELS
from autotrader.monitoring.dashboards.panels import (
    Color,
    Dashboard,
    Look,
    Panel,
    Query,
    Row,
    Shown,
    Variable,
    better_above,
    worse_above,
)

_CHOSEN = 'instrument=~"$instrument"'
_SHORT = "too little to tell"
_AWAY = "no trader runs"
# Bars come one in a minute, and orders are rarer: a shorter window would be empty between two of them.
_WINDOW = promql_duration(ALERTS.rate_window)
_MINUTES = ALERTS.rate_window.total_seconds() / 60

_NOW = Row(
    "Now",
    (
        Panel(
            "Current PnL",
            "Equity less what the account began with; open positions at their last prices.",
            (Query("trading_pnl_total"),),
            look=Look.NUMBER,
            shown=Shown.MONEY,
            steps=better_above(0),
            if_empty=_AWAY,
            width=6,
        ),
        Panel(
            "Daily PnL",
            "Equity less what the trading day began with. Beyond the limit of a day the breaker trips.",
            (Query("trading_daily_pnl"),),
            look=Look.NUMBER,
            shown=Shown.MONEY,
            steps=better_above(0),
            if_empty=_AWAY,
            width=6,
        ),
        Panel(
            "Sharpe ratio",
            "Annualised, of 30 days. It is not shown before there is enough to tell it from chance.",
            (Query("trading_sharpe_ratio"),),
            look=Look.NUMBER,
            steps=better_above(*PANELS.sharpe),
            if_empty=_SHORT,
            width=6,
        ),
        Panel(
            "Win rate",
            "Share of the trades closed within 30 days that earned more than their fees.",
            (Query("trading_winning_trades / (trading_total_trades > 0)"),),
            look=Look.NUMBER,
            shown=Shown.SHARE,
            steps=better_above(*PANELS.win_rate),
            if_empty="no trade yet",
            width=6,
        ),
        Panel(
            "Max drawdown",
            "Largest fall of the equity from a peak within 30 days. At the red number the circuit breaker"
            " trips as it is set at first.",
            (Query("trading_max_drawdown_percent"),),
            look=Look.NUMBER,
            shown=Shown.PERCENT,
            steps=worse_above(*(share * 100 for share in PANELS.drawdown)),
            if_empty=_SHORT,
            width=6,
        ),
        Panel(
            "Circuit breaker",
            "Halted: no order is sent until a person resumes trading.",
            (Query("max(trading_circuit_breaker_active)"),),
            look=Look.NUMBER,
            words={0: ("trading", Color.GREEN), 1: ("HALTED", Color.RED)},
            if_empty=_AWAY,
            width=6,
        ),
        Panel(
            "Profit factor",
            "What winning trades of 30 days earned, over what the others lost. Below 1 it loses.",
            (Query("trading_gross_profit / (trading_gross_loss > 0)"),),
            look=Look.NUMBER,
            steps=better_above(*PANELS.profit_factor),
            if_empty="no losing trade yet",
            width=6,
        ),
        Panel(
            "Differences from the broker",
            "What we believe to hold and what the broker says, where nobody has cleared it up. Above zero"
            " nothing is opened.",
            (Query("sum(trading_position_mismatches)"),),
            look=Look.NUMBER,
            steps=worse_above(1),
            if_empty="no account yet",
            width=6,
        ),
    ),
)

_OVER_TIME = Row(
    "Over time",
    (
        Panel(
            "PnL by instrument",
            "What closed trades earned since the account began, after fees; and the account's whole PnL, with"
            " what is held.",
            (
                Query(f"trading_realised_pnl{{{_CHOSEN}}}", "{{instrument}}"),
                Query("trading_pnl_total", "all, with open positions"),
            ),
            shown=Shown.MONEY,
            width=16,
        ),
        Panel(
            "Trades per minute",
            f"Orders that were handed to the broker and trades that were closed, on the mean of {_MINUTES:g}"
            " minutes.",
            (
                Query(f"60 * sum(rate(trading_order_latency_seconds_count[{_WINDOW}]))", "orders"),
                # The number of 30 days falls when old ones leave it: that is no trade.
                Query(f"clamp_min(delta(trading_total_trades[{_WINDOW}]), 0) / {_MINUTES:g}", "closed"),
            ),
            shown=Shown.A_MINUTE,
        ),
        Panel(
            "Position sizes",
            "Units held, below zero sold short.",
            (Query(f"trading_position_size{{{_CHOSEN}}}", "{{instrument}}"),),
            width=16,
        ),
        Panel(
            "Equity",
            "Cash and positions at their last prices.",
            (Query("trading_portfolio_value", "equity"),),
            shown=Shown.MONEY,
        ),
    ),
)

_HELD = Row(
    "Positions and predictions",
    (
        Panel(
            "Active positions",
            "Units held of each instrument. Empty while nothing is held.",
            (Query(f"trading_position_size{{{_CHOSEN}}} != 0"),),
            look=Look.TABLE,
            if_empty="nothing is held",
        ),
        Panel(
            "Instruments held",
            "How many.",
            (Query("trading_active_positions", "held"),),
        ),
        Panel(
            "Value at risk",
            "Share of the equity that a day's loss exceeds on one day in twenty, by the last 30 days.",
            (Query("trading_risk_var_95", "one day, 95 %"),),
            shown=Shown.SHARE,
            if_empty=_SHORT,
        ),
        Panel(
            "Confidence",
            "Mean probability of the class that the model thinks likeliest, of what the trader asked for in"
            f" {_MINUTES:g} minutes.",
            (
                Query(
                    f'sum(rate(model_prediction_confidence_sum{{service="trader"}}[{_WINDOW}]))'
                    f' / (sum(rate(model_prediction_confidence_count{{service="trader"}}[{_WINDOW}])) > 0)',
                    "mean",
                ),
            ),
            shown=Shown.SHARE,
            steps=better_above(MODEL_PERFORMANCE.mean_confidence),
            if_empty="no prediction",
            most=1,
        ),
        Panel(
            "Bars with a prediction",
            f"In a minute, on the mean of {_MINUTES:g}. One for each instrument while the market is open.",
            (Query(f"60 * sum(rate(trading_signals_total[{_WINDOW}]))", "bars"),),
            shown=Shown.A_MINUTE,
        ),
        Panel(
            "From bar to order",
            "How long 99 of 100 orders take at most, from the closed bar's arrival to the hand-over; those of"
            f" {_MINUTES:g} minutes.",
            (
                Query(
                    "histogram_quantile(0.99, sum by (le)"
                    f" (rate(trading_order_latency_seconds_bucket[{_WINDOW}])))",
                    "p99",
                ),
            ),
            shown=Shown.SECONDS,
            if_empty="no order",
        ),
    ),
)

TRADING_METRICS = Dashboard(
    "trading_metrics",
    "Trading metrics",
    "What the account earns, holds and risks.",
    (_NOW, _OVER_TIME, _HELD),
    (Variable("instrument", "Instrument", "trading_position_size"),),
)
