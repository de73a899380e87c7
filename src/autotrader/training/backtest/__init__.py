"""What trading a forecast would have earned after costs, by the execution model of the trader."""

from autotrader.training.backtest.buckets import bucket_returns
from autotrader.training.backtest.metrics import Metrics
from autotrader.training.backtest.portfolio import combine
from autotrader.training.backtest.single import BacktestResult, backtest, buy_and_hold, stay_flat
from autotrader.training.backtest.variants import VariantResults, backtest_variants

__all__ = [
    "BacktestResult",
    "Metrics",
    "VariantResults",
    "backtest",
    "backtest_variants",
    "bucket_returns",
    "buy_and_hold",
    "combine",
    "stay_flat",
]
