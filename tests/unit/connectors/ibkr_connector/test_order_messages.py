"""Messages about orders, read by their places, as the vendor's own decoders read them."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from autotrader.connectors.ibkr_connector import library, order_messages
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import OrderStatus, Side
from tests.fakes import tws_messages
from tests.fakes.tws_gateway import SERVER_VERSION

ORDER: dict[str, Any] = {
    "number": 5,
    "client_id": 17,
    "perm_id": 1900000001,
    "con_id": 265598,
    "symbol": "AAPL",
    "action": "SELL",
    "quantity": Decimal("0.3"),
    "type": "LMT",
    "limit": "170.10",
    "account": "DU1",
    "ref": "at1",
    "filled": Decimal("0.1"),
    "status": "Cancelled",
    "said": "Cancelled by Trader",
}


def text(fields: list[object]) -> list[str]:
    return [str(field) for field in fields]


def by_the_library(name: str, method: str, fields: list[str]) -> tuple[Any, ...]:
    library.load(name)
    heard: list[tuple[Any, ...]] = []
    wrapper = SimpleNamespace(**{method: lambda *told: heard.append(told)})
    decoder = importlib.import_module(f"{name}.decoder").Decoder(wrapper, SERVER_VERSION)
    getattr(decoder, method)(list(fields))
    return heard[0]


@pytest.mark.parametrize("name", library.LIBRARIES)
def test_an_open_order_is_read_as_the_library_reads_it(name: str) -> None:
    fields = text(tws_messages.open_order(ORDER))
    _, contract, order, state = by_the_library(name, "openOrder", fields)
    stated = order_messages.open_order(fields)
    assert (stated.ref, stated.perm_id) == (order.orderRef, order.permId)
    assert (stated.order_id, stated.client_id) == (order.orderId, order.clientId)
    assert (stated.account, stated.instrument.symbol) == (order.account, contract.symbol)
    assert (stated.side, stated.quantity) == (Side.SELL, Decimal("0.3"))
    assert state.status == "Cancelled"


@pytest.mark.parametrize("name", library.LIBRARIES)
def test_a_completed_order_is_read_as_the_library_reads_it(name: str) -> None:
    fields = text(tws_messages.completed_order(ORDER))
    _, order, state = by_the_library(name, "completedOrder", fields)
    stated = order_messages.completed_order(fields, SERVER_VERSION)
    assert (stated.ref, stated.perm_id, stated.account) == (order.orderRef, order.permId, order.account)
    assert stated.filled == Decimal(str(order.filledQuantity)) == Decimal("0.1")
    assert (stated.ended, stated.reason) == (OrderStatus.CANCELLED, state.completedStatus)


@pytest.mark.parametrize(
    ("said", "filled", "ended"),
    [
        ("Filled Size: 0.3", "0.3", OrderStatus.FILLED),
        ("Filled Size: 0.3", tws_messages.UNSET, OrderStatus.FILLED),
        ("Cancelled by Trader", "", OrderStatus.CANCELLED),
        ("Rejected by System", "0", OrderStatus.REJECTED),
    ],
)
def test_what_an_order_came_to_is_told_in_words(said: str, filled: str, ended: OrderStatus) -> None:
    fields = text(tws_messages.completed_order({**ORDER, "said": said, "filled": filled}))
    assert order_messages.completed_order(fields, SERVER_VERSION).ended is ended


def execution(at: str) -> order_messages.Execution:
    contract = tws_messages.stock(ORDER)
    how: list[object] = ["0000e0d5.6576fd38.01.02", at, "DU1", "NASDAQ", "BOT", "8", "180.01"]
    return order_messages.execution(
        text([11, -1, 5, *contract, *how, 19, 17, 0, 8, 180.01, "at1", "", "", "", 1])
    )


@pytest.mark.parametrize(
    "at",
    ["20240226-14:30:00", "20240226 09:30:00 US/Eastern", "20240226 14:30:00 UTC", "20240226  14:30:00 UTC"],
)
def test_an_execution_s_time_has_a_zone(at: str) -> None:
    assert execution(at).at == datetime(2024, 2, 26, 14, 30, tzinfo=UTC)


def test_a_time_without_a_zone_is_not_guessed() -> None:
    with pytest.raises(ValueError, match="expected a time with its zone"):
        execution("20240226  09:30:00")


def test_corrections_of_a_trade_have_its_id_in_common() -> None:
    found = execution("20240226-14:30:00")
    assert (found.exec_id, found.trade) == ("0000e0d5.6576fd38.01.02", "0000e0d5.6576fd38.01")
    assert (found.quantity, found.price, found.ref) == (Decimal(8), Decimal("180.01"), "at1")


def test_only_us_stocks_go_by_their_symbol() -> None:
    assert order_messages.instrument_of("AAPL", "STK", "USD") == InstrumentId(Venue.IBKR, "AAPL")
    assert order_messages.instrument_of("AAPL", "STK", "MXN").symbol == "AAPL.STK.MXN"
    assert order_messages.instrument_of("AAPL", "OPT", "USD").symbol == "AAPL.OPT.USD"


def test_a_fee_that_is_not_known_yet_is_none() -> None:
    assert order_messages.commission(["59", "1", "x.01", tws_messages.UNSET, "USD"]) is None
    assert order_messages.commission(["59", "1", "x.01", "1.05", "USD"]) == ("x.01", Decimal("1.05"), "USD")
