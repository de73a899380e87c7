"""Records of a segment as rows of the lake."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from autotrader.apps.serving.segments import Record, SegmentHeader
from autotrader.data.schemas import PREDICTIONS, TIMESTAMP


def to_frame(header: SegmentHeader, records: Sequence[Record]) -> pl.DataFrame:
    """One row for each predicted row, in the order of the records.

    Parameters
    ----------
    records : sequence of Record
        At least one.

    Returns
    -------
    pl.DataFrame
        Columns of `PREDICTIONS`, then one float32 column for each feature.
    """
    rows = np.array([len(r.ts) for r in records])
    of_record = np.repeat(np.arange(len(records)), rows)
    first = np.repeat(np.cumsum(rows) - rows, rows)
    features = np.concatenate([r.features for r in records])
    probabilities = np.concatenate([r.probabilities for r in records])
    named = [r.instrument.partition(":") for r in records]
    each = pl.DataFrame(
        {
            "venue": [venue for venue, _, _ in named],
            "instrument": [symbol for _, _, symbol in named],
            "request_id": [r.request_id for r in records],
            "received_at": [r.received_at for r in records],
            "replayed": [r.replayed for r in records],
        },
        schema_overrides={"received_at": pl.Int64, "replayed": pl.Boolean},
    )
    moments = pl.Series("ts", np.concatenate([r.ts for r in records]))
    return (
        each[of_record]
        .with_columns(
            moments.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            pl.col("received_at").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(TIMESTAMP),
            pl.Series("row", (np.arange(len(of_record)) - first).astype(np.int32)),
            *(pl.Series(c, probabilities[:, n]) for n, c in enumerate(("p_down", "p_flat", "p_up"))),
            *(pl.Series(c, features[:, n]) for n, c in enumerate(header.feature_names)),
            interval=pl.lit(header.interval),
            version=pl.lit(header.version),
            color=pl.lit(header.color),
            feature_set=pl.lit(header.feature_set),
        )
        .select([*PREDICTIONS, *header.feature_names])
    )
