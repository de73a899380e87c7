"""Runs in .venv-alternatives: answers each name on a line of its input by doing that once.

    python worker.py DATA.npz

Knows nothing of autotrader. What it is asked to do is written as the project's own guide would.
"""

import json
import os
import sys
from functools import cache
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"  # read at import

import numpy as np
import pandas as pd

CASH = 1e9  # backtesting.py trades whole units


def vectorbt_one_signal(data):
    import vectorbt as vbt

    return _figures(vbt, data, _orders(data["position"])[:, None])


def vectorbt_200_variants(data):
    """Twenty at once, which is what a machine of 8 GB bears."""
    import vectorbt as vbt

    done = {}
    for begin in range(0, len(data["entry"]), 20):
        some = slice(begin, begin + 20)
        positions = [
            _orders(_held(data["score"], entry, hold))
            for entry, hold in zip(data["entry"][some], data["hold"][some], strict=True)
        ]
        done = _figures(vbt, data, np.column_stack(positions))
    return done


def backtesting_one_signal(data):
    from backtesting import Backtest

    test = Backtest(
        _frame(data["path"]),
        _strategy(),
        cash=CASH,
        commission=float(data["rate"]),
        trade_on_close=False,
        finalize_trades=True,
    )
    stats = test.run()
    return {"trades": int(stats["# Trades"]), "net_return": float(stats["Return [%]"]) / 100}


def duckdb_as_of_join(data):
    connection = _tables(data["path"])
    table = connection.execute(
        """
        select l.*, r.* exclude (venue, instrument, ts)
        from labels l asof left join feature_rows r
        on l.venue = r.venue and l.instrument = r.instrument and l.ts >= r.known_at
        """
    ).to_arrow_table()
    return {"rows": table.num_rows}


def _orders(position):
    """Target percent at the bars where it changes, one bar after it was decided; else no order."""
    held = np.concatenate(([0.0], position[:-1]))
    return np.where(held != np.concatenate(([0.0], held[:-1])), held, np.nan)


def _held(score, entry, hold):
    rows = np.arange(len(score))
    last_up = np.maximum.accumulate(np.where(score > entry, rows, -hold - 1))
    last_down = np.maximum.accumulate(np.where(score < -entry, rows, -1))
    return ((rows - last_up < hold) & (last_up > last_down)).astype(np.float64)


def _figures(vbt, data, orders):
    index = pd.DatetimeIndex(data["ts"])
    columns = range(orders.shape[1])
    portfolio = vbt.Portfolio.from_orders(
        pd.DataFrame(np.broadcast_to(data["close"][:, None], orders.shape), index, columns),
        size=pd.DataFrame(orders, index, columns),
        size_type="targetpercent",
        price=pd.DataFrame(np.broadcast_to(data["open"][:, None], orders.shape), index, columns),
        fees=float(data["rate"]),
        init_cash=float(data["capital"]),
        freq="1min",
    )
    trades = portfolio.trades.closed
    found = {
        "net_return": portfolio.total_return(),
        "sharpe": portfolio.sharpe_ratio(year_freq="365 days"),
        "sortino": portfolio.sortino_ratio(year_freq="365 days"),
        "max_drawdown": portfolio.max_drawdown(),
        "trades": trades.count(),
        "win_rate": trades.win_rate(),
        "profit_factor": trades.profit_factor(),
    }
    return {name: float(np.ravel(value)[0]) for name, value in found.items()}


@cache
def _frame(path):
    data = _load(path)
    columns = {name.title(): data[name] for name in ("open", "close", "volume")}
    columns["High"] = np.maximum(data["open"], data["close"])
    columns["Low"] = np.minimum(data["open"], data["close"])
    return pd.DataFrame(columns | {"target": data["position"]}, pd.DatetimeIndex(data["ts"]))


@cache
def _strategy():
    from backtesting import Strategy

    class Follow(Strategy):
        def init(self):
            pass

        def next(self):
            if self.data.target[-1] > 0:
                if not self.position:
                    self.buy()
            elif self.position:
                self.position.close()

    return Follow


@cache
def _tables(path):
    import duckdb

    connection = duckdb.connect()
    for name in ("labels", "feature_rows"):
        connection.read_parquet(str(Path(path) / f"{name}.parquet")).create(name)
    return connection


@cache
def _load(path):
    if Path(path).is_dir():
        return {"path": path}
    with np.load(path) as file:
        return {name: file[name] for name in file} | {"path": path}


def main():
    for line in sys.stdin:
        try:
            answer = {"result": globals()[line.strip()](_load(sys.argv[1]))}
        except Exception as error:  # noqa: BLE001 - whatever it is, the benchmark must hear of it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
