"""History of US equities from Interactive Brokers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from autotrader.config.settings import IbkrSettings
from autotrader.connectors.days import daily_pages
from autotrader.connectors.ibkr_connector import library
from autotrader.connectors.ibkr_connector.connection import ClientIdTaken
from autotrader.connectors.ibkr_connector.messages import MEDIA
from autotrader.connectors.ibkr_connector.pacing import PACING, Pacer, Pacing
from autotrader.connectors.ibkr_connector.session import Session
from autotrader.connectors.resilience import RetryPolicy, transport_failures
from autotrader.domain.bars import Interval
from autotrader.domain.errors import AutotraderError, ConfigurationError, Unreachable
from autotrader.domain.instruments import Venue
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.market_data import ConnectionReport, RawPage

T = TypeVar("T")

# Longer bars start with the session, not on the clock's grid.
BAR_SIZES = {Interval.M1: "1 min", Interval.M5: "5 mins", Interval.M15: "15 mins"}
# Fan-out tasks connect at once; the gateway takes 32 clients, each under an id of its own.
CLIENT_IDS = 8


# An absent gateway is noticed within seconds; one that has answered is worth minutes.
CONNECTING = RetryPolicy(attempts=2)
ASKING = RetryPolicy(attempts=8, longest_wait_seconds=120.0)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a gateway is waited for.

    Attributes
    ----------
    connect_seconds : float
        For the handshake.
    request_seconds : float
        For one answer; the venue slows history down rather than refuse it.
    pacing : Pacing
    pacing_rest_seconds : float
        At least this long after a pacing violation; the gateway itself names no time.
    connecting, asking : RetryPolicy
    """

    connect_seconds: float = 4.0
    request_seconds: float = 60.0
    pacing: Pacing = PACING
    pacing_rest_seconds: float = 15.0
    connecting: RetryPolicy = CONNECTING
    asking: RetryPolicy = ASKING


PATIENCE = Patience()


class IbkrSource:
    """Bars of trades, through a running TWS or Gateway.

    Each page is one UTC day. The session takes the first free one of the `CLIENT_IDS` ids that follow
    `client_id`, which itself is for orders alone: the trader has one id, and must never wait for it
    because somebody reads bars.

    Parameters
    ----------
    settings : IbkrSettings
    market_clock : MarketClock
        Bars that had not closed by its time are not asked for.
    wall_clock : WallClock
    patience : Patience
    """

    venue = Venue.IBKR

    def __init__(
        self,
        settings: IbkrSettings,
        market_clock: MarketClock,
        wall_clock: WallClock,
        *,
        patience: Patience = PATIENCE,
    ) -> None:
        self._settings = settings
        self._market_clock = market_clock
        self._wall_clock = wall_clock
        self._patience = patience
        self._pacer = Pacer(wall_clock, patience.pacing)
        self._session: Session | None = None
        self._connecting = asyncio.Lock()

    async def available(self, instruments: Sequence[str]) -> dict[str, str]:
        """Of these symbols, those that are not exactly one US stock, each with the reason."""
        missing = {}
        for symbol in instruments:
            count = await self._ask(partial(self._count_contracts, symbol=symbol))
            if count != 1:
                missing[symbol] = (
                    f"expected one US stock of this symbol at Interactive Brokers, found {count or 'none'}"
                )
        return missing

    async def pages(
        self, instrument: str, interval: Interval, start: datetime, end: datetime
    ) -> AsyncIterator[RawPage]:
        """Raw pages of [start, end), one a UTC day, up to the last bar that has closed.

        A day without bars is a page too: its payload is the venue's message that says so.

        Raises
        ------
        ConfigurationError
            If `start` is after `end`, or the interval is longer than 15 minutes.
        NotFound, Throttled, Unreachable, Rejected
            As `ports.market_data.MarketDataSource` says.
        """
        if interval not in BAR_SIZES:
            known = ", ".join(BAR_SIZES)
            raise ConfigurationError(f"expected an interval of {known} for ibkr, was {interval.value}")

        async def fetch(opens: datetime, until: datetime) -> bytes:
            return await self._ask(
                partial(self._history, symbol=instrument, interval=interval, start=opens, end=until)
            )

        async for page in daily_pages(
            fetch,
            venue=self.venue,
            instrument=instrument,
            interval=interval,
            start=start,
            end=end,
            media=MEDIA,
            source=self._settings.source,
            market_clock=self._market_clock,
            wall_clock=self._wall_clock,
        ):
            yield page

    async def test_connection(self) -> ConnectionReport:
        """Log on and ask for the gateway's time."""
        try:
            session = await self._open_session()
            asked_at, asked = self._wall_clock.now(), self._wall_clock.monotonic()
            server_time = await session.current_time(timeout_seconds=self._patience.connect_seconds)
        except AutotraderError as error:
            return ConnectionReport(self.venue, ok=False, reason=str(error))
        return ConnectionReport(
            self.venue,
            ok=True,
            reason=f"logged on at {self._settings.host}:{self._settings.port}",
            latency_ms=(self._wall_clock.monotonic() - asked) * 1000,
            server_time=server_time,
            # The gateway tells whole seconds.
            clock_skew_ms=(server_time - asked_at.replace(microsecond=0)).total_seconds() * 1000,
        )

    async def aclose(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _count_contracts(self, session: Session, symbol: str) -> int:
        return await session.contracts(symbol, timeout_seconds=self._patience.request_seconds)

    async def _history(
        self, session: Session, symbol: str, interval: Interval, start: datetime, end: datetime
    ) -> bytes:
        await self._pacer.turn(symbol, (symbol, interval, start, end))
        return await session.historical_data(
            symbol,
            end=end,
            seconds=int((end - start).total_seconds()),
            bar_size=BAR_SIZES[interval],
            use_rth=self._settings.use_rth,
            timeout_seconds=self._patience.request_seconds,
        )

    async def _ask(self, request: Callable[[Session], Awaitable[T]]) -> T:
        await self._open_session()

        async def attempt() -> T:
            session = await self._open_session()
            with transport_failures(f"Interactive Brokers at {self._settings.host}:{self._settings.port}"):
                return await request(session)

        return await self._patience.asking.call(attempt)

    async def _open_session(self) -> Session:
        async with self._connecting:
            if self._session is None or not self._session.is_open:
                await self.aclose()
                self._session = await self._patience.connecting.call(self._connect)
            return self._session

    async def _connect(self) -> Session:
        client = library.load(self._settings.library)
        first = self._settings.client_id + 1
        for client_id in range(first, first + CLIENT_IDS):
            session = Session(
                client,
                self._settings.host,
                self._settings.port,
                client_id,
                pacing_rest_seconds=self._patience.pacing_rest_seconds,
            )
            try:
                await session.connect(self._patience.connect_seconds)
            except ClientIdTaken:
                continue
            return session
        raise Unreachable(
            f"expected a free client id in {first}..{first + CLIENT_IDS - 1}, were all taken: "
            "set AUTOTRADER_IBKR__CLIENT_ID, or wait for other clients to leave"
        )
