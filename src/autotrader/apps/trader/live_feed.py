"""Closed bars as they come, of all instruments together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl
import structlog

from autotrader.apps.trader.history import batches_of
from autotrader.domain.bars import Interval, last_closed_open
from autotrader.domain.errors import DependencyError, NotFound
from autotrader.domain.instruments import InstrumentId
from autotrader.ports.clock import MarketClock
from autotrader.ports.market_data import ClosedBars, MarketDataSource, PageDecoder, RawPage
from autotrader.trading.bars import Batch

log = structlog.get_logger(__name__)

# After the first bar of a minute has come, the others are waited for so long.
GATHERING_SECONDS = 3.0
_RETRY_SECONDS = 5.0
# An instrument that the venue does not know is asked for again after so long.
_ASK_AGAIN_SECONDS = 900.0

# Of these symbols, those that the venue does not have, each with the reason.
Missing = Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]


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
    and said. So is an instrument that the venue does not know any more, until it knows it again.

    Parameters
    ----------
    stream : ClosedBars
    missing : Missing
        Asked once the stream says that an instrument is not known, for it does not say which.
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
        missing: Missing,
        decode: PageDecoder,
        instruments: Sequence[InstrumentId],
        interval: Interval,
        first_open: datetime,
        *,
        gathering_seconds: float = GATHERING_SECONDS,
    ) -> None:
        self._stream = stream
        self._missing = missing
        self._decode = decode
        self._instruments = tuple(instruments)
        self._interval = interval
        self._next = {i.symbol: first_open for i in instruments}
        self._gathering = gathering_seconds
        # What the reader says: pages, which symbols are unknown from here on and why, and its end.
        self._said: asyncio.Queue[RawPage | Mapping[str, str] | Exception] = asyncio.Queue()
        self._unknown: Mapping[str, str] = {}  # as the reader knows
        self._left_out: Mapping[str, str] = {}  # as of the pages that have been taken
        self._waiting: dict[datetime, dict[InstrumentId, Batch]] = {}
        self._done_until: datetime | None = None

    async def batches(self) -> AsyncIterator[Batch]:
        """As `Feed.batches`; what the reader of the stream cannot deal with ends it, too."""
        reader = asyncio.create_task(self._read())
        try:
            due: float | None = None
            loop = asyncio.get_running_loop()
            while True:
                patience = None if due is None else max(0.0, due - loop.time())
                try:
                    async with asyncio.timeout(patience):
                        said = await self._said.get()
                except TimeoutError:
                    due = None
                    for batch in self._release(everything=True):
                        yield batch
                    continue
                if isinstance(said, Exception):
                    raise said
                if isinstance(said, RawPage):
                    self._take(said)
                else:
                    self._left_out = said
                for batch in self._release(everything=False):
                    yield batch
                due = None if not self._waiting else due or loop.time() + self._gathering
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader

    async def _read(self) -> None:
        is_unsure = False
        try:
            while True:
                try:
                    if is_unsure:
                        await self._look_for_unknown()
                    is_unsure = await self._read_on()
                except DependencyError as error:
                    log.warning("no bars from the venue, will try again", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
        except Exception as error:  # noqa: BLE001 - who waits for bars must hear that there will be none
            self._said.put_nowait(error)

    async def _read_on(self) -> bool:
        """Bars until the stream ends; whether it ended because the venue may know others by now."""
        wanted = {symbol: first for symbol, first in self._next.items() if symbol not in self._unknown}
        try:
            async with asyncio.timeout(_ASK_AGAIN_SECONDS if self._unknown else None) as patience:
                if not wanted:
                    await asyncio.Event().wait()
                async for page in self._stream.closed_bars(wanted, self._interval):
                    self._next[page.instrument] = page.end
                    self._said.put_nowait(page)
        except NotFound as error:
            log.warning("no bars of an instrument", reason=str(error))
            return True
        except TimeoutError:
            if not patience.expired():
                raise
            return True
        return False

    async def _look_for_unknown(self) -> None:
        unknown = dict(await self._missing(tuple(self._next)))
        for symbol in self._unknown.keys() - unknown.keys():
            log.info("instrument is known to the venue again", instrument=symbol)
            if self._done_until is not None:  # older ones would come too late
                self._next[symbol] = max(self._next[symbol], self._done_until + self._interval.delta)
        for symbol in unknown.keys() - self._unknown.keys():
            log.warning("instrument is left out", instrument=symbol, reason=unknown[symbol])
        self._unknown = unknown
        self._said.put_nowait(unknown)

    def _take(self, page: RawPage) -> None:
        frame = self._decode(page)
        for batch in batches_of(frame.filter(pl.col("ts") >= page.start), self._interval):
            if self._done_until is not None and batch.ts <= self._done_until:
                log.warning("bar came too late", instrument=page.instrument, ts=batch.ts.isoformat())
                continue
            self._waiting.setdefault(batch.ts, {})[batch.bars[0].instrument] = batch

    def _release(self, *, everything: bool) -> list[Batch]:
        """Minutes that are complete, and those before them; all that wait if their time is over."""
        known = {i for i in self._instruments if i.symbol not in self._left_out}
        complete = [ts for ts, held in self._waiting.items() if held.keys() >= known]
        until = max(self._waiting, default=None) if everything else max(complete, default=None)
        if until is None:
            return []
        unknown = {i: self._left_out[i.symbol] for i in self._instruments if i not in known}
        released = []
        for ts in sorted(ts for ts in self._waiting if ts <= until):
            held = self._waiting.pop(ts)
            bars = tuple(bar for i in sorted(held) for bar in held[i].bars)
            released.append(Batch(ts, ts + self._interval.delta, bars, unknown))
        self._done_until = until
        return released
