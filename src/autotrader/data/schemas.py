"""Columns and types of every frame that crosses a module's border.

Times are UTC with microseconds. Prices are in the instrument's quote currency, volumes in units
of the instrument.
"""

from __future__ import annotations

import polars as pl

TIMESTAMP = pl.Datetime("us", "UTC")

KEY = ("venue", "instrument", "interval", "ts")

# What a decoder reads from a raw page. Null where the venue has none.
DECODED_BARS: dict[str, pl.DataType | type[pl.DataType]] = {
    "venue": pl.String,
    "instrument": pl.String,
    "interval": pl.String,
    "ts": TIMESTAMP,  # open time
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Float64,
    "quote_volume": pl.Float64,
    "trade_count": pl.Int64,
    "taker_buy_base": pl.Float64,
    "taker_buy_quote": pl.Float64,
    "spread": pl.Float64,  # ask close minus bid close, where the venue quotes both
}

# Columns whose change is a restatement.
BAR_VALUES = tuple(c for c in DECODED_BARS if c not in KEY)

BARS = DECODED_BARS | {
    "known_at": TIMESTAMP,  # market time from which the row could be known
    "ingested_at": TIMESTAMP,  # wall time of the page that brought it
    "source": pl.String,
}

# Between decoding and the lake.
STAGED_BARS = BARS | {
    "seen_at": TIMESTAMP,  # market time at which the page arrived
}

# Rows that no longer stand: superseded by a restatement, or taken back by a rollback.
BARS_HISTORY = BARS | {
    "superseded_at": TIMESTAMP,  # market time from which the row no longer stood
    "superseded_by": pl.String,  # `restatement`, or the id of a hold
}

# Rows that a check refused, and pages that could not be read: those have the page's start as ts,
# no values, and -1 as row.
QUARANTINE = BARS | {
    "reason": pl.String,
    "sha256": pl.String,  # digest of the archived page
    "row": pl.Int64,  # position in the page, from 0
}

# A prediction as it was served; beside these, one float32 column for each feature of the set, as the
# model saw it.
PREDICTIONS: dict[str, pl.DataType | type[pl.DataType]] = {
    "venue": pl.String,
    "instrument": pl.String,
    "interval": pl.String,
    "ts": TIMESTAMP,  # open time of the bar that the features are of
    "request_id": pl.String,
    "row": pl.Int32,  # of the request, from 0
    "received_at": TIMESTAMP,  # wall time of the service
    "version": pl.String,  # of the model
    "color": pl.String,
    "replayed": pl.Boolean,  # asked to compare versions, not to act on
    "feature_set": pl.String,
    "p_down": pl.Float32,
    "p_flat": pl.Float32,
    "p_up": pl.Float32,
}
