"""The account's messages as the venue documents them, and what we make of them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from autotrader.connectors.binance_ws.account_messages import (
    OrderMessage,
    StreamEnded,
    decode_updates,
    rules_of,
)
from autotrader.connectors.binance_ws.client import SymbolInfo
from autotrader.domain.errors import BadData
from autotrader.domain.orders import Fill, OrderStatus, Side
from autotrader.ports.broker import VenueOrder

# https://developers.binance.com/docs/binance-spot-api-docs/user-data-stream, with a trade in it
REPORT: dict[str, Any] = {
    "e": "executionReport",
    "E": 1499405658658,
    "s": "ETHUSDT",
    "c": "at0123456789abcdef01234567",
    "S": "SELL",
    "o": "LIMIT",
    "f": "GTC",
    "q": "2.00000000",
    "p": "1500.00000000",
    "P": "0.00000000",
    "F": "0.00000000",
    "g": -1,
    "C": "",
    "x": "TRADE",
    "X": "PARTIALLY_FILLED",
    "r": "NONE",
    "i": 4293153,
    "l": "0.50000000",
    "z": "1.50000000",
    "L": "1500.10000000",
    "n": "0.00100000",
    "N": "BNB",
    "T": 1499405658657,
    "t": 77,
    "I": 8641984,
    "w": True,
    "m": False,
    "M": False,
    "O": 1499405658657,
    "Z": "2250.00000000",
    "Y": "750.05000000",
    "Q": "0.00000000",
    "W": 1499405658657,
    "V": "NONE",
}


def message(**changed: object) -> bytes:
    return json.dumps({"subscriptionId": 0, "event": {**REPORT, **changed}}).encode()


def test_a_trade_is_a_fill_and_a_state() -> None:
    fill, order = decode_updates(message(), "main")
    assert isinstance(fill, Fill)
    assert (fill.account, fill.fill_id, fill.venue_order_id) == ("main", "77", "4293153")
    assert (fill.side, fill.quantity, fill.price) == (Side.SELL, Decimal("0.5"), Decimal("1500.1"))
    assert (fill.fee, fill.fee_currency) == (Decimal("0.001"), "BNB")
    assert fill.at.isoformat() == "2017-07-07T05:34:18.657000+00:00"
    assert isinstance(order, VenueOrder)
    assert (order.status, order.quantity, order.filled) == (OrderStatus.OPEN, Decimal(2), Decimal("1.5"))


def test_a_cancellation_is_of_the_order_that_it_cancels() -> None:
    (order,) = decode_updates(message(x="CANCELED", X="CANCELED", c="web_1", C="at1", t=-1, N=None), "main")
    assert isinstance(order, VenueOrder)
    assert (order.client_order_id, order.status, order.reason) == ("at1", OrderStatus.CANCELLED, "CANCELED")


@pytest.mark.parametrize("status", ["EXPIRED", "EXPIRED_IN_MATCH"])
def test_what_the_venue_calls_expired_was_there_and_is_cancelled(status: str) -> None:
    (order,) = decode_updates(message(x="EXPIRED", X=status, r="STP"), "main")
    assert isinstance(order, VenueOrder)
    assert (order.status, order.reason) == (OrderStatus.CANCELLED, f"{status} STP")


@pytest.mark.parametrize("event", ["outboundAccountPosition", "balanceUpdate", "listStatus"])
def test_other_news_are_passed_over(event: str) -> None:
    assert decode_updates(json.dumps({"event": {"e": event}}).encode(), "main") == []


@pytest.mark.parametrize("event", ["eventStreamTerminated", "serverShutdown"])
def test_the_end_of_the_stream_is_told(event: str) -> None:
    with pytest.raises(StreamEnded, match=event):
        decode_updates(json.dumps({"event": {"e": event}}).encode(), "main")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"event": {}}', message(q="many"), message(X="LIMBO")])
def test_what_cannot_be_read_is_bad_data(body: bytes) -> None:
    with pytest.raises(BadData):
        decode_updates(body, "main")


def test_the_answer_to_a_cancellation_has_an_id_of_its_own() -> None:
    body = {
        "symbol": "ETHUSDT",
        "origClientOrderId": "at1",
        "orderId": 4,
        "orderListId": -1,
        "clientOrderId": "cancelMyOrder1",
        "transactTime": 1684804350068,
        "price": "2.00000000",
        "origQty": "1.00000000",
        "executedQty": "0.25000000",
        "cummulativeQuoteQty": "0.50000000",
        "status": "CANCELED",
        "timeInForce": "GTC",
        "type": "LIMIT",
        "side": "BUY",
    }
    order = msgspec.json.decode(json.dumps(body), type=OrderMessage, strict=False).order()
    assert (order.client_order_id, order.status, order.filled) == (
        "at1",
        OrderStatus.CANCELLED,
        Decimal("0.25"),
    )


# Filters


def info(*filters: dict[str, str]) -> SymbolInfo:
    body = {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "filters": filters,
    }
    return msgspec.json.decode(json.dumps(body), type=SymbolInfo, strict=False)


PRICE = {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01000000"}
LOT = {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001000"}
NO_MARKET_LOT = {"filterType": "MARKET_LOT_SIZE", "minQty": "0", "maxQty": "100", "stepSize": "0.00000000"}
NOTIONAL = {"filterType": "NOTIONAL", "minNotional": "5.00000000"}


def test_rules_come_of_the_filters() -> None:
    rules = rules_of(info(PRICE, LOT, NO_MARKET_LOT, NOTIONAL, {"filterType": "ICEBERG_PARTS"}))
    assert (rules.tick, rules.lot) == (Decimal("0.01"), Decimal("0.00001"))
    assert (rules.minimum_notional, rules.currency, rules.base_currency) == (Decimal(5), "USDT", "BTC")
    assert not rules.shortable


def test_the_coarser_of_two_steps_and_the_larger_of_two_notionals_hold() -> None:
    coarser = {**NO_MARKET_LOT, "stepSize": "0.001"}
    older = {"filterType": "MIN_NOTIONAL", "minNotional": "10"}
    rules = rules_of(info(PRICE, LOT, coarser, NOTIONAL, older))
    assert (rules.lot, rules.minimum_notional) == (Decimal("0.001"), Decimal(10))


@pytest.mark.parametrize("filters", [[LOT], [PRICE], [PRICE, LOT, {**NO_MARKET_LOT, "stepSize": "0.000015"}]])
def test_rules_without_steps_or_with_ones_that_do_not_fit_are_bad_data(filters: list[dict[str, str]]) -> None:
    with pytest.raises(BadData):
        rules_of(info(*filters))
