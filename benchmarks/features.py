"""Features: batch, newest bar and whole way through Parquet, against pandas and polars.

Uses the recorded spot bars (`AUTOTRADER_MARKET_DATA`, or `../shared/data`). The other two compute the
same 42 columns, idiomatically; a test holds their values against ours.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
from timing import compare, emit

from autotrader.domain.bars import Interval
from autotrader.features.batch import BarArrays, compute, compute_each
from autotrader.features.definitions import BALANCED
from autotrader.features.live import LiveFeatures, warm_up

SESSIONS = {"asia": ("Asia/Tokyo", 9), "london": ("Europe/London", 8), "new_york": ("America/New_York", 8)}
NEWEST = 20_000


def files() -> list[Path]:
    named = os.environ.get("AUTOTRADER_MARKET_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    found = sorted((folder / "binance_spot_1m").glob("*.parquet"))
    if not found:
        raise SystemExit(f"expected recorded bars in {folder}: set AUTOTRADER_MARKET_DATA")
    return found


def read(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path)


def with_pandas(bars: pd.DataFrame, *, ranks: bool = True) -> pd.DataFrame:
    """The balanced set in plain pandas; its averages have no end, ours end after 208 bars."""
    close, high, low, volume = bars["close"], bars["high"], bars["low"], bars["volume"]
    out: dict[str, pd.Series | np.ndarray] = {}
    step = close.diff()
    up, down = (
        part.ewm(alpha=1 / 14, min_periods=208).mean() for part in (step.clip(lower=0), -step.clip(upper=0))
    )
    out["rsi_14"] = 100 * up / (up + down)
    line = close.ewm(span=12).mean() - close.ewm(span=26).mean()
    signal = line.ewm(span=9).mean()
    out["macd_line"], out["macd_signal"] = line / close, signal / close
    out["macd_histogram"] = (line - signal) / close
    mean, band = close.rolling(20).mean(), 2 * close.rolling(20).std(ddof=0)
    out["bollinger_upper_distance"] = (mean + band - close) / close
    out["bollinger_lower_distance"] = (close - mean + band) / close
    before = close.shift()
    true_range = np.maximum(high, before) - np.minimum(low, before)
    out["atr_14"] = true_range.ewm(alpha=1 / 14).mean() / close
    change, squared_range = np.log(close / before), np.log(high / low) ** 2
    for w in (20, 50, 200):
        out[f"log_return_{w}"] = np.log(close / close.shift(w))
        out[f"simple_return_{w}"] = close / close.shift(w) - 1
        out[f"volatility_{w}"] = change.rolling(w).std()
        out[f"parkinson_volatility_{w}"] = np.sqrt(squared_range.rolling(w).mean() / (4 * np.log(2)))
        if ranks:
            out[f"percentile_{w}"] = close.rolling(w).rank(pct=True)
        window = close.rolling(w)
        out[f"zscore_{w}"] = (close - window.mean()) / window.std()
    ts = bars["ts"].dt
    clock = {"hour": (ts.hour, 24), "minute": (ts.minute, 60), "day_of_week": (ts.dayofweek, 7)}
    for name, (value, period) in clock.items():
        angle = 2 * np.pi * value / period
        out[name], out[f"{name}_sin"], out[f"{name}_cos"] = value, np.sin(angle), np.cos(angle)
    for name, (zone, opens) in SESSIONS.items():
        local = ts.tz_convert(zone).dt
        out[f"session_{name}"] = (local.dayofweek < 5) & (local.hour >= opens) & (local.hour < opens + 9)
    paid = ((high + low + close) / 3 * volume).rolling(50).sum()
    out["vwap_distance_50"] = close * volume.rolling(50).sum() / paid - 1
    balance, time_ = (np.sign(step).fillna(0) * volume).cumsum(), np.arange(len(bars))
    traded = volume.rolling(20).sum()
    moment = (balance * time_).rolling(20).sum() - (time_ - 9.5) * balance.rolling(20).sum()
    out["obv_slope_20"] = moment / 665 / (traded / 20)
    out["taker_buy_share_20"] = bars["taker_buy_base"].rolling(20).sum() / traded
    short, long = out["volatility_20"], out["volatility_200"]
    out["volatility_regime"] = np.select([short > 1.25 * long, short < 0.75 * long], [1.0, -1.0], 0.0)
    hurdle = long * np.sqrt(200)
    total = out["log_return_200"]
    out["trend_regime"] = np.select([total > hurdle, total < -hurdle], [1.0, -1.0], 0.0)
    return pd.DataFrame(out, index=bars.index).astype(np.float32)


def with_polars(bars: pl.DataFrame, *, ranks: bool = True) -> pl.DataFrame:
    """The balanced set in polars, in two steps of parallel expressions."""
    close, high, low, volume = (pl.col(c) for c in ("close", "high", "low", "volume"))
    step, before = close.diff(), close.shift()
    basis = bars.lazy().with_columns(
        up=step.clip(lower_bound=0).ewm_mean(alpha=1 / 14, min_samples=208),
        down=(-step).clip(lower_bound=0).ewm_mean(alpha=1 / 14, min_samples=208),
        line=close.ewm_mean(span=12) - close.ewm_mean(span=26),
        true_range=pl.max_horizontal(high, before) - pl.min_horizontal(low, before),
        change=(close / before).log(),
        squared_range=(high / low).log() ** 2,
        balance=(step.sign().fill_null(0) * volume).cum_sum(),
        traded=volume.rolling_sum(20),
        time=pl.int_range(pl.len()).cast(pl.Float64),
    )
    mean, band = close.rolling_mean(20), 2 * close.rolling_std(20, ddof=0)
    signal = pl.col("line").ewm_mean(span=9)
    columns = {
        "rsi_14": 100 * pl.col("up") / (pl.col("up") + pl.col("down")),
        "macd_line": pl.col("line") / close,
        "macd_signal": signal / close,
        "macd_histogram": (pl.col("line") - signal) / close,
        "bollinger_upper_distance": (mean + band - close) / close,
        "bollinger_lower_distance": (close - mean + band) / close,
        "atr_14": pl.col("true_range").ewm_mean(alpha=1 / 14) / close,
    }
    for w in (20, 50, 200):
        past = close.shift(w)
        columns[f"log_return_{w}"] = (close / past).log()
        columns[f"simple_return_{w}"] = close / past - 1
        columns[f"volatility_{w}"] = pl.col("change").rolling_std(w)
        columns[f"parkinson_volatility_{w}"] = (
            pl.col("squared_range").rolling_mean(w) / (4 * np.log(2))
        ).sqrt()
        if ranks:
            columns[f"percentile_{w}"] = close.rolling_rank(w, method="average") / w
        columns[f"zscore_{w}"] = (close - close.rolling_mean(w)) / close.rolling_std(w)
    ts = pl.col("ts").dt
    clock = {"hour": (ts.hour(), 24), "minute": (ts.minute(), 60), "day_of_week": (ts.weekday() - 1, 7)}
    for name, (value, period) in clock.items():
        angle = 2 * np.pi * value / period
        columns |= {name: value, f"{name}_sin": angle.sin(), f"{name}_cos": angle.cos()}
    for name, (zone, opens) in SESSIONS.items():
        local = ts.convert_time_zone(zone).dt
        hour = local.hour()
        columns[f"session_{name}"] = (local.weekday() < 6) & (hour >= opens) & (hour < opens + 9)
    paid = ((high + low + close) / 3 * volume).rolling_sum(50)
    columns["vwap_distance_50"] = close * volume.rolling_sum(50) / paid - 1
    balance, time_ = pl.col("balance"), pl.col("time")
    moment = (balance * time_).rolling_sum(20) - (time_ - 9.5) * balance.rolling_sum(20)
    columns["obv_slope_20"] = moment / 665 / (pl.col("traded") / 20)
    columns["taker_buy_share_20"] = pl.col("taker_buy_base").rolling_sum(20) / pl.col("traded")
    short, long = columns["volatility_20"], columns["volatility_200"]
    columns["volatility_regime"] = (
        pl.when(short > 1.25 * long).then(1).when(short < 0.75 * long).then(-1).otherwise(0)
    )
    hurdle, total = long * np.sqrt(200), columns["log_return_200"]
    columns["trend_regime"] = pl.when(total > hurdle).then(1).when(total < -hurdle).then(-1).otherwise(0)
    return basis.select(e.cast(pl.Float32).alias(name) for name, e in columns.items()).collect()


def processor_ms(run: Callable[[], object], *, rounds: int = 3) -> float:
    """Least processor time of all threads: what the work costs, however busy the machine is."""
    taken = []
    for _ in range(rounds):
        begin = time.process_time()
        run()
        taken.append(time.process_time() - begin)
    return round(min(taken) * 1000, 2)


def write(frame: pl.DataFrame, path: Path) -> None:
    pq.write_table(frame.to_arrow(), path, use_dictionary=False, compression="zstd", compression_level=1)


def through_parquet(paths: list[Path], folder: Path, made: list[pl.DataFrame] | None) -> None:
    """Read, compute (unless made before) and write, two instruments at a time."""

    def one(nth: int) -> None:
        bars = read(paths[nth])
        write(compute(bars, workers=1) if made is None else made[nth], folder / f"{nth}.parquet")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(len(paths))))


def newest(bars: pl.DataFrame) -> dict[str, float]:
    """Microseconds from a bar to its row of features, the Python call included."""
    arrays = BarArrays.from_frame(bars.tail(NEWEST + BALANCED.lookback))
    columns = (arrays.ts, arrays.high, arrays.low, arrays.close, arrays.volume, arrays.taker_buy)
    rows = list(zip(*(c.tolist() for c in columns), strict=True))
    live = LiveFeatures(Interval.M1)
    for row in rows[: BALANCED.lookback]:
        live.append(*row)
    taken = np.empty(NEWEST)
    for k, row in enumerate(rows[BALANCED.lookback :]):
        begin = time.perf_counter_ns()
        live.update(*row)
        taken[k] = time.perf_counter_ns() - begin
    p50, p90, p99, p999 = np.percentile(taken, [50, 90, 99, 99.9]) / 1000
    return {"p50_us": p50, "p90_us": p90, "p99_us": p99, "p99.9_us": p999, "bars": NEWEST}


def main() -> None:
    warm_up()
    paths = files()
    frames = [read(p) for p in paths]
    compute(frames[0])
    pandas_frames = [f.to_pandas() for f in frames]
    rows = sum(f.height for f in frames)

    def ours() -> None:
        for _ in compute_each(frames):
            pass

    def each(function: Callable[..., object], tables: Sequence[object], **named: bool) -> Callable[[], None]:
        return lambda: [function(t, **named) for t in tables] and None

    pandas, polars = each(with_pandas, pandas_frames), each(with_polars, frames)
    contenders = {"ours": ours, "pandas": pandas, "polars": polars}
    batch = compare("features.batch", contenders, rounds=5)
    seconds = batch["median_ms"]["ours"] / 1000
    emit(batch | {"rows": rows, "columns": len(BALANCED.names), "rows_per_second": round(rows / seconds)})
    emit(
        {
            "name": "features.batch_processor_time",
            "best_ms": {k: processor_ms(f) for k, f in contenders.items()},
        }
    )
    without = {
        "ours_with_ranks": ours,
        "pandas": each(with_pandas, pandas_frames, ranks=False),
        "polars": each(with_polars, frames, ranks=False),
    }
    emit(compare("features.batch_others_without_percentiles", without, rounds=5))

    made = [compute(f) for f in frames]
    with tempfile.TemporaryDirectory() as folder:
        io = {
            "read_compute_write": lambda: through_parquet(paths, Path(folder), None),
            "read_write": lambda: through_parquet(paths, Path(folder), made),
        }
        emit(compare("features.parquet", io, rounds=9))

    emit({"name": "features.newest"} | {k: round(v, 2) for k, v in newest(frames[0]).items()})
    last = frames[0].tail(300)
    table = last.to_pandas()
    live = LiveFeatures(Interval.M1)
    arrays = BarArrays.from_frame(last)
    bars = np.array([arrays.high, arrays.low, arrays.close, arrays.volume, arrays.taker_buy])
    for k in range(299):
        live.append(int(arrays.ts[k]), *bars[:, k])
    next_open = [int(arrays.ts[299])]

    def update() -> None:
        for _ in range(100):
            live.update(next_open[0], *bars[:, 299].tolist())
            next_open[0] += 60_000_000

    hundred = {
        "ours": update,
        "pandas": lambda: [with_pandas(table) for _ in range(100)],
        "polars": lambda: [with_polars(last) for _ in range(100)],
    }
    emit(compare("features.newest_of_300_bars_x100", hundred, rounds=3))


if __name__ == "__main__":
    main()
