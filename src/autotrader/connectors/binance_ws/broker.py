"""An account at Binance spot, or at whatever speaks its protocol."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from autotrader.config.settings import BinanceSettings, TradingSettings
from autotrader.connectors.binance_ws.account_client import TRADES_IN_A_PAGE, AccountClient
from autotrader.connectors.binance_ws.account_messages import OrderMessage, TradeMessage, rules_of
from autotrader.connectors.binance_ws.account_stream import AccountStream
from autotrader.connectors.binance_ws.budget import WeightBudget
from autotrader.connectors.binance_ws.failures import (
    CANCEL_REJECTED,
    DUPLICATE_ORDER,
    NO_SUCH_ORDER,
    UNKNOWN_ORDER,
    Refusal,
)
from autotrader.connectors.binance_ws.permission import require_permission
from autotrader.connectors.binance_ws.ticks import instant
from autotrader.domain.errors import ConfigurationError, Throttled, Unreachable
from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue
from autotrader.domain.orders import Fill, Order, Side
from autotrader.ports.broker import Update, VenueAccount, VenueOrder
from autotrader.ports.clock import WallClock

# https://developers.binance.com/docs/binance-spot-api-docs: 100 in 10 s now, 50 before 2023-08.
ORDERS_IN_A_WINDOW, ORDER_WINDOW_SECONDS = 50, 10.0
# The venue takes timestamps that are so far ahead of its clock: an order lives longer by that.
MAY_BE_AHEAD_SECONDS = 1.0
_ORDERS_REMEMBERED = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class BinanceBroker:
    """The account of one API key.

    Each method is one attempt, in which a wrong clock is set right once. The venue has an id of a
    client's for open orders only, and takes another order with the same one once the first is done;
    so `submit` asks for the order first, and after an answer that was lost nothing is said of it, nor
    sent again, before the lost request has become too old for the venue to take.

    Parameters
    ----------
    settings : BinanceSettings
        `recv_window_ms` is how long the venue may take a request for.
    trading : TradingSettings
        `account` names the fills; `live` allows orders that cost money.
    wall_clock : WallClock

    Raises
    ------
    ConfigurationError
        If there is no key.
    Refused
        If orders would cost money, and `live` is off.
    """

    venue = Venue.BINANCE

    def __init__(self, settings: BinanceSettings, trading: TradingSettings, wall_clock: WallClock) -> None:
        require_permission(settings, live=trading.live)
        key, secret = settings.api_key, settings.api_secret
        if key is None or secret is None:
            raise ConfigurationError(
                "expected AUTOTRADER_BINANCE__API_KEY and __API_SECRET, were empty: orders need both"
            )
        self._settings, self._account, self._wall_clock = settings, trading.account, wall_clock
        self._key, self._secret = key, secret
        self._client: AccountClient | None = None
        self._stream: AccountStream | None = None
        self._rules: dict[InstrumentId, InstrumentRules] = {}
        self._unsure_until: dict[str, float] = {}  # monotonic, by client order id
        self._client_ids: OrderedDict[tuple[str, str], str | None] = OrderedDict()

    async def __aenter__(self) -> Self:
        requests = WeightBudget(self._settings.weight_per_minute, self._wall_clock, patience_seconds=0.0)
        orders = WeightBudget(
            ORDERS_IN_A_WINDOW,
            self._wall_clock,
            window_seconds=ORDER_WINDOW_SECONDS,
            patience_seconds=0.0,
        )
        self._client = AccountClient(
            self._settings,
            requests,
            orders,
            key=self._key.get_secret_value(),
            secret=self._secret.get_secret_value(),
        )
        self._stream = AccountStream(self._client, self._settings, self._account)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        client, self._client, self._stream = self._client, None, None
        if client is not None:
            await client.close_connection()

    async def rules(self, instruments: Sequence[InstrumentId]) -> Mapping[InstrumentId, InstrumentRules]:
        """What the symbols' filters demand; asked for once, and remembered while the broker is open."""
        new = [instrument for instrument in instruments if instrument not in self._rules]
        if new:
            for info in await self._open_client.symbols([instrument.symbol for instrument in new]):
                self._rules[InstrumentId(Venue.BINANCE, info.symbol)] = rules_of(info)
        return {instrument: self._rules[instrument] for instrument in instruments}

    async def account(self, instruments: Sequence[InstrumentId]) -> VenueAccount:
        """Balances, reserved ones included: of the instruments' own assets as positions, else as cash.

        `at` is when a balance last changed as far as the venue's answer knows, 1970 if none ever did:
        an answer from before a fill is older than it, and a quiet account may be days old and right.

        Raises
        ------
        ConfigurationError
            If an asset is what two instruments are made of, or is another's money: whose it is, the
            venue does not know.
        """
        rules = await self.rules(instruments)
        units = [rules[instrument].base_currency for instrument in instruments]
        money = {rules[instrument].currency for instrument in instruments}
        if len(set(units)) < len(units) or money & set(units):
            raise ConfigurationError(
                "expected each asset in one instrument's position only, "
                f"was {', '.join(map(str, instruments))}: trade fewer of them in this account"
            )
        message = await self._open_client.balances()
        held = message.held()
        positions = {
            instrument: held.pop(asset)
            for instrument, asset in zip(instruments, units, strict=True)
            if asset is not None and asset in held
        }
        return VenueAccount(cash=held, positions=positions, at=instant(message.update_time))

    async def open_orders(self) -> Sequence[VenueOrder]:
        return [self._noted(message) for message in await self._open_client.working()]

    async def order(self, order: Order) -> VenueOrder | None:
        """The order by its client id.

        Raises
        ------
        Unreachable
            Also while a submission whose answer was lost may still reach the venue.
        """
        found = await self._find(order)
        if found is None:
            self._require_certainty(order)
        else:
            self._unsure_until.pop(order.client_order_id, None)
        return found

    async def fills(self, instruments: Sequence[InstrumentId], since: datetime) -> Sequence[Fill]:
        """Trades from `since` on, oldest first; whose order it was is asked for where it is not known."""
        found = [
            trade.fill(self._account, await self._client_id(trade.symbol, str(trade.order_id)))
            for instrument in instruments
            for trade in await self._trades(instrument.symbol, since)
        ]
        return sorted(found, key=lambda fill: (fill.at, fill.instrument, int(fill.fill_id)))

    async def submit(self, order: Order) -> VenueOrder:
        """Hand over an order; one that the venue has already is given back as it is there."""
        known = await self.order(order)
        if known is not None:
            return known
        sent = {
            "symbol": order.instrument.symbol,
            "side": "BUY" if order.side is Side.BUY else "SELL",
            "type": "MARKET",
            "quantity": f"{order.quantity:f}",
            "newClientOrderId": order.client_order_id,
        }
        if order.limit_price is not None:
            sent |= {"type": "LIMIT", "timeInForce": "GTC", "price": f"{order.limit_price:f}"}
        id_ = order.client_order_id
        self._unsure_until[id_] = self._wall_clock.monotonic() + self._longest_life
        try:
            placed = self._noted(await self._open_client.place(**sent))
        except Throttled:
            del self._unsure_until[id_]
            raise
        except Refusal as refusal:
            duplicate = await self._find(order) if refusal.said == DUPLICATE_ORDER else None
            del self._unsure_until[id_]
            if duplicate is None:
                raise
            return duplicate
        del self._unsure_until[id_]
        return placed

    async def cancel(self, order: Order) -> VenueOrder | None:
        try:
            withdrawn = await self._open_client.withdraw(
                symbol=order.instrument.symbol, origClientOrderId=order.client_order_id
            )
        except Refusal as refusal:
            if refusal.code != CANCEL_REJECTED or refusal.said != UNKNOWN_ORDER:
                raise
            return await self.order(order)
        return self._noted(withdrawn)

    async def updates(self) -> AsyncGenerator[Update]:
        """Fills and states as they come.

        Raises
        ------
        Rejected
            If the venue does not take our key.
        """
        async with contextlib.aclosing(self._open_stream.updates()) as updates:
            async for update in updates:
                if update.venue_order_id is not None:
                    self._note(update.instrument.symbol, update.venue_order_id, update.client_order_id)
                yield update

    @property
    def gaps(self) -> int:
        return self._open_stream.gaps

    async def keep_alive(self, seconds: float) -> bool:  # noqa: ARG002 - there is no switch to set
        """False: the venue's countdown to cancellation is for futures, spot has none."""
        return False

    @property
    def _open_client(self) -> AccountClient:
        if self._client is None:
            raise ConfigurationError("expected an open broker, was closed: use it as a context manager")
        return self._client

    @property
    def _open_stream(self) -> AccountStream:
        if self._stream is None:
            raise ConfigurationError("expected an open broker, was closed: use it as a context manager")
        return self._stream

    @property
    def _longest_life(self) -> float:
        """Seconds after which the venue does not take a request any more."""
        return self._settings.recv_window_ms / 1000 + MAY_BE_AHEAD_SECONDS

    def _require_certainty(self, order: Order) -> None:
        until = self._unsure_until.get(order.client_order_id)
        if until is None:
            return
        if (left := until - self._wall_clock.monotonic()) > 0:
            raise Unreachable(
                f"expected to know whether the venue has {order.client_order_id}, was sent and not "
                f"answered: it may still arrive for another {left:.1f} s, ask again then"
            )
        del self._unsure_until[order.client_order_id]

    async def _find(self, order: Order) -> VenueOrder | None:
        try:
            found = await self._open_client.find(
                symbol=order.instrument.symbol, origClientOrderId=order.client_order_id
            )
        except Refusal as refusal:
            if refusal.code == NO_SUCH_ORDER:
                return None
            raise
        return self._noted(found)

    async def _trades(self, symbol: str, since: datetime) -> list[TradeMessage]:
        start_ms = (since - _EPOCH) // _MILLISECOND
        page = await self._open_client.trades(symbol=symbol, startTime=start_ms)
        trades = page
        while len(page) == TRADES_IN_A_PAGE:
            page = await self._open_client.trades(symbol=symbol, fromId=page[-1].id + 1)
            trades += page
        return trades

    async def _client_id(self, symbol: str, order_id: str) -> str | None:
        """The client's id of an order that the venue names; None where the venue has forgotten it."""
        if (symbol, order_id) not in self._client_ids:
            try:
                self._noted(await self._open_client.find(symbol=symbol, orderId=order_id))
            except Refusal as refusal:
                if refusal.code != NO_SUCH_ORDER:
                    raise
                self._note(symbol, order_id, None)
        return self._client_ids[symbol, order_id]

    def _noted(self, message: OrderMessage) -> VenueOrder:
        order = message.order()
        self._note(message.symbol, order.venue_order_id, order.client_order_id)
        return order

    def _note(self, symbol: str, order_id: str, client_order_id: str | None) -> None:
        self._client_ids[symbol, order_id] = client_order_id
        while len(self._client_ids) > _ORDERS_REMEMBERED:
            self._client_ids.popitem(last=False)
