"""Live bars of Binance spot: the kline stream, with whatever it missed fetched by REST."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from binance.exceptions import BinanceWebsocketUnableToConnect, ReadLoopClosed
from binance.ws.constants import WSListenerState
from binance.ws.reconnecting_websocket import ReconnectingWebsocket
from websockets.exceptions import WebSocketException

from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.decode import KLINE_EVENT, decode_event, instant_us
from autotrader.connectors.binance_ws.source import BinanceSource
from autotrader.connectors.resilience import RetryPolicy, transport_failures
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import Venue
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.market_data import RawPage

# The venue sends an update every two seconds for what trades; silence for longer is a dead connection.
SILENCE_SECONDS = 90.0
MESSAGES_WAITING = 10_000
CONNECT_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class RawSocket(ReconnectingWebsocket):  # type: ignore[misc]
    """python-binance's socket, one connection of it, whose messages stay bytes.

    Its manager is passed by, since that builds sockets of its own class; its reconnecting is
    switched off, since who reconnects must also fetch what was missed.
    """

    def __init__(self, base_url: str, streams: Sequence[str]) -> None:
        super().__init__(
            url=f"{base_url.rstrip('/')}/",
            prefix="stream?streams=",
            path="/".join(streams),
            max_queue_size=MESSAGES_WAITING,
            open_timeout=CONNECT_SECONDS,
        )
        self._log.setLevel(logging.CRITICAL)  # each break is logged by who reconnects

    def _handle_message(self, evt: str | bytes) -> bytes:
        return evt.encode() if isinstance(evt, str) else evt

    async def _run_reconnect(self) -> None:
        raise BinanceWebsocketUnableToConnect

    async def _kill_read_loop(self) -> None:
        self.ws_state = WSListenerState.EXITING
        if self.ws is not None:
            await self.ws.close()  # or the loop would see only at its next time-out that it has to end
        await super()._kill_read_loop()


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
    ) -> AsyncIterator[RawPage]:
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
        fruitless = 0
        while True:
            socket = await self._retry.call(lambda: self._connect(streams))
            fruitless += 1
            try:
                async with contextlib.aclosing(self._until_it_breaks(socket, wanted, interval)) as pages:
                    async for page in pages:
                        fruitless = 0
                        wanted[page.instrument] = page.end
                        yield page
            finally:
                await socket.close()
            await asyncio.sleep(self._retry.longest_wait(fruitless))

    async def _connect(self, streams: Sequence[str]) -> RawSocket:
        socket = RawSocket(self._settings.stream_url, streams)
        with transport_failures(f"a connection to {self._settings.stream_url}", WebSocketException):
            await socket.connect()
        return socket

    async def _until_it_breaks(
        self, socket: RawSocket, wanted: Mapping[str, datetime], interval: Interval
    ) -> AsyncGenerator[RawPage]:
        closed_until = await self._source.closed_until(interval)
        for instrument in tuple(wanted):
            missed = self._source.closed_pages(instrument, interval, wanted[instrument], closed_until)
            async with contextlib.aclosing(missed) as pages:
                async for page in pages:
                    yield page
        while (message := await self._next(socket)) is not None:
            try:
                event = decode_event(message)
            except BadData as failure:  # if it was a closed bar, the next one shows that it is missing
                _log.warning("message is passed over", venue=Venue.BINANCE.value, failure=str(failure))
                continue
            bar = event.k
            opened = _instant(bar.t)
            if not bar.x or event.s not in wanted or opened < wanted[event.s]:
                continue
            missed = self._source.closed_pages(event.s, interval, wanted[event.s], opened)
            async with contextlib.aclosing(missed) as pages:
                async for page in pages:
                    yield page
            yield self._page(event.s, interval, opened, message)

    async def _next(self, socket: RawSocket) -> bytes | None:
        """The next message; None when the connection is of no more use."""
        try:
            async with asyncio.timeout(self._silence_seconds):
                message = await socket.recv()
        except TimeoutError:
            reason: object = f"silent for {self._silence_seconds:g} s"
        except ReadLoopClosed as failure:
            reason = str(failure)
        else:
            if isinstance(message, bytes):
                return message
            reason = message
        _log.warning("stream is made anew", venue=Venue.BINANCE.value, reason=reason)
        return None

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


def _instant(venue_time: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant_us(venue_time))
