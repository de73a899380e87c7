"""An account at Interactive Brokers: orders in US equities, through a running TWS or Gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo

import structlog

from autotrader.config.settings import IbkrSettings
from autotrader.connectors.ibkr_connector import library, order_messages
from autotrader.connectors.ibkr_connector.connection import ClientIdTaken
from autotrader.connectors.ibkr_connector.executions import COMMISSION_SECONDS
from autotrader.connectors.ibkr_connector.order_desk import OrderDesk
from autotrader.connectors.ibkr_connector.order_messages import Contract
from autotrader.connectors.ibkr_connector.order_session import OrderSession
from autotrader.connectors.resilience import RetryPolicy
from autotrader.domain.errors import DependencyError, Refused, Rejected, Unreachable
from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue
from autotrader.domain.orders import Fill, Order, OrderStatus
from autotrader.ports.broker import Update, VenueAccount, VenueOrder
from autotrader.ports.clock import WallClock

log = structlog.get_logger(__name__)

LIVE_PORTS = frozenset({7496, 4001})
PAPER_ACCOUNTS = "D"  # DU1234567, DF1234567 of an advisor
# The gateway's day, at whose midnight it forgets executions and orders that are over.
NEW_YORK = ZoneInfo("America/New_York")
_KEEP = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class TradingPatience:
    """How long the gateway is waited for.

    Attributes
    ----------
    connect_seconds : float
        For the handshake.
    request_seconds : float
        For one answer, and for an order to be acknowledged.
    commission_seconds : float
        See `executions`.
    pacing_rest_seconds : float
        What `Throttled` asks for; the gateway itself names no time.
    reconnecting : RetryPolicy
        Its waits, between attempts of `updates` to connect. The nightly restart takes minutes.
    """

    connect_seconds: float = 4.0
    request_seconds: float = 5.0
    commission_seconds: float = COMMISSION_SECONDS
    pacing_rest_seconds: float = 2.0
    reconnecting: RetryPolicy = RetryPolicy(first_wait_seconds=0.5, longest_wait_seconds=15.0)  # noqa: RUF009


PATIENCE = TradingPatience()


class IbkrBroker:
    """Orders under one fixed client id; `orderRef` carries our order id.

    IB lets only the client that made an order cancel it, so the client id never changes: where
    another client has it (error 326), this one waits. The venue does not keep `orderRef` apart: an
    order is looked up in what the gateway tells (open orders, executions, completed orders) before
    it is sent, and sent again only under the number that it had, which makes no second order.

    An order is good for the day. One that the venue would hold until a later session (error 399) is
    taken back: it was decided for now.

    The gateway tells of executions and ended orders since its last midnight only. `fills` of an
    earlier time are incomplete, and say so in the log; `order` answers for an earlier order that
    it is over, with what we know of its fills. Positions tell what is missing.

    Parameters
    ----------
    settings : IbkrSettings
    wall_clock : WallClock
    account : str
        Our name of the account.
    live : bool
        Whether a port of real accounts may be used.
    patience : TradingPatience

    Raises
    ------
    Refused
        If the port is one of real accounts, and `live` is false; once connected, also if the account
        is real.
    """

    venue = Venue.IBKR

    def __init__(
        self,
        settings: IbkrSettings,
        wall_clock: WallClock,
        *,
        account: str,
        live: bool,
        patience: TradingPatience = PATIENCE,
    ) -> None:
        if settings.port in LIVE_PORTS and not live:
            raise Refused(
                f"expected a paper port (7497 or 4002), was {settings.port}: "
                "set AUTOTRADER_TRADING__LIVE to trade real money"
            )
        self._settings = settings
        self._live = live
        self._wall_clock = wall_clock
        self._patience = patience
        self._desk = OrderDesk(
            account,
            settings.client_id,
            commission_seconds=patience.commission_seconds,
            rest_seconds=patience.pacing_rest_seconds,
        )
        self._session: OrderSession | None = None
        self._connecting = asyncio.Lock()
        self._contracts: dict[str, Contract] = {}
        self._connections = 0
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open = False
        self._desk.close()
        await self._disconnect()

    @property
    def gaps(self) -> int:
        return self._desk.gaps

    async def rules(self, instruments: Sequence[InstrumentId]) -> Mapping[InstrumentId, InstrumentRules]:
        session = await self._connected()
        return {i: (await self._contract(session, i.symbol)).rules for i in instruments}

    async def account(self, instruments: Sequence[InstrumentId]) -> VenueAccount:
        """Cash and positions as the gateway has them: it tells no time, so `at` is that of arrival.

        Its cash may be three minutes old; its positions follow the executions.
        """
        session = await self._connected()
        contracts = {i: (await self._contract(session, i.symbol)).con_id for i in instruments}
        units = order_messages.units_by_contract(await session.positions(), session.account)
        return VenueAccount(
            cash=order_messages.cash(await session.account_values(), session.account),
            positions={i: units[c] for i, c in contracts.items() if units.get(c)},
            at=self._wall_clock.now(),
        )

    async def open_orders(self) -> Sequence[VenueOrder]:
        session = await self._connected()
        stated = await session.open_orders()
        # What the gateway tells of an order by itself while it is asked is in the answer, too: once more.
        booked = {id(one): one for one in map(self._desk.book.state, stated)}
        orders = [one.as_venue_order() for one in booked.values()]
        return [order for order in orders if not order.status.is_final]

    async def order(self, order: Order) -> VenueOrder | None:
        session = await self._connected()
        await self._desk.catch_up(session)
        return self._known(order)

    async def fills(self, instruments: Sequence[InstrumentId], since: datetime) -> Sequence[Fill]:
        """Trades from `since` on, but for those before the gateway's last midnight."""
        if since < self._midnight():
            log.warning("executions reach back to midnight only", venue="ibkr", since=since.isoformat())
        session = await self._connected()
        wanted = {(await self._contract(session, i.symbol)).con_id for i in instruments}
        executions = await session.executions()
        return await self._desk.executions.fills(
            e for e in executions if e.con_id in wanted and e.at >= since
        )

    async def submit(self, order: Order) -> VenueOrder:
        session = await self._connected()
        con_id = (await self._contract(session, order.instrument.symbol)).con_id
        known = self._desk.book.of(order.client_order_id)
        if known is not None:
            await self._desk.catch_up(session)
            known = self._desk.book.of(order.client_order_id)
        if known is not None and known.is_there and known.ended is not OrderStatus.REJECTED:
            return known.as_venue_order()
        session.require_servers()
        return await self._desk.place(
            session,
            order,
            con_id,
            outside_rth=not self._settings.use_rth,
            seconds=self._patience.request_seconds,
        )

    async def cancel(self, order: Order) -> VenueOrder | None:
        session = await self._connected()
        found = self._desk.book.of(order.client_order_id)
        if found is None or not found.is_there:
            await self._desk.catch_up(session)
            found = self._desk.book.of(order.client_order_id)
        if found is None or found.as_venue_order().status.is_final:
            return self._known(order)
        stated = found.stated
        if stated.client_id != self._settings.client_id or stated.order_id is None:
            raise Rejected(
                f"{order.client_order_id}: expected an order of client {self._settings.client_id}, was of "
                f"{stated.client_id}: IB lets only the client that made an order cancel it"
            )
        session.require_servers()
        await self._desk.withdraw(session, stated.order_id, seconds=self._patience.request_seconds)
        return self._known(order)

    async def updates(self) -> AsyncIterator[Update]:
        """What happens to our orders; while the gateway is away, attempts to reach it."""
        failures = 0
        while self._open:
            try:
                session = await self._connected()
            except DependencyError as error:
                failures += 1
                wait = self._patience.reconnecting.longest_wait(failures)
                log.warning("gateway away", venue="ibkr", reason=str(error), wait_seconds=wait)
                await asyncio.sleep(wait)
                continue
            failures = 0
            async for update in self._desk.news(session.lost):
                yield update

    async def keep_alive(self, seconds: float) -> bool:  # noqa: ARG002 - the port names it
        """False: the venue has no switch. Its gateway keeps orders when a client leaves."""
        return False

    def _known(self, order: Order) -> VenueOrder | None:
        """The order as the book has it, which must have caught up."""
        found = self._desk.book.of(order.client_order_id)
        if found is not None and found.is_there:
            return found.as_venue_order()
        traded = self._desk.executions.quantity(order.client_order_id)
        forgotten = order.recorded_at < self._midnight()
        if not traded and not forgotten:
            return None
        filled = max(traded, order.filled)
        whole = filled >= order.quantity
        return VenueOrder(
            venue_order_id=order.venue_order_id or "",
            client_order_id=order.client_order_id,
            instrument=order.instrument,
            side=order.side,
            quantity=order.quantity,
            filled=filled,
            status=OrderStatus.FILLED if whole else OrderStatus.CANCELLED,
            reason="" if whole else "good for a day that is over; IB tells of fills since midnight only",
        )

    async def _contract(self, session: OrderSession, symbol: str) -> Contract:
        if symbol not in self._contracts:
            self._contracts[symbol] = await session.contract(symbol)
        return self._contracts[symbol]

    async def _connected(self) -> OrderSession:
        async with self._connecting:
            if self._session is None or not self._session.is_open:
                await self._disconnect()
                self._session = await self._connect()
            self._session.require_servers()
            return self._session

    async def _connect(self) -> OrderSession:
        session = OrderSession(
            library.load(self._settings.library),
            self._settings.host,
            self._settings.port,
            self._settings.client_id,
            pacing_rest_seconds=self._patience.pacing_rest_seconds,
        )
        session.listen(self._desk, self._patience.request_seconds)
        try:
            await session.connect(self._patience.connect_seconds)
        except ClientIdTaken as error:
            raise Unreachable(
                f"expected client id {self._settings.client_id} to be free, was in use ({error}): another "
                "trader is connected, or the gateway has not noticed that the last one left; waiting for it"
            ) from error
        try:
            self._require_permission(session.account)
            self._connections += 1
            self._desk.start(session, again=self._connections > 1, forget=self._wall_clock.now() - _KEEP)
            session.numbers_from(self._desk.least_number)
            await self._desk.catch_up(session)
        except BaseException:
            await session.close()
            raise
        return session

    def _require_permission(self, venue_account: str) -> None:
        """A port can be forwarded; the venue's account ids tell paper (D...) from money."""
        if not self._live and not venue_account.startswith(PAPER_ACCOUNTS):
            raise Refused(
                f"expected a paper account behind port {self._settings.port}, was one of real money: "
                "set AUTOTRADER_TRADING__LIVE to trade real money"
            )

    async def _disconnect(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _midnight(self) -> datetime:
        return self._wall_clock.now().astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0)
