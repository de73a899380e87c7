"""Training frame: 100,000 labels joined as of their instant to 616,320 rows of 42 features.

Ours looks at `known_at` of every row, so that a row which became known late is not seen before; the
others join on it as if it were in order, which it is here. DuckDB takes part, in a process
of its own, where `benchmarks/alternatives.sh` has put it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from alternatives.process import Alternatives, installed
from features import files, read
from timing import compare, emit

from autotrader.features.batch import compute
from autotrader.features.definitions import BALANCED
from autotrader.features.store.as_of import as_of_join

LABELS = 100_000
SERIES = ["venue", "instrument"]
KNOWN_AFTER = timedelta(minutes=1, seconds=2)


def feature_rows() -> pl.DataFrame:
    """Rows of all recorded pairs, sorted by instrument and time."""
    frames = []
    for path in files():
        bars = read(path)
        known_at = (bars["ts"].cast(pl.Datetime("us", "UTC")) + KNOWN_AFTER).alias("known_at")
        frames.append(
            pl.concat([bars.select(SERIES), compute(bars)], how="horizontal").insert_column(3, known_at)
        )
    return pl.concat(frames, rechunk=True).sort(*SERIES, "ts")


def labels_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Instants drawn from the rows', in order within each instrument."""
    drawn = np.sort(np.random.default_rng(7).choice(rows.height, LABELS, replace=False))
    return rows[drawn].select(*SERIES, pl.col("known_at").alias("ts") + timedelta(seconds=3), label=pl.lit(1))


@contextlib.contextmanager
def duckdb(labels: pl.DataFrame, rows: pl.DataFrame) -> Iterator[Alternatives | None]:
    """The process with DuckDB and the tables in it, if it is there."""
    if not installed():
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        labels.write_parquet(f"{folder}/labels.parquet")
        rows.write_parquet(f"{folder}/feature_rows.parquet")
        with Alternatives(Path(folder)) as process:
            yield process


def main() -> None:
    rows = feature_rows()
    labels = labels_of(rows)
    right = rows.rename({"ts": "feature_ts"}).set_sorted("known_at")
    by_time = {"left_on": "ts", "right_on": "known_at", "by": SERIES, "check_sortedness": False}
    pandas_labels = labels.to_pandas().sort_values("ts")
    pandas_rows = right.to_pandas().sort_values("known_at")
    contenders: dict[str, Callable[[], object]] = {
        "ours": lambda: as_of_join(labels, rows),
        "polars": lambda: labels.join_asof(right, **by_time),
        "pandas": lambda: pd.merge_asof(
            pandas_labels, pandas_rows, left_on="ts", right_on="known_at", by=SERIES
        ),
    }
    one, other = contenders["ours"](), contenders["polars"]()
    assert isinstance(one, pl.DataFrame)
    assert isinstance(other, pl.DataFrame)
    assert one.select(BALANCED.names).equals(other.select(BALANCED.names))
    with duckdb(labels, rows) as others:
        if others is not None:
            assert others.do("duckdb_as_of_join") == {"rows": LABELS}
            contenders["duckdb"] = others.contender("duckdb_as_of_join")
        measured = compare("training_frame.as_of_join", contenders, rounds=9, elsewhere=["duckdb"])
    emit(measured | {"labels": LABELS, "rows": rows.height})


if __name__ == "__main__":
    main()
