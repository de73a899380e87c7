"""The lake against plain Parquet files and against Delta's own merge: `python benchmarks/lake.py`.

90 days of 1-minute bars of 10 instruments, 1.3 M rows. Every contender starts each turn from the
same state, with its table opened anew. Goals: write at most 1.2 x plain hive Parquet, upsert of one
day at most 35 ms, read of one instrument at most 2 x a file of its own.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.dataset
from deltalake import DeltaTable, write_deltalake
from timing import compare, emit

from autotrader.data.lake import PARTITION_BY, Lake
from autotrader.data.schemas import BARS, TIMESTAMP

INSTRUMENTS = [f"COIN{n}USDT" for n in range(10)]
DAYS = 90
START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=DAYS)
DAY = timedelta(days=1)
ROUNDS = 9
WRITE_ROUNDS = 15  # in pairs: writing swings with the disk cache


def made(instrument: str, start: datetime, end: datetime) -> pl.DataFrame:
    """A random walk on a cent grid with the columns of `BARS`."""
    ts = pl.datetime_range(start, end, "1m", closed="left", time_unit="us", time_zone="UTC", eager=True)
    random = np.random.default_rng(int(start.timestamp()) + INSTRUMENTS.index(instrument))
    close = np.round(40_000 * np.exp(np.cumsum(random.normal(0, 5e-4, len(ts)))), 2)
    volume = np.round(random.lognormal(2, 1, len(ts)), 5)
    columns = {
        "open": np.roll(close, 1),
        "high": close + 1,
        "low": close - 1,
        "close": close,
        "volume": volume,
        "quote_volume": np.round(volume * close, 4),
        "trade_count": random.integers(10, 2000, len(ts)),
        "taker_buy_base": np.round(volume / 2, 5),
        "taker_buy_quote": np.round(volume * close / 2, 4),
    }
    return (
        pl.DataFrame({"ts": ts, **columns})
        .with_columns(
            pl.lit("binance").alias("venue"),
            pl.lit(instrument).alias("instrument"),
            pl.lit("1m").alias("interval"),
            pl.lit(None, pl.Float64).alias("spread"),
            (pl.col("ts") + timedelta(seconds=62)).alias("known_at"),
            pl.lit(end + DAY, TIMESTAMP).alias("ingested_at"),
            pl.lit("binance").alias("source"),
        )
        .select(list(BARS))
    )


def write(root: Path, frames: list[pl.DataFrame]) -> None:
    """Backfill of an empty table, against the same rows as files without a table around them."""
    whole = pl.concat(frames)
    targets = {name: root / name for name in ("ours", "hive_polars", "hive_pyarrow", "delta_write")}

    def hive_polars() -> None:
        for frame in frames:
            folder = targets["hive_polars"] / f"instrument={frame['instrument'][0]}"
            folder.mkdir(parents=True)
            rows = frame.drop(PARTITION_BY)
            rows.write_parquet(folder / "0.parquet", compression="zstd", compression_level=1)

    def hive_pyarrow() -> None:
        pyarrow.dataset.write_dataset(
            whole.to_arrow(), targets["hive_pyarrow"], format="parquet", partitioning=list(PARTITION_BY),
            partitioning_flavor="hive",
        )  # fmt: skip

    def ours() -> None:
        Lake(str(targets["ours"])).table("bars", BARS).upsert(frames, commit_key="a")

    def delta_write() -> None:
        write_deltalake(targets["delta_write"], whole, partition_by=list(PARTITION_BY))

    def prepare(name: str) -> None:
        shutil.rmtree(targets[name], ignore_errors=True)

    pair: dict[str, Callable[[], object]] = {"ours": ours, "hive_polars": hive_polars}
    measured = compare("lake.write_90_days_of_10", pair, rounds=WRITE_ROUNDS, prepare=prepare)
    emit(measured | {"rows": whole.height, "goal": "ours/hive_polars <= 1.2"})
    others = {"ours": ours, "hive_pyarrow": hive_pyarrow, "delta_write": delta_write}
    emit(compare("lake.write_against_other_writers", others, rounds=3, prepare=prepare))


def upsert(root: Path, frames: list[pl.DataFrame]) -> None:
    """One day of ten instruments into 90 days: new, there already, restated, and by Delta's merge."""
    ours, delta = root / "upsert-ours", root / "upsert-delta"
    Lake(str(ours)).table("bars", BARS).upsert(frames, commit_key="a")
    write_deltalake(delta, pl.concat(frames), partition_by=list(PARTITION_BY))
    next_day = [made(i, END, END + DAY) for i in INSTRUMENTS]
    last_day = [f.filter(pl.col("ts") >= END - DAY) for f in frames]
    middle = [f.filter(pl.col("ts").is_between(START + 40 * DAY, START + 41 * DAY, "left")) for f in frames]
    restated = [f.with_columns(pl.col("close") + 0.01) for f in middle]
    half_new = [pl.concat([a[720:], b[:720]]) for a, b in zip(last_day, next_day, strict=True)]
    work = root / "work"

    def upsert_of(days: list[pl.DataFrame]) -> Callable[[], object]:
        return lambda: Lake(str(work)).table("bars", BARS).upsert(days, commit_key="b")

    def merge(predicate: str) -> Callable[[], object]:
        day = pl.concat(next_day)

        def run() -> None:
            merged = DeltaTable(work).merge(day, predicate, source_alias="s", target_alias="t")
            merged.when_matched_update_all().when_not_matched_insert_all().execute()

        return run

    key = " AND ".join(f"t.{c} = s.{c}" for c in (*PARTITION_BY, "ts"))
    listed = ", ".join(f"'{i}'" for i in INSTRUMENTS)
    literal = f"t.venue = 'binance' AND t.interval = '1m' AND t.instrument IN ({listed}) AND {key}"
    contenders = {
        "ours_new_day": upsert_of(next_day),
        "ours_half_new": upsert_of(half_new),
        "ours_unchanged": upsert_of(last_day),
        "ours_restated_mid_history": upsert_of(restated),
        "merge_literal_partitions_and_day": merge(f"{literal} AND t.ts >= '{END:%Y-%m-%dT%H:%M:%SZ}'"),
        "merge_literal_partitions": merge(literal),
        "merge_key_only": merge(key),
    }

    def prepare(name: str) -> None:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(ours if name.startswith("ours") else delta, work, copy_function=os.link)

    emit(
        compare("lake.upsert_day_of_10", contenders, rounds=ROUNDS, prepare=prepare)
        | {"rows": sum(f.height for f in next_day), "goal": "ours_new_day <= 35 ms"}
    )


def read(root: Path, frames: list[pl.DataFrame]) -> None:
    """One instrument's 90 days, against a file that holds nothing else."""
    lake, own, delta = root / "read-lake", root / "own.parquet", root / "upsert-delta"
    Lake(str(lake)).table("bars", BARS).upsert(frames, commit_key="a")
    frames[3].write_parquet(own, compression="zstd", compression_level=1)
    table = Lake(str(lake)).table("bars", BARS)
    chosen = INSTRUMENTS[3]
    contenders = {
        "ours": lambda: table.read(venue="binance", instruments=[chosen], interval="1m"),
        "own_file": lambda: pl.read_parquet(own),
        "ours_opened_anew": lambda: Lake(str(lake)).table("bars", BARS).read(instruments=[chosen]),
        "scan_delta": lambda: pl.scan_delta(delta).filter(pl.col("instrument") == chosen).collect(),
        "to_pyarrow_table": lambda: DeltaTable(delta).to_pyarrow_table(filters=[("instrument", "=", chosen)]),
    }
    emit(
        compare("lake.read_90_days_of_1", contenders, rounds=2 * ROUNDS)
        | {"rows": frames[3].height, "goal": "ours/own_file <= 2"}
    )


def main() -> None:
    wanted = sys.argv[1:] or ["write", "upsert", "read"]
    frames = [made(i, START, END) for i in INSTRUMENTS]
    root = Path(tempfile.mkdtemp(prefix="lake-benchmark-"))
    try:
        for name, run in (("write", write), ("upsert", upsert), ("read", read)):
            if name in wanted:
                run(root, frames)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
