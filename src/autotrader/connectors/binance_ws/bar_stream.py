"""Live bars of Binance spot: the kline stream, with whatever it missed fetched by REST."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime

import structlog

from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.decode import KLINE_EVENT, decode_event
from autotrader.connectors.binance_ws.sockets import SILENCE_SECONDS, Connection, combined, connections
from autotrader.connectors.binance_ws.source import BinanceSource
from autotrader.connectors.binance_ws.ticks import instant
from autotrader.connectors.resilience import RetryPolicy
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import Venue
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.market_data import RawPage

_log = structlog.get_logger(__name__)


class BarStream:
    """Closed bars as they come, each once, in order, without holes.

    After every connection, and whenever the stream has skipped a bar, what is missing is fetched by
    REST before the stream goes on. A connection that breaks or falls silent is made anew.

    Parameters
    ----------
    source : BinanceSource
        For what the stream missed; the caller closes it.
    settings : BinanceSettings
    market_clock : MarketClock
    wall_clock : WallClock
    retry : RetryPolicy
        For connecting; it begins again after each message that arrives.
    """

    def __init__(
        self,
        source: BinanceSource,
        settings: BinanceSettings,
        market_clock: MarketClock,
        wall_clock: WallClock,
        *,
        retry: RetryPolicy | None = None,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._source = source
        self._settings = settings
        self._market_clock = market_clock
        self._wall_clock = wall_clock
        self._retry = retry or RetryPolicy()
        self._silence_seconds = silence_seconds

    async def closed_bars(
        self, first_opens: Mapping[str, datetime], interval: Interval
    ) -> AsyncGenerator[RawPage]:
        """Pages of closed bars, from the given opens on and without end.

        Parameters
        ----------
        first_opens : Mapping of str to datetime
            Instruments, each with the open of the first bar that is wanted: the one after the newest
            that the caller holds. It is a whole multiple of the interval.

        Yields
        ------
        RawPage
            A REST page (what was missed) or one stream event (a single bar); the windows of an
            instrument's pages join without holes.

        Raises
        ------
        Unreachable
            When no connection could be made in as many attempts as the policy allows.
        NotFound, Throttled, Rejected
            From the REST part.
        """
        wanted = dict(first_opens)
        streams = [f"{instrument.lower()}@kline_{interval.value}" for instrument in wanted]
        made = connections(
            combined(self._settings.stream_url, streams),
            retry=self._retry,
            silence_seconds=self._silence_seconds,
        )
        async with contextlib.aclosing(made):
            async for connection in made:
                async with contextlib.aclosing(self._pages(connection, wanted, interval)) as pages:
                    async for page in pages:
                        connection.was_useful = True
                        wanted[page.instrument] = page.end
                        yield page

    async def _pages(
        self, connection: Connection, wanted: Mapping[str, datetime], interval: Interval
    ) -> AsyncGenerator[RawPage]:
        closed_until = await self._source.closed_until(interval)
        for instrument in tuple(wanted):
            missed = self._source.closed_pages(instrument, interval, wanted[instrument], closed_until)
            async with contextlib.aclosing(missed) as pages:
                async for page in pages:
                    yield page
        async for message in connection.messages():
            try:
                event = decode_event(message)
            except BadData as failure:  # if it was a closed bar, the next one shows that it is missing
                _log.warning("message is passed over", venue=Venue.BINANCE.value, failure=str(failure))
                continue
            bar = event.k
            opened = instant(bar.t)
            if not bar.x or event.s not in wanted or opened < wanted[event.s]:
                continue
            missed = self._source.closed_pages(event.s, interval, wanted[event.s], opened)
            async with contextlib.aclosing(missed) as pages:
                async for page in pages:
                    yield page
            yield self._page(event.s, interval, opened, message)

    def _page(self, instrument: str, interval: Interval, opened: datetime, message: bytes) -> RawPage:
        closed = opened + interval.delta
        arrived = self._wall_clock.now()
        market_time = self._market_clock.now() if self._market_clock.is_replay else arrived
        return RawPage(
            venue=Venue.BINANCE,
            instrument=instrument,
            interval=interval,
            start=opened,
            end=closed,
            payload=message,
            media=KLINE_EVENT,
            fetched_at=arrived,
            market_time=max(market_time, closed),
            source=self._settings.source,
        )
