"""Returns over periods longer than a bar: what the statistics of overfitting take."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats, Integers, Times
from autotrader.execution.clock import microseconds
from autotrader.execution.net_returns import path_returns
from autotrader.training.backtest.single import BacktestResult


def buckets(ts: Times, length: timedelta) -> tuple[Times, Integers]:
    """Start of each bucket of time that has bars, aligned to 1970, and its last row.

    Raises
    ------
    BadData
        If the length is not above zero.
    """
    if length <= timedelta(0):
        raise BadData(f"expected a bucket above zero, was {length}")
    length_us = length // timedelta(microseconds=1)
    number = microseconds(ts) // length_us
    lasts = np.append(np.flatnonzero(np.diff(number)), len(number) - 1)
    return (number[lasts] * length_us).view("datetime64[us]"), lasts


def bucket_returns(result: BacktestResult, length: timedelta) -> Floats:
    """Simple net return over each bucket that has bars; zero after ruin.

    Raises
    ------
    BadData
        If the length is not above zero.
    """
    _, lasts = buckets(result.ts, length)
    return path_returns(result.equity[lasts], result.capital)
