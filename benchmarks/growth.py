"""How the cost of features grows with the number of instruments: 1, 10, 100, 1,000.

Beyond the recorded ones an instrument is simulated: recorded bars with prices and volumes scaled and
shaken in memory. Each size runs in a process of its own, so that its peak memory is its own.

    python benchmarks/growth.py            all sizes
    python benchmarks/growth.py 100        one size
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import polars as pl
from features import files, read
from timing import emit

from autotrader.adapters.clocks import StandingMarketClock
from autotrader.data.lake import Lake
from autotrader.data.schemas import TIMESTAMP
from autotrader.features.batch import compute, compute_each
from autotrader.features.definitions import BALANCED
from autotrader.features.live import warm_up
from autotrader.features.store import layout
from autotrader.features.store.store import FeatureStore

SIZES = (1, 10, 100, 1_000)
BACKFILL_DAYS = 30
DAY = 1_440


def recorded(rows: int) -> list[pl.DataFrame]:
    return [
        read(path).tail(rows).with_columns(pl.col("ts").cast(TIMESTAMP), venue=pl.lit("binance"))
        for path in files()
    ]


def instruments(real: list[pl.DataFrame], count: int) -> Iterator[pl.DataFrame]:
    """The recorded series, then shaken ones, made when they are asked for."""
    for nth in range(count):
        bars = real[nth % len(real)]
        if nth < len(real):
            yield bars
            continue
        random = np.random.default_rng(nth)
        shaken = pl.Series(random.uniform(0.1, 10) * np.exp(random.normal(0, 1e-4, bars.height).cumsum()))
        traded = pl.Series(random.uniform(0.5, 2, bars.height))
        yield bars.with_columns(
            *(pl.col(c) * shaken for c in ("open", "high", "low", "close")),
            *(pl.col(c) * traded for c in ("volume", "taker_buy_base")),
            instrument=pl.lit(f"SIMULATED{nth:04d}"),
        )


def as_rows(bars: pl.DataFrame) -> pl.DataFrame:
    """The last day as rows of the feature store."""
    features = compute(bars, workers=1).with_columns(
        bars["venue"],
        bars["instrument"],
        bars["interval"],
        known_at=pl.col("ts") + timedelta(minutes=1),
        feature_set_version=pl.lit(BALANCED.version),
    )
    return features.select(list(layout.schema(BALANCED))).tail(DAY)


def memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(count: int) -> dict[str, object]:
    warm_up()
    real = recorded(BACKFILL_DAYS * DAY)
    for _ in compute_each(real[:1]):  # load the kernels, and pay for the threads
        pass
    before = memory_mb()
    begin = time.perf_counter()
    rows = sum(frame.height for frame in compute_each(instruments(real, count)))
    backfill = time.perf_counter() - begin
    peak = memory_mb()
    days = recorded(DAY + BALANCED.lookback)
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Lake(folder), StandingMarketClock(real[0]["ts"][-1]))
        begin = time.perf_counter()
        done = store.write((as_rows(bars) for bars in instruments(days, count)), commit_key="day")
        daily = time.perf_counter() - begin
    return {
        "name": "features.growth",
        "instruments": count,
        "recorded": min(count, len(real)),
        "backfill_rows": rows,
        "backfill_seconds": round(backfill, 3),
        "backfill_ms_each": round(backfill / count * 1000, 2),
        "backfill_peak_mb": round(peak, 1),
        "backfill_added_mb": round(peak - before, 1),
        "day_rows_stored": done.inserted,
        "day_seconds": round(daily, 3),
        "day_ms_each": round(daily / count * 1000, 2),
        "day_peak_mb": round(memory_mb(), 1),
    }


def main() -> None:
    if len(sys.argv) > 1:
        emit(measure(int(sys.argv[1])))
        return
    for count in SIZES:
        subprocess.run([sys.executable, __file__, str(count)], check=True)


if __name__ == "__main__":
    main()
