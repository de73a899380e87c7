"""Tables of the feature store: three for each version of a feature set."""

from __future__ import annotations

import polars as pl

from autotrader.data.schemas import TIMESTAMP
from autotrader.features.definitions import FeatureSet


def table_name(feature_set: FeatureSet) -> str:
    """`features_balanced_v1` for `balanced-v1`."""
    return f"features_{feature_set.version.replace('-', '_')}"


def schema(feature_set: FeatureSet) -> dict[str, pl.DataType | type[pl.DataType]]:
    """Columns of the table: the key, from when the row was known (market time), the features."""
    return {
        "venue": pl.String,
        "instrument": pl.String,
        "interval": pl.String,
        "ts": TIMESTAMP,
        "feature_set_version": pl.String,
        "known_at": TIMESTAMP,
        **dict.fromkeys(feature_set.names, pl.Float32),
    }


def history_schema(feature_set: FeatureSet) -> dict[str, pl.DataType | type[pl.DataType]]:
    """Columns of rows that a recomputation replaced; `superseded_at` is when that was known."""
    return schema(feature_set) | {"superseded_at": TIMESTAMP}


def derived_schema() -> dict[str, pl.DataType | type[pl.DataType]]:
    """Columns of the record of what features were derived from; `ts` is the start of a day, UTC."""
    return {
        "venue": pl.String,
        "instrument": pl.String,
        "interval": pl.String,
        "ts": TIMESTAMP,
        "bars": pl.Int64,  # of that day
        "digest": pl.Int64,  # of them
    }
