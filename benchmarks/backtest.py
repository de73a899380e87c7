"""Backtest: one signal, 200 variants with their signals, against others in the same run.

    python benchmarks/backtest.py

The others are numpy and pandas, and vectorbt and backtesting.py where `benchmarks/alternatives.sh` has
put them; those live in a process of their own, and what is timed is one request to it.

Recorded minutes of BTCUSDT (154,080) where they are, else a random walk of that length. The score
is the last hour's return in units of its spread: it persists, as a model's does. The noise measure
is the worst case: independent scores, a trade every few minutes.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from alternatives.process import Alternatives, installed, save
from timing import compare, emit

from autotrader.execution.arrays import Floats, Times
from autotrader.execution.costs import Costs
from autotrader.execution.sizing import Sizing, target_positions
from autotrader.training.backtest import backtest, backtest_variants
from autotrader.training.statistics import (
    probability_of_backtest_overfitting,
    sharpe_standard_error,
)

BARS = 154_080
CAPITAL = 100_000.0
COSTS = Costs.of_round_trip(10.0)
RATE = COSTS.one_way_rate
ONE = Sizing(entry_score=0.5, holding=timedelta(hours=1))
VARIANTS = [
    Sizing(entry_score=float(entry), holding=timedelta(minutes=int(minutes)))
    for entry in np.linspace(0.3, 0.8, 20)
    for minutes in np.linspace(15, 240, 10)
]
YEAR = 525_600.0
ELSEWHERE = ("vectorbt", "backtesting")


@dataclass(frozen=True)
class Bars:
    source: str
    ts: Times
    open: Floats
    close: Floats
    volume: Floats

    @property
    def columns(self) -> tuple[Times, Floats, Floats, Floats]:
        return self.ts, self.open, self.close, self.volume


def read_bars() -> Bars:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("AUTOTRADER_MARKET_DATA", beside)) / "binance_spot_1m"
    for path in folder.glob("BTCUSDT_1m_*.parquet"):
        frame = pl.read_parquet(path).sort("ts")
        ts = frame["ts"].cast(pl.Datetime("us", "UTC")).to_numpy()
        return Bars("recorded BTCUSDT", ts, *(frame[c].to_numpy() for c in ("open", "close", "volume")))
    rng = np.random.default_rng(0)
    ts = np.datetime64("2024-01-01", "us") + np.arange(BARS) * np.timedelta64(1, "m")
    close = 40_000 * np.exp(np.cumsum(rng.normal(0, 5e-4, BARS)))
    return Bars("random walk", ts, np.roll(close, 1), close, rng.uniform(1, 50, BARS))


def last_hour_score(close: Floats) -> Floats:
    change = pd.Series(np.log(close)).diff(60)
    return np.tanh(0.3 * change / change.std()).fillna(0.0).to_numpy()


def numpy_positions(score: Floats, sizing: Sizing) -> Floats:
    """`target_positions` for a plain long-only sizing on a grid without holes."""
    hold = sizing.holding // timedelta(minutes=1)
    rows = np.arange(len(score))
    last_up = np.maximum.accumulate(np.where(score > sizing.entry_score, rows, -hold - 1))
    last_down = np.maximum.accumulate(np.where(score < -sizing.entry_score, rows, -1))
    return ((rows - last_up < hold) & (last_up > last_down)).astype(np.float64)


def numpy_backtest(bars: Bars, position: Floats) -> dict[str, float]:
    """Vectorised, with the usual simplifications: returns times position, costs of turnover.

    Fewer figures than ours (no trades, no capacity), and rebalanced at every bar.
    """
    held = np.concatenate(([0.0], position[:-1]))
    before = np.concatenate(([0.0], held[:-1]))
    gap = bars.open / np.concatenate((bars.open[:1], bars.close[:-1])) - 1
    body = bars.close / bars.open - 1
    net = before * gap + held * body - np.abs(held - before) * RATE
    equity = CAPITAL * np.cumprod(1 + net)
    peak = np.maximum.accumulate(equity)
    deviation, downside = net.std(ddof=1), np.sqrt(np.mean(np.minimum(net, 0.0) ** 2))
    return {
        "net_pnl": equity[-1] - CAPITAL,
        "sharpe": net.mean() / deviation * np.sqrt(YEAR),
        "sortino": net.mean() / downside * np.sqrt(YEAR),
        "max_drawdown": np.max(1 - equity / peak),
        "exposure": held.mean(),
        "turnover": np.abs(held - before).sum(),
    }


def pandas_backtest(bars: Bars, position: Floats) -> dict[str, float]:
    """The same with pandas' series, as many write it."""
    index = pd.DatetimeIndex(bars.ts)
    close, held = pd.Series(bars.close, index), pd.Series(position, index).shift(1, fill_value=0.0)
    net = (
        held.shift(1, fill_value=0.0) * close.pct_change().fillna(0.0) - held.diff().abs().fillna(0.0) * RATE
    )
    equity = CAPITAL * (1 + net).cumprod()
    return {
        "net_pnl": equity.iloc[-1] - CAPITAL,
        "sharpe": net.mean() / net.std() * np.sqrt(YEAR),
        "sortino": net.mean() / np.sqrt(net.clip(upper=0).pow(2).mean()) * np.sqrt(YEAR),
        "max_drawdown": (1 - equity / equity.cummax()).max(),
        "exposure": held.mean(),
        "turnover": held.diff().abs().sum(),
    }


@contextlib.contextmanager
def alternatives(bars: Bars, score: Floats, position: Floats) -> Iterator[Alternatives | None]:
    """The process with vectorbt and backtesting.py, if they are there."""
    if not installed():
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        data = save(
            Path(folder) / "data.npz",
            ts=bars.ts,
            open=bars.open,
            close=bars.close,
            volume=bars.volume,
            score=score,
            position=position,
            entry=[v.entry_score for v in VARIANTS],
            hold=[v.holding // timedelta(minutes=1) for v in VARIANTS],
            rate=RATE,
            capital=CAPITAL,
        )
        with Alternatives(data) as process:
            yield process


def main() -> None:
    bars = read_bars()
    smooth = last_hour_score(bars.close)
    noise = np.tanh(0.3 * np.random.default_rng(0).normal(size=len(smooth)))
    position = target_positions(bars.ts, smooth, sizing=ONE)
    ours = backtest(*bars.columns, position, costs=COSTS, capital=CAPITAL)
    assert np.array_equal(position, numpy_positions(smooth, ONE)), "the contenders trade differently"
    with alternatives(bars, smooth, position) as others:
        measure_one_signal(bars, position, others)
        measure_variants(bars, smooth, noise, others)
    found = backtest_variants(*bars.columns, smooth, variants=VARIANTS, costs=COSTS, capital=CAPITAL)
    emit(
        compare(
            "statistics",
            {
                "overfitting_200_trials_by_hour": lambda: probability_of_backtest_overfitting(
                    found.bucket_returns
                ),
                "sharpe_standard_error_60_lags": lambda: sharpe_standard_error(ours.net_returns, lags=60),
            },
        )
    )


def measure_one_signal(bars: Bars, position: Floats, others: Alternatives | None) -> None:
    ours = backtest(*bars.columns, position, costs=COSTS, capital=CAPITAL).metrics
    theirs = numpy_backtest(bars, position)
    sharpe, net_return = {"ours": ours.sharpe, "numpy": theirs["sharpe"]}, {"ours": ours.net_return}
    contenders: dict[str, Callable[[], object]] = {
        "ours": lambda: backtest(*bars.columns, position, costs=COSTS, capital=CAPITAL),
        "numpy": lambda: numpy_backtest(bars, position),
        "pandas": lambda: pandas_backtest(bars, position),
    }
    if others is not None:
        of_vectorbt = others.do("vectorbt_one_signal")
        sharpe["vectorbt"], net_return["vectorbt"] = of_vectorbt["sharpe"], of_vectorbt["net_return"]
        net_return["backtesting"] = others.do("backtesting_one_signal")["net_return"]
        contenders["vectorbt"] = others.contender("vectorbt_one_signal")
    about = {
        "source": bars.source,
        "bars": len(position),
        "processors": os.cpu_count(),
        "sharpe": {name: round(value, 3) for name, value in sharpe.items()},
        "net_return": {name: round(value, 4) for name, value in net_return.items()},
    }
    emit(
        about | compare("backtest.one_signal", contenders, rounds=15, warmup=2, settle=2, elsewhere=ELSEWHERE)
    )
    emit(
        compare(
            "backtest.one_signal_in_caches_of_others", contenders, rounds=15, warmup=2, elsewhere=ELSEWHERE
        )
    )
    if others is not None:
        slow = {"ours": contenders["ours"], "backtesting": others.contender("backtesting_one_signal")}
        emit(compare("backtest.one_signal_by_events", slow, rounds=3, settle=1, elsewhere=ELSEWHERE))


def measure_variants(bars: Bars, smooth: Floats, noise: Floats, others: Alternatives | None) -> None:
    for name, score in (("backtest.200_variants", smooth), ("backtest.200_variants_of_noise", noise)):

        def numpy_variants(score: Floats = score) -> list[dict[str, float]]:
            return [numpy_backtest(bars, numpy_positions(score, v)) for v in VARIANTS]

        def variants(threads: int | None, score: Floats = score) -> object:
            return backtest_variants(
                *bars.columns, score, variants=VARIANTS, costs=COSTS, capital=CAPITAL, threads=threads
            )

        ways: dict[str, Callable[[], object]] = {
            "ours": lambda: variants(None),
            "ours_one_thread": lambda: variants(1),
            "numpy": numpy_variants,
        }
        emit(compare(name, ways, rounds=5))
    if others is not None:
        slow = {"ours": lambda: variants(None, smooth), "vectorbt": others.contender("vectorbt_200_variants")}
        emit(compare("backtest.200_variants_against_vectorbt", slow, rounds=1, elsewhere=ELSEWHERE))


if __name__ == "__main__":
    main()
