"""Bars, pages and tables compared, for the tests of the data layer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

import polars as pl

from autotrader.data.schemas import BARS, TIMESTAMP
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import Venue
from autotrader.ports.market_data import RawPage
from tests.fakes.market_data import MEDIA, made_bars

START = datetime(2024, 2, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LATENCY = timedelta(seconds=2)
FETCHED = START + timedelta(days=60)


def stored_bars(
    instrument: str = "BTCUSDT",
    *,
    minutes: int = 60,
    start: datetime = START,
    fetched_at: datetime | None = None,
    seen_at: datetime | None = None,
    close_shift: float = 0.0,
    venue: Venue = Venue.BINANCE,
) -> pl.DataFrame:
    """Bars in `BARS` columns (and `seen_at` where given): equal minutes have equal values.

    `close_shift` moves close and high, so that each row differs from the unshifted one.
    """
    rows = _series(venue, instrument, days=2 if minutes < 2880 else 200).filter(
        pl.col("ts").is_between(start, start + minutes * MINUTE, "left")
    )
    rows = rows.with_columns(pl.col("close") + close_shift, pl.col("high") + close_shift)
    rows = rows.with_columns(
        known_at=pl.col("ts") + MINUTE + LATENCY,
        ingested_at=pl.lit(fetched_at or FETCHED, TIMESTAMP),
        source=pl.lit("memory"),
    ).select([pl.col(c).cast(t) for c, t in BARS.items()])
    return rows if seen_at is None else rows.with_columns(pl.lit(seen_at, TIMESTAMP).alias("seen_at"))


@lru_cache(maxsize=32)
def _series(venue: Venue, instrument: str, *, days: int) -> pl.DataFrame:
    return made_bars(venue, instrument, START - timedelta(days=2), START + timedelta(days=days))


def page(
    rows: pl.DataFrame,
    *,
    start: datetime = START,
    end: datetime | None = None,
    fetched_at: datetime | None = None,
    instrument: str = "BTCUSDT",
    payload: bytes | None = None,
) -> RawPage:
    """A page of the in-memory venue that carries the rows."""
    end = end or start + 60 * MINUTE
    arrival = fetched_at or end + timedelta(days=1)
    return RawPage(
        venue=Venue.BINANCE,
        instrument=instrument,
        interval=Interval.M1,
        start=start,
        end=end,
        payload=rows.write_json().encode() if payload is None else payload,
        media=MEDIA,
        fetched_at=arrival,
        market_time=arrival,
        source="memory",
    )
