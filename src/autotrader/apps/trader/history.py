"""Bars of the past: what features look back on, and what a replay goes through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autotrader.data.bars import BarStore
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.features.kernels.layout import LOOKBACK
from autotrader.ports.market_data import MarketDataSource, PageDecoder
from autotrader.trading.bars import Bar, Batch

FEATURE_INPUTS = ("high", "low", "close", "volume", "taker_buy")
# Of a frame of bars, here and in bundles.
COLUMNS = ("venue", "instrument", "ts", "open", "high", "low", "close", "volume", "taker_buy_base")
_A_DAY = timedelta(days=1)
# Calendar days that hold the bars that features look back on, in a market with weekends and holidays.
_LOOKBACK_DAYS = 7


@dataclass(frozen=True, slots=True, eq=False)
class PastBars:
    """The last bars of one instrument.

    Attributes
    ----------
    ts_us : int64 array (n,)
        Opens, microseconds since 1970.
    columns : float64 array (5, n)
        In the order of `FEATURE_INPUTS`.
    """

    ts_us: NDArray[np.int64]
    columns: NDArray[np.float64]


def read_past(
    bars: BarStore, instruments: Sequence[InstrumentId], interval: Interval, until: datetime
) -> Mapping[InstrumentId, PastBars]:
    """From the lake, the bars with opens before `until` that features look back on."""
    start = look_back(interval, until)
    frame = bars.read(instruments, interval=interval, start=start, end=until, columns=COLUMNS)
    return past_in(frame, instruments, until)


def look_back(interval: Interval, until: datetime) -> datetime:
    """From where on to read, so that what features look back on at `until` is there."""
    needed = interval.delta * LOOKBACK
    return until - max(needed * 2, needed + _A_DAY * _LOOKBACK_DAYS)


def past_in(
    frame: pl.DataFrame, instruments: Sequence[InstrumentId], until: datetime
) -> Mapping[InstrumentId, PastBars]:
    """The bars with opens before `until` that features look back on, out of a frame in order of time."""
    before = frame.filter(pl.col("ts") < until)
    return {instrument: _past(_of(before, instrument)) for instrument in instruments}


async def fetch_past(
    source: MarketDataSource,
    decode: PageDecoder,
    instruments: Sequence[InstrumentId],
    interval: Interval,
    until: datetime,
) -> Mapping[InstrumentId, PastBars]:
    """The same from the venue; raises what `MarketDataSource.pages` raises."""
    needed = interval.delta * LOOKBACK
    always_open = source.venue is Venue.BINANCE
    start = until - (needed + interval.delta if always_open else needed + _A_DAY * _LOOKBACK_DAYS)
    past = {}
    for instrument in instruments:
        frames = [decode(page) async for page in source.pages(instrument.symbol, interval, start, until)]
        frame = pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(COLUMNS, pl.Float64))
        past[instrument] = _past(frame.unique("ts", keep="last").sort("ts"))
    return past


def _past(frame: pl.DataFrame) -> PastBars:
    newest = frame.tail(LOOKBACK)
    columns = [newest[name].fill_null(float("nan")).to_numpy() for name in COLUMNS[4:]]
    ts_us = newest["ts"].to_physical().to_numpy() if newest.height else np.empty(0, np.int64)
    return PastBars(ts_us.astype(np.int64), np.array(columns, dtype=np.float64).reshape(5, -1))


class ReplayFeed:
    """Recorded bars out of the lake, a day at a time.

    Parameters
    ----------
    bars : BarStore
    instruments : sequence of InstrumentId
    interval : Interval
    start, end : datetime
        Bar opens in [start, end); market time.
    """

    def __init__(
        self,
        bars: BarStore,
        instruments: Sequence[InstrumentId],
        interval: Interval,
        start: datetime,
        end: datetime,
    ) -> None:
        self._bars = bars
        self._instruments = tuple(instruments)
        self._interval = interval
        self._start = start
        self._end = end

    async def batches(self) -> AsyncIterator[Batch]:
        day = self._start
        while day < self._end:
            stop = min(day + _A_DAY, self._end)
            frame = self._bars.read(
                self._instruments, interval=self._interval, start=day, end=stop, columns=COLUMNS
            )
            for batch in batches_of(frame, self._interval, self._instruments):
                yield batch
            day = stop


def batches_of(
    frame: pl.DataFrame, interval: Interval, instruments: Sequence[InstrumentId] = ()
) -> Iterator[Batch]:
    """Group bars by their open, in order of time and instrument.

    Parameters
    ----------
    frame : pl.DataFrame
        Columns venue, instrument, ts (UTC), open, high, low, close, volume, taker_buy_base.
    instruments : sequence of InstrumentId
        Objects that the bars name where they are of these: looking them up is faster then.
    """
    known = {(i.venue.value, i.symbol): i for i in instruments}
    ordered = frame.sort("ts", "venue", "instrument").with_columns(
        pl.col("volume", "taker_buy_base").fill_null(float("nan")), pl.col("ts").to_physical()
    )
    at: int | None = None
    bars: list[Bar] = []
    for venue, symbol, ts, *values in ordered.select(COLUMNS).iter_rows():
        instrument = known.get((venue, symbol))
        if instrument is None:
            instrument = known[venue, symbol] = InstrumentId(Venue(venue), symbol)
        if ts != at:
            if bars:
                yield _batch(at, bars, interval)
            at, bars = ts, []
        bars.append(Bar(instrument, *values))
    if bars:
        yield _batch(at, bars, interval)


def _batch(ts_us: int | None, bars: list[Bar], interval: Interval) -> Batch:
    opened = datetime.fromtimestamp((ts_us or 0) // 1_000_000, UTC)
    return Batch(opened, opened + interval.delta, tuple(bars))


def _of(frame: pl.DataFrame, instrument: InstrumentId) -> pl.DataFrame:
    return frame.filter(
        (pl.col("venue") == instrument.venue.value) & (pl.col("instrument") == instrument.symbol)
    )
