"""A venue in memory: the simplest source that keeps the contract, and bars to put into it."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from autotrader.data.schemas import DECODED_BARS
from autotrader.domain.bars import Interval, floor_to
from autotrader.domain.errors import BadData, ConfigurationError, NotFound, Unreachable
from autotrader.domain.instruments import Venue
from autotrader.ports.clock import MarketClock
from autotrader.ports.market_data import ConnectionReport, RawPage

MEDIA = "memory.bars.json"


def made_bars(
    venue: Venue,
    instrument: str,
    start: datetime,
    end: datetime,
    *,
    interval: Interval = Interval.M1,
    seed: int = 7,
) -> pl.DataFrame:
    """A seeded random walk in `DECODED_BARS` columns: one bar per step of [start, end), no gaps."""
    ts = pl.datetime_range(start, end, interval.delta, closed="left", time_unit="us", eager=True)
    random = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, 1e-3, len(ts)))), 2)
    open_ = np.concatenate([[100.0], close[:-1]])
    reach = np.round(random.uniform(0, 0.1, len(ts)), 2)
    volume = np.round(random.lognormal(5, 1, len(ts)))
    return pl.DataFrame(
        {
            "venue": pl.repeat(venue.value, len(ts), eager=True),
            "instrument": pl.repeat(instrument, len(ts), eager=True),
            "interval": pl.repeat(interval.value, len(ts), eager=True),
            "ts": ts,
            "open": open_,
            "high": np.maximum(open_, close) + reach,
            "low": np.minimum(open_, close) - reach,
            "close": close,
            "volume": volume,
            "quote_volume": np.round(volume * close, 2),
            "trade_count": random.integers(1, 200, len(ts)),
            "taker_buy_base": np.round(volume / 2),
            "taker_buy_quote": np.round(volume / 2 * close, 2),
            "spread": pl.repeat(None, len(ts), dtype=pl.Float64, eager=True),
        },
        schema=DECODED_BARS,
    )


class InMemorySource:
    """Serves frames of bars, a few at a time.

    Parameters
    ----------
    bars : Mapping[str, pl.DataFrame]
        Instrument to bars in `DECODED_BARS` columns.
    reachable : bool
        False: every call but `test_connection` raises `Unreachable`. May be changed at any time.
    """

    def __init__(
        self,
        venue: Venue,
        bars: Mapping[str, pl.DataFrame],
        market_clock: MarketClock,
        *,
        page_bars: int = 500,
        reachable: bool = True,
        source: str = "memory",
    ) -> None:
        self.venue = venue
        self.reachable = reachable
        self.closed = False
        self._bars = bars
        self._market_clock = market_clock
        self._page_bars = page_bars
        self._source = source

    async def available(self, instruments: Sequence[str]) -> dict[str, str]:
        self._require_reachable()
        return {name: "the source has no such instrument" for name in instruments if name not in self._bars}

    async def pages(
        self, instrument: str, interval: Interval, start: datetime, end: datetime
    ) -> AsyncIterator[RawPage]:
        if start > end:
            raise ConfigurationError(f"expected start before end, was {start} to {end}")
        self._require_reachable()
        if instrument not in self._bars:
            raise NotFound(f"expected one of {sorted(self._bars)}, was {instrument!r}")
        opens = start
        end = min(end, floor_to(self._market_clock.now(), interval))
        while opens < end:
            self._require_reachable()
            until = min(end, opens + self._page_bars * interval.delta)
            rows = self._bars[instrument].filter(pl.col("ts") >= opens, pl.col("ts") < until)
            yield RawPage(
                venue=self.venue,
                instrument=instrument,
                interval=interval,
                start=opens,
                end=until,
                payload=rows.write_json().encode(),
                media=MEDIA,
                fetched_at=datetime.now(UTC),
                market_time=self._market_clock.now(),
                source=self._source,
            )
            opens = until

    async def test_connection(self) -> ConnectionReport:
        if not self.reachable:
            return ConnectionReport(self.venue, ok=False, reason="the source was told to be unreachable")
        return ConnectionReport(self.venue, ok=True, reason="in memory", latency_ms=0.0)

    async def aclose(self) -> None:
        self.closed = True

    def _require_reachable(self) -> None:
        if not self.reachable:
            raise Unreachable("expected an answer, was none: the source was told to be unreachable")


class FailingSource(InMemorySource):
    """Fails for some instruments, each after its number of pages."""

    fails: Mapping[str, tuple[int, Exception]]

    async def pages(
        self, instrument: str, interval: Interval, start: datetime, end: datetime
    ) -> AsyncIterator[RawPage]:
        left, error = self.fails.get(instrument, (1000, None))
        async for page in super().pages(instrument, interval, start, end):
            if left == 0:
                raise error
            left -= 1
            yield page


def decode_page(page: RawPage) -> pl.DataFrame:
    """Bars of an in-memory page, unclosed ones left out."""
    if page.media != MEDIA:
        raise BadData(f"expected a page of {MEDIA}, was {page.media}")
    try:
        if not isinstance(json.loads(page.payload), list):
            raise ValueError("not a list of bars")
        rows = pl.read_json(io.BytesIO(page.payload), schema=DECODED_BARS)
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise BadData(f"expected {MEDIA}, was unreadable: {error}") from error
    closed = pl.col("ts") + timedelta(seconds=page.interval.seconds) <= page.market_time
    return rows.filter(closed)
