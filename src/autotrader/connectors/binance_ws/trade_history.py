"""Our trades, and whose orders they were: the venue lists them under its own ids alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from autotrader.connectors.binance_ws.account_client import TRADES_IN_A_PAGE, AccountClient
from autotrader.connectors.binance_ws.account_messages import OrderMessage, TradeMessage
from autotrader.connectors.binance_ws.failures import NO_SUCH_ORDER, Refusal
from autotrader.domain.orders import Fill
from autotrader.ports.broker import Update, VenueOrder

_ORDERS_REMEMBERED = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class TradeHistory:
    """What the venue told of trades and orders while one connection to the account is open.

    Parameters
    ----------
    client : AccountClient
    account : str
        Our name of it.

    Attributes
    ----------
    newest : datetime
        Time of the newest trade that we know of; 1970 before the first.
    """

    def __init__(self, client: AccountClient, account: str) -> None:
        self._client, self._account = client, account
        self._client_ids: OrderedDict[tuple[str, str], str | None] = OrderedDict()
        self.newest = _EPOCH

    async def fills(self, symbols: Sequence[str], since: datetime) -> list[Fill]:
        """Trades from `since` on, oldest first; whose order it was is asked for where it is not known.

        Raises
        ------
        Refusal, Throttled, Unreachable
        """
        found = [
            trade.fill(self._account, await self._client_id(trade.symbol, str(trade.order_id)))
            for symbol in symbols
            for trade in await self._trades(symbol, since)
        ]
        found.sort(key=lambda fill: (fill.at, fill.instrument, int(fill.fill_id)))
        for fill in found[-1:]:
            self.newest = max(self.newest, fill.at)
        return found

    def order(self, message: OrderMessage) -> VenueOrder:
        """The order in a message; its ids are remembered."""
        order = message.order()
        self._remember(message.symbol, order.venue_order_id, order.client_order_id)
        return order

    def heard(self, update: Update) -> None:
        """Remember what an update says."""
        if update.venue_order_id is not None:
            self._remember(update.instrument.symbol, update.venue_order_id, update.client_order_id)
        if isinstance(update, Fill):
            self.newest = max(self.newest, update.at)

    async def _trades(self, symbol: str, since: datetime) -> list[TradeMessage]:
        start_ms = (since - _EPOCH) // _MILLISECOND
        page = await self._client.trades(symbol=symbol, startTime=start_ms)
        trades = page
        while len(page) == TRADES_IN_A_PAGE:
            page = await self._client.trades(symbol=symbol, fromId=page[-1].id + 1)
            trades = trades + page
        return trades

    async def _client_id(self, symbol: str, order_id: str) -> str | None:
        """The client's id of an order that the venue names; None where the venue has forgotten it."""
        if (symbol, order_id) not in self._client_ids:
            try:
                self.order(await self._client.find(symbol=symbol, orderId=order_id))
            except Refusal as refusal:
                if refusal.code != NO_SUCH_ORDER:
                    raise
                self._remember(symbol, order_id, None)
        return self._client_ids[symbol, order_id]

    def _remember(self, symbol: str, order_id: str, client_order_id: str | None) -> None:
        self._client_ids[symbol, order_id] = client_order_id
        while len(self._client_ids) > _ORDERS_REMEMBERED:
            self._client_ids.popitem(last=False)
