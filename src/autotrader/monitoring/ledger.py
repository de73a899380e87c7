"""The label-maturity ledger: what was predicted, when it became known what happened, what that was.

A prediction enters when its label is known in market time, never before. A row is named by bar and
version, so that taking the same predictions in again changes nothing.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from autotrader.config.settings import StrategySettings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.data.schemas import TIMESTAMP
from autotrader.domain.instruments import InstrumentId
from autotrader.execution.labels import strategy_labels

LEDGER_TABLE = "matured_predictions"
LEDGER: dict[str, pl.DataType | type[pl.DataType]] = {
    "venue": pl.String,
    "instrument": pl.String,
    "interval": pl.String,
    "ts": TIMESTAMP,  # bar open
    "version": pl.String,  # of the model, semver
    "rule": pl.String,  # what was predicted: horizon, costs and kind of label
    "replayed": pl.Boolean,
    "p_down": pl.Float64,
    "p_flat": pl.Float64,
    "p_up": pl.Float64,
    "label": pl.Int64,
    "forward_return": pl.Float64,
    "matured_at": TIMESTAMP,  # market time from which the label was known
}


class LabelLedger:
    """Matured predictions of all versions.

    Parameters
    ----------
    lake : Lake
    """

    def __init__(self, lake: Lake) -> None:
        self._table = lake.table(LEDGER_TABLE, LEDGER, row_key=("ts", "version", "rule"))

    def take_in(
        self, served: pl.DataFrame, *, bars: BarStore, strategy: StrategySettings, now: datetime
    ) -> int:
        """Add predictions whose labels are known by now; returns how many are new.

        Parameters
        ----------
        served : pl.DataFrame
            As `served_rows`.
        bars : BarStore
        strategy : StrategySettings
            As the model's labels were made.
        now : datetime
            Market time, UTC.
        """
        frames = [
            matured
            for rows in served.partition_by("venue", "instrument", maintain_order=True)
            if (matured := _matured(rows, bars, strategy, now)).height
        ]
        # Idempotent by its rows, whatever it is called.
        return self._table.upsert(frames, commit_key=f"matured/{uuid.uuid4().hex}").inserted if frames else 0

    def read(self, *, version: str, rule: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Matured predictions of a version for bars with open in [start, end), sorted by key."""
        rows: pl.DataFrame = self._table.read(start=start, end=end).filter(version=version, rule=rule)
        return rows

    def matured(self, start: datetime, end: datetime) -> pl.DataFrame:
        """Predictions of all versions and rules for bars with open in [start, end), sorted by key."""
        return self._table.read(start=start, end=end)


def rule_of(strategy: StrategySettings) -> str:
    """All that labels depend on, in words."""
    return (
        f"{strategy.labels.rule}, {strategy.horizon_minutes} minutes, "
        f"{strategy.round_trip_cost_bps:g} bps round trip"
    )


def _matured(rows: pl.DataFrame, bars: BarStore, strategy: StrategySettings, now: datetime) -> pl.DataFrame:
    instrument = InstrumentId.parse(f"{rows['venue'][0]}:{rows['instrument'][0]}")
    first, last = rows.select(pl.col("ts").first().alias("a"), pl.col("ts").last().alias("b")).row(0)
    interval = strategy.interval
    price = bars.read(
        [instrument],
        interval=interval,
        start=first - (strategy.labels.volatility_span_bars + 1) * interval.delta,
        end=last + timedelta(minutes=strategy.horizon_minutes) + interval.delta,
        columns=["ts", "close"],
        as_of=now,
    )
    ts = price["ts"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
    labels = strategy_labels(ts, price["close"].to_numpy(), strategy=strategy)
    known = pl.DataFrame(
        {
            "ts": price["ts"],
            "label": labels.label.astype(np.int64),
            "forward_return": labels.forward_return,
            "matured_at": pl.Series(labels.end_ts, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC"),
        }
    ).filter(pl.Series(labels.valid))
    return (
        rows.join(known.filter(pl.col("matured_at") <= now), on="ts")
        .with_columns(
            pl.lit(rule_of(strategy)).alias("rule"), pl.col("p_down", "p_flat", "p_up").cast(pl.Float64)
        )
        .select(list(LEDGER))
        .sort("ts")
    )
