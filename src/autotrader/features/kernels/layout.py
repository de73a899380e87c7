"""Where the kernels find and put what: columns of the output, rows of the workspace."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autotrader.features.definitions import BALANCED, ROLLING_WINDOWS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Output = NDArray[np.floating]

COLUMNS = BALANCED.names
LOOKBACK = BALANCED.lookback

# Bars over which an exponential average is taken: eight spans of the slowest. What the classical,
# infinite average would add weighs less than 2.1e-7.
SMOOTHING = 208
SIGNAL_SMOOTHING = 72
# In an array, for the compiler would make one copy of a function for each constant it is called with.
WINDOWS = np.array([*ROLLING_WINDOWS, SIGNAL_SMOOTHING, SMOOTHING])

RSI = COLUMNS.index("rsi_14")
MACD_LINE = COLUMNS.index("macd_line")
MACD_SIGNAL = COLUMNS.index("macd_signal")
MACD_HISTOGRAM = COLUMNS.index("macd_histogram")
BOLLINGER_UPPER = COLUMNS.index("bollinger_upper_distance")
BOLLINGER_LOWER = COLUMNS.index("bollinger_lower_distance")
ATR = COLUMNS.index("atr_14")
ROLLING = COLUMNS.index("log_return_20")
HOUR = COLUMNS.index("hour")
SESSION = COLUMNS.index("session_asia")
VWAP = COLUMNS.index("vwap_distance_50")
OBV = COLUMNS.index("obv_slope_20")
TAKER = COLUMNS.index("taker_buy_share_20")
VOLATILITY_REGIME = COLUMNS.index("volatility_regime")
TREND_REGIME = COLUMNS.index("trend_regime")
# Offsets inside the six columns of one rolling window.
LOG_RETURN, SIMPLE_RETURN, VOLATILITY, PARKINSON, PERCENTILE, ZSCORE = range(6)

ROWS_AT_A_TIME = 2048
# Rows of the workspace: series of one value a bar ...
CHANGE, RANGE_SQUARED, GAIN, LOSS, TRUE_RANGE, SIGNED_VOLUME, PRICE_VOLUME, LINE = range(8)
DEVIATION, SPREAD, CHANGE_SPREAD, RANGE_SUM, SHORT_SPREAD, LOG_RETURNS = range(8, 14)
# ... then five sums inside blocks, up to each bar and from each bar on.
FORWARD, BACKWARD = 14, 19
WORKSPACE_SHAPE = (24, ROWS_AT_A_TIME + LOOKBACK)
