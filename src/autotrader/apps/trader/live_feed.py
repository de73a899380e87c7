"""Closed bars as they come, of all instruments together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl
import structlog

from autotrader.apps.trader.history import batches_of
from autotrader.domain.bars import Interval, last_closed_open
from autotrader.domain.errors import DependencyError
from autotrader.domain.instruments import InstrumentId
from autotrader.ports.clock import MarketClock
from autotrader.ports.market_data import ClosedBars, MarketDataSource, PageDecoder, RawPage
from autotrader.trading.bars import Batch

log = structlog.get_logger(__name__)

# After the first bar of a minute has come, the others are waited for so long.
GATHERING_SECONDS = 3.0
_RETRY_SECONDS = 5.0


class PolledBars:
    """Closed bars by asking after each close: for venues whose stream has no bars.

    Parameters
    ----------
    source : MarketDataSource
    clock : MarketClock
    latency_seconds : float
        From a close until the venue shows the bar.
    """

    def __init__(self, source: MarketDataSource, clock: MarketClock, latency_seconds: float) -> None:
        self._source = source
        self._clock = clock
        self._latency = latency_seconds

    async def closed_bars(
        self, first_opens: Mapping[str, datetime], interval: Interval
    ) -> AsyncGenerator[RawPage]:
        """As `BarStream.closed_bars`."""
        wanted = dict(first_opens)
        while True:
            now = self._clock.now() - timedelta(seconds=self._latency)
            until = last_closed_open(now, interval) + interval.delta
            for symbol, first in tuple(wanted.items()):
                if first < until:
                    async for page in self._source.pages(symbol, interval, first, until):
                        yield page
                    wanted[symbol] = until
            due = until + interval.delta + timedelta(seconds=self._latency)
            await asyncio.sleep(max(0.05, (due - self._clock.now()).total_seconds()))


class LiveFeed:
    """Bars from a venue's stream, put together by minute, from where the account stands on.

    A minute is complete when all instruments have come, or `GATHERING_SECONDS` after the first of
    them: an instrument that did not trade holds up nobody. What comes later than that is left out,
    and said.

    Parameters
    ----------
    stream : ClosedBars
    decode : PageDecoder
    instruments : sequence of InstrumentId
    interval : Interval
    first_open : datetime
        Of the first bar that is wanted.
    gathering_seconds : float
    """

    def __init__(
        self,
        stream: ClosedBars,
        decode: PageDecoder,
        instruments: Sequence[InstrumentId],
        interval: Interval,
        first_open: datetime,
        *,
        gathering_seconds: float = GATHERING_SECONDS,
    ) -> None:
        self._stream = stream
        self._decode = decode
        self._instruments = tuple(instruments)
        self._interval = interval
        self._next = {i.symbol: first_open for i in instruments}
        self._gathering = gathering_seconds
        self._pages: asyncio.Queue[RawPage] = asyncio.Queue()
        self._waiting: dict[datetime, dict[InstrumentId, Batch]] = {}
        self._done_until: datetime | None = None

    async def batches(self) -> AsyncIterator[Batch]:
        reader = asyncio.create_task(self._read())
        try:
            due: float | None = None
            loop = asyncio.get_running_loop()
            while True:
                patience = None if due is None else max(0.0, due - loop.time())
                try:
                    async with asyncio.timeout(patience):
                        self._take(await self._pages.get())
                except TimeoutError:
                    due = None
                    for batch in self._release(everything=True):
                        yield batch
                    continue
                for batch in self._release(everything=False):
                    yield batch
                due = None if not self._waiting else due or loop.time() + self._gathering
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader

    async def _read(self) -> None:
        while True:
            try:
                async for page in self._stream.closed_bars(dict(self._next), self._interval):
                    self._next[page.instrument] = page.end
                    self._pages.put_nowait(page)
            except DependencyError as error:
                log.warning("no bars from the venue, will try again", reason=str(error))
            await asyncio.sleep(_RETRY_SECONDS)

    def _take(self, page: RawPage) -> None:
        frame = self._decode(page)
        for batch in batches_of(frame.filter(pl.col("ts") >= page.start), self._interval):
            if self._done_until is not None and batch.ts <= self._done_until:
                log.warning("bar came too late", instrument=page.instrument, ts=batch.ts.isoformat())
                continue
            self._waiting.setdefault(batch.ts, {})[batch.bars[0].instrument] = batch

    def _release(self, *, everything: bool) -> list[Batch]:
        """Minutes that are complete, and those before them; all that wait if their time is over."""
        complete = [ts for ts, held in self._waiting.items() if len(held) == len(self._instruments)]
        until = max(self._waiting, default=None) if everything else max(complete, default=None)
        if until is None:
            return []
        released = []
        for ts in sorted(ts for ts in self._waiting if ts <= until):
            held = self._waiting.pop(ts)
            bars = tuple(bar for i in sorted(held) for bar in held[i].bars)
            released.append(Batch(ts, ts + self._interval.delta, bars))
        self._done_until = until
        return released
