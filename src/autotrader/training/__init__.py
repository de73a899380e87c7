"""From features to a judged model: labels, splits, statistics, backtest, gates."""
