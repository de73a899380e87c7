"""The signed REST endpoints: orders, the account, its trades, and what the key may do."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation

from aiohttp import web

from autotrader.apps.exchange.account import Account, Placed
from autotrader.apps.exchange.account_notation import (
    account_json,
    cancelled_json,
    order_json,
    placed_json,
    trade_json,
)
from autotrader.apps.exchange.answers import Guard, Handler, Refused, milliseconds, number, parameters
from autotrader.apps.exchange.faults import FaultKind, Faults
from autotrader.apps.exchange.matching import Matching
from autotrader.apps.exchange.signatures import Signatures
from autotrader.apps.exchange.symbols import Symbols

# https://developers.binance.com/docs/binance-spot-api-docs/rest-api (weights of 2023-08-25)
ORDER_WEIGHT, STATUS_WEIGHT, ACCOUNT_WEIGHT, TRADES_WEIGHT = 1, 4, 20, 20
OPEN_ORDERS_WEIGHT, ALL_OPEN_ORDERS_WEIGHT = 6, 80
DEFAULT_LIMIT, MAXIMUM_LIMIT = 500, 1000
DAY_MS = 86_400_000
_CLIENT_ID = re.compile(r"[a-zA-Z0-9-_]{1,36}")


class AccountApi:
    """Handlers of the signed part of `/api/v3/...`.

    Attributes
    ----------
    permissions : dict[str, bool] or None
        What the key may do, as `/sapi/v1/account/apiRestrictions` tells; None answers 404 there, as
        a test net does.
    """

    def __init__(
        self,
        account: Account,
        matching: Matching,
        symbols: Symbols,
        signatures: Signatures,
        faults: Faults,
    ) -> None:
        self._account, self._matching, self._symbols = account, matching, symbols
        self._signatures, self._faults = signatures, faults
        self.permissions: dict[str, bool] | None = {
            "ipRestrict": True,
            "enableReading": True,
            "enableWithdrawals": False,
            "enableSpotAndMarginTrading": True,
        }

    def routes(self, guard: Guard) -> list[web.RouteDef]:
        order, open_orders = "/api/v3/order", "/api/v3/openOrders"

        def signed(
            path: str, weight: int, handler: Handler
        ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
            return guard.wrap(path, weight, self._signed(handler))

        return [
            web.post(order, signed("order.place", ORDER_WEIGHT, self._place)),
            web.get(order, signed("order.status", STATUS_WEIGHT, self._status)),
            web.delete(order, signed("order.cancel", ORDER_WEIGHT, self._cancel)),
            web.get(open_orders, signed("openOrders", ALL_OPEN_ORDERS_WEIGHT, self._open_orders)),
            web.delete(open_orders, signed("openOrders.cancelAll", ORDER_WEIGHT, self._cancel_all)),
            web.get("/api/v3/account", signed("account", ACCOUNT_WEIGHT, self._show_account)),
            web.get("/api/v3/myTrades", signed("myTrades", TRADES_WEIGHT, self._trades)),
            web.get("/sapi/v1/account/apiRestrictions", signed("apiRestrictions", 1, self._show_permissions)),
        ]

    def _signed(self, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            asked = await parameters(request)
            body = await request.text()
            payload = "&".join(filter(None, [request.rel_url.raw_query_string, body]))
            self._signatures.check(request.headers.get("X-MBX-APIKEY"), payload, asked)
            self._matching.catch_up()
            return await handler(request)

        return handle

    async def _place(self, request: web.Request) -> web.Response:
        asked = await parameters(request)
        symbol = self._symbols.known(asked.get("symbol", ""))
        side, kind = asked.get("side"), asked.get("type")
        if side not in {"BUY", "SELL"}:
            raise Refused(-1117, "Invalid side.")
        if kind not in {"MARKET", "LIMIT"}:
            raise Refused(-1116, "Invalid orderType.")
        if kind == "LIMIT" and asked.get("timeInForce") != "GTC":
            raise Refused(-1115, "Invalid timeInForce.")
        client_id = asked.get("newClientOrderId", "")
        if not _CLIENT_ID.fullmatch(client_id):
            raise Refused(-1100, "Illegal characters found in parameter 'newClientOrderId'.")
        order = self._matching.place(
            symbol,
            client_id,
            is_buy=side == "BUY",
            quantity=_decimal(asked, "quantity"),
            limit=_decimal(asked, "price") if kind == "LIMIT" else None,
        )
        return web.json_response(placed_json(order, [t for t in self._account.trades if t.order is order]))

    async def _status(self, request: web.Request) -> web.Response:
        order = await self._asked_for(request)
        if order is None or self._faults.take(FaultKind.STALE, "order.status", order.symbol):
            raise Refused(-2013, "Order does not exist.")
        return web.json_response(order_json(order))

    async def _cancel(self, request: web.Request) -> web.Response:
        order = await self._asked_for(request)
        if order is None:
            raise Refused(-2011, "Unknown order sent.")
        too_late = self._faults.take(FaultKind.LATE_FILL, "order.cancel", order.symbol)
        self._matching.cancel(order, too_late=too_late)
        return web.json_response(cancelled_json(order))

    async def _cancel_all(self, request: web.Request) -> web.Response:
        symbol = self._symbols.known((await parameters(request)).get("symbol", ""))
        working = self._account.open_orders(symbol)
        if not working:
            raise Refused(-2011, "Unknown order sent.")
        for order in working:
            self._matching.cancel(order, too_late=False)
        return web.json_response([cancelled_json(order) for order in working])

    async def _open_orders(self, request: web.Request) -> web.Response:
        symbol = request.query.get("symbol")
        found = self._account.open_orders(symbol and self._symbols.known(symbol))
        return web.json_response([order_json(order) for order in found])

    async def _show_account(self, _request: web.Request) -> web.Response:
        state = self._account.balances, self._account.updated_ms
        if self._faults.take(FaultKind.STALE, "account"):
            state = self._account.stale
        return web.json_response(account_json(*state))

    async def _trades(self, request: web.Request) -> web.Response:
        asked = request.query
        symbol = self._symbols.known(asked.get("symbol", ""))
        first_id, order_id = (number(asked.get(name), name) for name in ("fromId", "orderId"))
        start, end = (asked.get(name) for name in ("startTime", "endTime"))
        if first_id is not None and (start or end):
            raise Refused(-1128, "Combination of optional parameters invalid.")
        if start and end and milliseconds(end) - milliseconds(start) > DAY_MS:
            raise Refused(-1127, "More than 24 hours between startTime and endTime.")
        found = [
            trade
            for trade in self._account.trades
            if trade.order.symbol == symbol
            and (order_id is None or trade.order.order_id == order_id)
            and (first_id is None or trade.trade_id >= first_id)
            and (start is None or trade.at_ms >= milliseconds(start))
            and (end is None or trade.at_ms <= milliseconds(end))
        ]
        limit = min(number(asked.get("limit"), "limit") or DEFAULT_LIMIT, MAXIMUM_LIMIT)
        oldest_first = first_id is not None or order_id is not None or start is not None
        page = found[:limit] if oldest_first else found[-limit:]
        return web.json_response([trade_json(trade) for trade in page])

    async def _show_permissions(self, _request: web.Request) -> web.Response:
        if self.permissions is None:
            raise Refused(-1, "no such path", 404)
        return web.json_response(self.permissions)

    async def _asked_for(self, request: web.Request) -> Placed | None:
        asked = await parameters(request)
        symbol = self._symbols.known(asked.get("symbol", ""))
        order_id, client_id = number(asked.get("orderId"), "orderId"), asked.get("origClientOrderId")
        if order_id is None and not client_id:
            raise Refused(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty!")
        return self._account.find(symbol, order_id, client_id)


def _decimal(asked: dict[str, str], name: str) -> Decimal:
    try:
        value = Decimal(asked[name])
    except KeyError:
        raise Refused(
            -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
        ) from None
    except InvalidOperation:
        raise Refused(-1100, f"Illegal characters found in parameter '{name}'.") from None
    if not value.is_finite() or value <= 0:
        raise Refused(-1013, f"Invalid {name}.")
    return value
