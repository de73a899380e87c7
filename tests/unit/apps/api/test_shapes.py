"""Rows are written as the bodies of the OpenAPI document are, without being made into them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from autotrader.apps.api.alert_bodies import AlertEventBody, shown
from autotrader.apps.api.bodies import (
    Body,
    EquityBody,
    EventBody,
    FillBody,
    OrderBody,
    PositionsBody,
    SignalBody,
    TradeBody,
)
from autotrader.apps.api.shapes import encode, rows_of
from autotrader.domain.alerts import Severity
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Fill, Order, OrderStatus, OrderType, Side
from autotrader.domain.positions import ClosedTrade
from autotrader.ports.alerts import Alert, AlertEvent, AlertState
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import EquityPoint, Signal
from tests.unit.apps.api.conftest import NOW

BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")
LATER = NOW + timedelta(microseconds=1_500)
SMALL, LARGE = Decimal("0E-8"), Decimal("1.5E+9")
ORDER = Order(
    account="main",
    client_order_id="1",
    strategy_id="s",
    instrument=BTC,
    side=Side.BUY,
    quantity=LARGE,
    type=OrderType.LIMIT,
    limit_price=Decimal("-0.10"),
    reference_price=SMALL,
    reduces=False,
    decided_at=NOW,
    valid_until=LATER,
    recorded_at=NOW,
    reason='quoted "é"\u2028',
    status=OrderStatus.OPEN,
)
SIGNAL = Signal("main", "s", BTC, NOW, None, None, None, 0.1 + 0.2, 1e-9, float("nan"), LARGE, None, "none")
EVENT = AlertEvent("k", EventType.ALERT, "info", "m", "a", LATER, None, {"x": [1, {"y": None}]}, None)
ALERT = Alert("i", "f", "Name", Severity.INFO, "m", "p.md", None, False, AlertState.OPEN, NOW, NOW, NOW, NOW)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (OrderBody, [ORDER, replace(ORDER, limit_price=None, average_price=SMALL)]),
        (FillBody, [Fill("main", "1", None, None, BTC, Side.SELL, SMALL, LARGE, -LARGE, "USDT", LATER)]),
        (TradeBody, [ClosedTrade("main", BTC, Side.BUY, LARGE, SMALL, LARGE, SMALL, LARGE, NOW, LATER)]),
        (SignalBody, [SIGNAL, replace(SIGNAL, score=None, version="v1")]),
        (EquityBody, [EquityPoint("main", NOW, LARGE, SMALL, 1e22, LARGE)]),
        (EventBody, [Event("k", EventType.TRADE, "info", "m", "a", NOW, str(BTC), {"at": NOW, "n": LARGE})]),
        (
            AlertEventBody,
            [shown(EVENT, str), shown(replace(EVENT, alert=ALERT), lambda path: f"https://x/{path}")],
        ),
        (OrderBody, []),
    ],
)
def test_rows_are_what_the_bodies_would_be(kind: type[Body], values: list[Any]) -> None:
    written = json.loads(encode(rows_of(kind, values)))
    assert written == [json.loads(kind.model_validate(value).model_dump_json()) for value in values]
    assert all(list(row) == list(kind.model_fields) for row in written)


def test_an_alert_that_was_taken_up_is_shown_with_its_event() -> None:
    (row,) = json.loads(encode(rows_of(AlertEventBody, [shown(replace(EVENT, alert=ALERT), "/{}".format)])))
    assert (row["alert_id"], row["alert"], row["state"]) == ("i", "Name", "open")
    assert (row["count"], row["runbook_url"], row["key"]) == (1, "/p.md", "k")


def test_a_body_within_a_body_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a field of a single value, was PositionBody"):
        rows_of(PositionsBody, [])
