"""An account at Binance spot, or at whatever speaks its protocol."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.account_client import AccountClient
from autotrader.connectors.binance_ws.account_messages import rules_of
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
from autotrader.connectors.binance_ws.trade_history import TradeHistory
from autotrader.domain.errors import ConfigurationError, Throttled, Unreachable
from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue
from autotrader.domain.orders import Fill, Order, Side
from autotrader.ports.broker import Update, VenueAccount, VenueOrder
from autotrader.ports.clock import WallClock

# https://developers.binance.com/docs/binance-spot-api-docs: 100 in 10 s now, 50 before 2023-08.
ORDERS_IN_A_WINDOW, ORDER_WINDOW_SECONDS = 50, 10.0
# The venue takes timestamps that are so far ahead of its clock: an order lives longer by that.
MAY_BE_AHEAD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Connected:
    client: AccountClient
    stream: AccountStream
    history: TradeHistory


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
    wall_clock : WallClock
    account : str
        Our name of the account.
    live : bool
        Whether orders may cost money.

    Raises
    ------
    ConfigurationError
        If there is no key.
    Refused
        If orders would cost money, and `live` is off.
    """

    venue = Venue.BINANCE

    def __init__(self, settings: BinanceSettings, wall_clock: WallClock, *, account: str, live: bool) -> None:
        require_permission(settings, live=live)
        key, secret = settings.api_key, settings.api_secret
        if key is None or secret is None:
            raise ConfigurationError(
                "expected AUTOTRADER_BINANCE__API_KEY and __API_SECRET, were empty: orders need both"
            )
        self._settings, self._account, self._wall_clock = settings, account, wall_clock
        self._key, self._secret = key, secret
        self._opened: _Connected | None = None
        self._rules: dict[InstrumentId, InstrumentRules] = {}
        self._submitting = asyncio.Lock()
        self._unsure_until: dict[str, float] = {}  # monotonic, by client order id

    async def __aenter__(self) -> Self:
        requests = WeightBudget(self._settings.weight_per_minute, self._wall_clock, patience_seconds=0.0)
        orders = WeightBudget(
            ORDERS_IN_A_WINDOW,
            self._wall_clock,
            window_seconds=ORDER_WINDOW_SECONDS,
            patience_seconds=0.0,
        )
        client = AccountClient(
            self._settings,
            requests,
            orders,
            key=self._key.get_secret_value(),
            secret=self._secret.get_secret_value(),
        )
        self._opened = _Connected(
            client,
            AccountStream(client, self._settings, self._account),
            TradeHistory(client, self._account),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.client.close_connection()

    async def rules(self, instruments: Sequence[InstrumentId]) -> Mapping[InstrumentId, InstrumentRules]:
        """What the symbols' filters demand; asked for once, and remembered while the broker is open."""
        new = [instrument for instrument in instruments if instrument not in self._rules]
        if new:
            for info in await self._open.client.symbols([instrument.symbol for instrument in new]):
                self._rules[InstrumentId(Venue.BINANCE, info.symbol)] = rules_of(info)
        return {instrument: self._rules[instrument] for instrument in instruments}

    async def account(self, instruments: Sequence[InstrumentId]) -> VenueAccount:
        """Balances, reserved ones included: of the instruments' own assets as positions, else as cash.

        The venue says when a balance last changed as far as its answer knows. Where that is before a
        trade that we know of, the answer is out of date, and of then; else it is of now.

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
        message = await self._open.client.balances()
        held = message.held()
        positions = {
            instrument: held.pop(asset)
            for instrument, asset in zip(instruments, units, strict=True)
            if asset is not None and asset in held
        }
        changed = instant(message.update_time)
        at = changed if changed < self._open.history.newest else max(changed, self._open.client.venue_time())
        return VenueAccount(cash=held, positions=positions, at=at)

    async def open_orders(self) -> Sequence[VenueOrder]:
        return [self._open.history.order(message) for message in await self._open.client.working()]

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
        return await self._open.history.fills([instrument.symbol for instrument in instruments], since)

    async def submit(self, order: Order) -> VenueOrder:
        """Hand over an order; one that the venue has already is given back as it is there."""
        async with self._submitting:
            return await self.order(order) or await self._place(order)

    async def cancel(self, order: Order) -> VenueOrder | None:
        try:
            withdrawn = await self._open.client.withdraw(
                symbol=order.instrument.symbol, origClientOrderId=order.client_order_id
            )
        except Refusal as refusal:
            if refusal.code != CANCEL_REJECTED or refusal.said != UNKNOWN_ORDER:
                raise
            return await self.order(order)
        return self._open.history.order(withdrawn)

    async def updates(self) -> AsyncGenerator[Update]:
        """Fills and states as they come.

        Raises
        ------
        Rejected
            If the venue does not take our key.
        """
        async with contextlib.aclosing(self._open.stream.updates()) as updates:
            async for update in updates:
                self._open.history.heard(update)
                yield update

    @property
    def gaps(self) -> int:
        return self._open.stream.gaps

    async def keep_alive(self, seconds: float) -> bool:  # noqa: ARG002 - there is no switch to set
        """False: the venue's countdown to cancellation is for futures, spot has none."""
        return False

    async def _place(self, order: Order) -> VenueOrder:
        id_ = order.client_order_id
        sent = {
            "symbol": order.instrument.symbol,
            "side": "BUY" if order.side is Side.BUY else "SELL",
            "type": "MARKET",
            "quantity": f"{order.quantity:f}",
            "newClientOrderId": id_,
        }
        if order.limit_price is not None:
            sent |= {"type": "LIMIT", "timeInForce": "GTC", "price": f"{order.limit_price:f}"}
        self._unsure_until[id_] = math.inf
        try:
            placed = self._open.history.order(await self._open.client.place(**sent))
        except (Throttled, Refusal) as failure:
            self._unsure_until.pop(id_, None)
            is_known = isinstance(failure, Refusal) and failure.said == DUPLICATE_ORDER
            duplicate = await self._find(order) if is_known else None
            if duplicate is None:
                raise
            return duplicate
        except BaseException:  # whoever was cancelled does not know either
            self._unsure_until[id_] = self._wall_clock.monotonic() + self._longest_life
            raise
        self._unsure_until.pop(id_, None)
        return placed

    @property
    def _open(self) -> _Connected:
        if self._opened is None:
            raise ConfigurationError("expected an open broker, was closed: use it as a context manager")
        return self._opened

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
        self._unsure_until.pop(order.client_order_id, None)

    async def _find(self, order: Order) -> VenueOrder | None:
        try:
            found = await self._open.client.find(
                symbol=order.instrument.symbol, origClientOrderId=order.client_order_id
            )
        except Refusal as refusal:
            if refusal.code == NO_SUCH_ORDER:
                return None
            raise
        return self._open.history.order(found)
