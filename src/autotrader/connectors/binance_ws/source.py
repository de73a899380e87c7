"""History of Binance spot: klines, page by page, several at once, in order."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.budget import WeightBudget
from autotrader.connectors.binance_ws.client import BinanceClient, SymbolInfo
from autotrader.connectors.binance_ws.decode import KLINES
from autotrader.connectors.binance_ws.ticks import DepthSnapshot, instant
from autotrader.connectors.resilience import RetryPolicy, transport_failures
from autotrader.domain.bars import Interval, floor_to, require_utc
from autotrader.domain.errors import AutotraderError, ConfigurationError, NotFound, Unreachable
from autotrader.domain.instruments import Venue
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.market_data import PAGE_BARS, ConnectionReport, RawPage

CONNECTION_TEST_SECONDS = 5.0
SYMBOLS_IN_ONE_REQUEST = 100  # beyond it, the list of all symbols is the shorter question
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class PageWindow:
    """Bar opens that one request covers: start inclusive, end exclusive, UTC."""

    start: datetime
    end: datetime


class BinanceSource:
    """Raw klines of Binance's spot REST API, or of whatever speaks its protocol.

    Requests share one weight budget and at most `settings.concurrency` are under way. A page is
    tried again on time-outs, broken connections, 5xx, 429 and bodies that are not JSON; a ban (418)
    ends all requests at once. Only bars that have closed by our market clock and by the venue's own
    are asked for.

    Parameters
    ----------
    settings : BinanceSettings
    market_clock : MarketClock
    wall_clock : WallClock
    retry : RetryPolicy
    weight_window_seconds : float
        Length of the venue's weight window.
    """

    venue = Venue.BINANCE

    def __init__(
        self,
        settings: BinanceSettings,
        market_clock: MarketClock,
        wall_clock: WallClock,
        *,
        retry: RetryPolicy | None = None,
        weight_window_seconds: float = 60.0,
    ) -> None:
        self._settings = settings
        self._market_clock = market_clock
        self._wall_clock = wall_clock
        self._retry = retry or RetryPolicy()
        self._budget = WeightBudget(
            settings.weight_per_minute,
            wall_clock,
            window_seconds=weight_window_seconds,
            patience_seconds=self._retry.patience_seconds,
        )
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._opened: BinanceClient | None = None

    async def available(self, instruments: Sequence[str]) -> dict[str, str]:
        """Of these instruments, those that can't be had, each with the reason."""
        known = {info.symbol: info.status for info in await self._symbols(list(instruments))}
        reasons = {
            symbol: f"status is {known[symbol]}" if symbol in known else "Binance has no such symbol"
            for symbol in instruments
        }
        return {s: reason for s, reason in reasons.items() if known.get(s) != "TRADING"}

    async def pages(
        self, instrument: str, interval: Interval, start: datetime, end: datetime
    ) -> AsyncIterator[RawPage]:
        """Pages of closed bars with opens in [start, end), oldest first.

        The last page ends at the newest bar that has closed; a window in which nothing has closed
        gives no page. Where the venue has no bars, a page holds an empty list.

        Raises
        ------
        ConfigurationError
            If `start` is after `end`.
        NotFound, Throttled, Unreachable, Rejected
            As `ports.market_data.MarketDataSource` says.
        """
        require_utc(start, name="start")
        require_utc(end, name="end")
        if start > end:
            raise ConfigurationError(f"expected start before end, was {start} to {end}")
        until = min(end, await self.closed_until(interval))
        async with contextlib.aclosing(self.closed_pages(instrument, interval, start, until)) as pages:
            async for page in pages:
                yield page

    async def closed_until(self, interval: Interval) -> datetime:
        """The instant before whose bars all have closed, by our market clock and the venue's clock."""
        venue_time = await self._venue_time()
        return floor_to(min(self._market_clock.now(), venue_time), interval)

    async def closed_pages(
        self, instrument: str, interval: Interval, start: datetime, end: datetime
    ) -> AsyncGenerator[RawPage]:
        """Pages of a window all of whose bars the caller knows to have closed."""
        windows = page_windows(start, end, interval)
        under_way: deque[asyncio.Task[RawPage]] = deque()

        def ask(count: int) -> None:
            for window in itertools.islice(windows, count):
                under_way.append(asyncio.create_task(self._page(instrument, interval, window)))

        try:
            ask(self._settings.concurrency)
            while under_way:
                page = await under_way.popleft()
                ask(1)
                yield page
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def order_book(self, instrument: str, *, reaching: int = 0) -> DepthSnapshot:
        """The instrument's order book as it stands.

        Parameters
        ----------
        reaching : int
            Id of an update that must be in it: the venue's caches may give an older book, and are
            asked again then.

        Raises
        ------
        NotFound, Throttled, Unreachable, Rejected
            As `ports.market_data.MarketDataSource` says.
        """

        async def request() -> DepthSnapshot:
            book = await self._client.order_book(instrument)
            if book.lastUpdateId < reaching:
                raise Unreachable(
                    f"expected a book of {instrument} of update {reaching} or later, "
                    f"was of {book.lastUpdateId}: try again later"
                )
            return book

        return await self._retry.call(request)

    async def test_connection(self) -> ConnectionReport:
        """Ask the venue for its time, once, for a few seconds at most."""
        sent = self._wall_clock.monotonic()
        try:
            with transport_failures(f"the connection test of {self._settings.rest_url}"):
                async with asyncio.timeout(CONNECTION_TEST_SECONDS):
                    server_time_ms = await self._client.server_time_ms()
        except AutotraderError as failure:
            return ConnectionReport(self.venue, ok=False, reason=str(failure))
        latency_ms = (self._wall_clock.monotonic() - sent) * 1000
        server_time = instant(server_time_ms)
        ours = self._market_clock.now() - timedelta(milliseconds=latency_ms / 2)
        return ConnectionReport(
            self.venue,
            ok=True,
            reason=f"{self._settings.rest_url} answered in {latency_ms:.0f} ms",
            latency_ms=latency_ms,
            server_time=server_time,
            clock_skew_ms=(server_time - ours) / _MILLISECOND,
        )

    async def aclose(self) -> None:
        opened, self._opened = self._opened, None
        self._slots = asyncio.Semaphore(self._settings.concurrency)
        if opened is not None:
            await opened.close_connection()

    @property
    def _client(self) -> BinanceClient:
        """Opened on first use: it belongs to the event loop that runs then."""
        if self._opened is None:
            self._opened = BinanceClient(self._settings, self._budget)
        return self._opened

    async def _page(self, instrument: str, interval: Interval, window: PageWindow) -> RawPage:
        async def request() -> bytes:
            async with self._slots:
                return await self._client.klines(
                    instrument,
                    interval.value,
                    start_ms=_ceil_ms(window.start),
                    end_ms=_ceil_ms(window.end) - 1,
                    limit=PAGE_BARS,
                )

        payload = await self._retry.call(request)
        arrived = self._wall_clock.now()
        market_time = self._market_clock.now() if self._market_clock.is_replay else arrived
        return RawPage(
            venue=self.venue,
            instrument=instrument,
            interval=interval,
            start=window.start,
            end=window.end,
            payload=payload,
            media=KLINES,
            fetched_at=arrived,
            market_time=max(market_time, window.end),
            source=self._settings.source,
        )

    async def _symbols(self, symbols: list[str]) -> list[SymbolInfo]:
        if len(symbols) <= SYMBOLS_IN_ONE_REQUEST:
            try:
                return await self._retry.call(lambda: self._client.symbols(symbols))
            except NotFound:
                pass  # the venue does not say which of them
        return await self._retry.call(self._client.symbols)

    async def _venue_time(self) -> datetime:
        return instant(await self._retry.call(self._client.server_time_ms))


def page_windows(start: datetime, end: datetime, interval: Interval) -> Iterator[PageWindow]:
    """Windows of at most `PAGE_BARS` bars that join without holes and cover [start, end).

    Their borders are the same whatever `start` is, so that who fetches again asks the same
    questions, and the archive knows the same answers.
    """
    span = interval.delta * PAGE_BARS
    while start < end:
        stop = min(end, start + span - (start - _EPOCH) % span)
        yield PageWindow(start, stop)
        start = stop


def _ceil_ms(instant: datetime) -> int:
    return -((_EPOCH - instant) // _MILLISECOND)
