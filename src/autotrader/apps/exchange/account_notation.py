"""Orders, trades and balances in the venue's own notation."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from autotrader.apps.exchange.account import CANCELED, Account, Balance, Happening, Placed, Trade

_NO_TRADE = -1


def order_json(order: Placed) -> dict[str, Any]:
    """An order as it is queried."""
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "price": text(order.limit or Decimal(0)),
        "origQty": text(order.quantity),
        "executedQty": text(order.executed),
        "origQuoteOrderQty": text(Decimal(0)),
        "cummulativeQuoteQty": text(order.paid),
        "status": order.status,
        "timeInForce": "GTC",
        "type": _type(order),
        "side": _side(order),
        "stopPrice": text(Decimal(0)),
        "icebergQty": text(Decimal(0)),
        "time": order.placed_ms,
        "updateTime": order.updated_ms,
        "isWorking": True,
        "workingTime": order.placed_ms,
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def placed_json(order: Placed, trades: list[Trade]) -> dict[str, Any]:
    """The FULL answer to a new order."""
    fills = [
        {
            "price": text(trade.price),
            "qty": text(trade.quantity),
            "commission": text(trade.commission),
            "commissionAsset": trade.commission_asset,
            "tradeId": trade.trade_id,
        }
        for trade in trades
    ]
    unsaid = {"time", "updateTime", "isWorking", "stopPrice", "icebergQty"}
    said = {name: value for name, value in order_json(order).items() if name not in unsaid}
    return {**said, "transactTime": order.updated_ms, "fills": fills}


def cancelled_json(order: Placed) -> dict[str, Any]:
    """The answer to a cancellation, which has a client's id of its own."""
    said = placed_json(order, [])
    del said["fills"]
    return {**said, "clientOrderId": _cancel_id(order), "origClientOrderId": order.client_id}


def trade_json(trade: Trade) -> dict[str, Any]:
    """A trade as it is listed; whose order it was in the client's words, the venue does not say."""
    return {
        "symbol": trade.order.symbol,
        "id": trade.trade_id,
        "orderId": trade.order.order_id,
        "orderListId": -1,
        "price": text(trade.price),
        "qty": text(trade.quantity),
        "quoteQty": text(trade.price * trade.quantity),
        "commission": text(trade.commission),
        "commissionAsset": trade.commission_asset,
        "time": trade.at_ms,
        "isBuyer": trade.order.is_buy,
        "isMaker": trade.is_maker,
        "isBestMatch": True,
    }


def account_json(balances: Mapping[str, Balance], updated_ms: int) -> dict[str, Any]:
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "canTrade": True,
        "canWithdraw": True,
        "canDeposit": True,
        "brokered": False,
        "updateTime": updated_ms,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": text(b.free), "locked": text(b.locked)} for asset, b in balances.items()
        ],
        "permissions": ["SPOT"],
        "uid": 1,
    }


def report_json(happening: Happening) -> dict[str, Any]:
    """An order's event on the user data stream."""
    order, trade = happening.order, happening.trade
    cancelled = happening.kind == CANCELED
    return {
        "e": "executionReport",
        "E": happening.at_ms,
        "s": order.symbol,
        "c": _cancel_id(order) if cancelled else order.client_id,
        "S": _side(order),
        "o": _type(order),
        "f": "GTC",
        "q": text(order.quantity),
        "p": text(order.limit or Decimal(0)),
        "P": text(Decimal(0)),
        "F": text(Decimal(0)),
        "g": -1,
        "C": order.client_id if cancelled else "",
        "x": happening.kind,
        "X": happening.status,
        "r": "NONE",
        "i": order.order_id,
        "l": text(trade.quantity if trade else Decimal(0)),
        "z": text(happening.executed),
        "L": text(trade.price if trade else Decimal(0)),
        "n": text(trade.commission) if trade else "0",
        "N": trade.commission_asset if trade else None,
        "T": happening.at_ms,
        "t": trade.trade_id if trade else _NO_TRADE,
        "v": 3,
        "I": order.order_id,
        "w": order.is_open,
        "m": trade.is_maker if trade else False,
        "M": False,
        "O": order.placed_ms,
        "Z": text(happening.paid),
        "Y": text(trade.price * trade.quantity if trade else Decimal(0)),
        "Q": text(Decimal(0)),
        "W": order.placed_ms,
        "V": "EXPIRE_MAKER",
    }


def position_json(account: Account, at_ms: int) -> dict[str, Any]:
    """The balances' event on the user data stream."""
    return {
        "e": "outboundAccountPosition",
        "E": at_ms,
        "u": account.updated_ms,
        "B": [{"a": a, "f": text(b.free), "l": text(b.locked)} for a, b in account.balances.items()],
    }


def text(number: Decimal) -> str:
    """With eight decimals, as all of the venue's numbers."""
    return f"{number:.8f}"


def _cancel_id(order: Placed) -> str:
    return f"cancel-{order.order_id}"


def _side(order: Placed) -> str:
    return "BUY" if order.is_buy else "SELL"


def _type(order: Placed) -> str:
    return "MARKET" if order.limit is None else "LIMIT"
