"""The account of the stand-in: who may ask, what is taken, what is filled, and what it costs."""

from __future__ import annotations

import hashlib
import hmac
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest

from autotrader.apps.exchange.faults import Fault, FaultKind
from autotrader.apps.exchange.klines import epoch_ms
from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.signatures import KEY, SECRET
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.domain.errors import ConfigurationError

from .conftest import MARKET_END, ask

CASH = Decimal(100_000)
HOUR = timedelta(hours=1)

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def exchange(market: SimulatedMarket) -> Iterator[StandInExchange]:
    with running(StandInExchange(market, market_time=MARKET_END - HOUR)) as exchange:
        yield exchange


@pytest.fixture
def signed(exchange: StandInExchange) -> Ask:
    """Status and body of a signed request; `late` is by how much its time is behind the exchange's."""

    def signed(
        method: str,
        path: str,
        *,
        key: str = KEY,
        secret: str = SECRET,
        late: timedelta = timedelta(),
        **parameters: object,
    ) -> tuple[int, Any]:
        timestamp = epoch_ms(exchange.clock.now() - late)
        payload = urlencode({"recvWindow": 3000, **parameters, "timestamp": timestamp})
        signature = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        url = f"{exchange.rest_url}/api/v3/{path}?{payload}&signature={signature}"
        request = urllib.request.Request(url, method=method, headers={"X-MBX-APIKEY": key})  # noqa: S310
        try:
            answer = urllib.request.urlopen(request, timeout=60)  # noqa: S310
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            return answer.status, json.loads(answer.read())

    return signed


@pytest.fixture
def place(signed: Ask) -> Ask:
    def place(**given: object) -> tuple[int, Any]:
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.5"}
        if "price" in given:
            order |= {"type": "LIMIT", "timeInForce": "GTC"}
        return signed("POST", "order", **{**order, "newClientOrderId": "one", **given})

    return place


def last_price(exchange: StandInExchange) -> Decimal:
    best = exchange.depth.snapshot("BTCUSDT", exchange.clock.now(), 1)
    return Decimal(best["bids"][0][0])


def balances(signed: Ask) -> dict[str, tuple[Decimal, Decimal]]:
    _, account = signed("GET", "account")
    return {b["asset"]: (Decimal(b["free"]), Decimal(b["locked"])) for b in account["balances"]}


# Who may ask


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        ({"key": "another"}, 401, -2015),
        ({"secret": "another"}, 400, -1022),  # pragma: allowlist secret
        ({"late": timedelta(seconds=4)}, 400, -1021),
        ({"late": -timedelta(seconds=2)}, 400, -1021),
    ],
)
def test_a_request_of_somebody_else_or_of_another_time_is_refused(
    signed: Ask, wrong: dict[str, Any], status: int, code: int
) -> None:
    answered, body = signed("GET", "account", **wrong)
    assert (answered, body["code"]) == (status, code)


def test_a_clock_that_runs_faster_gives_windows_that_are_as_much_longer(
    exchange: StandInExchange, signed: Ask
) -> None:
    exchange.clock.set(speed=60.0)
    assert signed("GET", "account", late=timedelta(seconds=100), recvWindow=60_000)[0] == 200
    assert signed("GET", "account", late=timedelta(seconds=3700), recvWindow=60_000)[1]["code"] == -1021


# What is taken


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({"quantity": "0.0000001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "0.001"}, -1013, "Filter failure: NOTIONAL"),
        ({"price": "100.0001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"quantity": "10000"}, -2010, "insufficient balance"),
        ({"side": "SELL"}, -2010, "insufficient balance"),
        ({"symbol": "NOSUCH"}, -1121, "Invalid symbol"),
        ({"quantity": "NaN"}, -1013, "Invalid quantity"),
        ({"quantity": "many"}, -1100, "Illegal characters"),
        ({"type": "ICEBERG"}, -1116, "Invalid orderType"),
        ({"newClientOrderId": "not one!"}, -1100, "newClientOrderId"),
    ],
)
def test_an_order_that_breaks_a_rule_is_refused_and_changes_nothing(
    place: Ask, signed: Ask, given: dict[str, str], code: int, words: str
) -> None:
    status, body = place(**given)
    assert (status, body["code"]) == (400, code)
    assert words in body["msg"]
    assert balances(signed) == {"USDT": (CASH, 0)}


def test_an_id_is_taken_while_its_order_is_open_and_free_again_afterwards(place: Ask, signed: Ask) -> None:
    assert place(price="100")[0] == 200
    assert place(price="100")[1] == {"code": -2010, "msg": "Duplicate order sent."}
    signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId="one")
    assert place(price="100")[0] == 200


# What is filled


def test_a_market_order_is_filled_where_the_market_stands(
    exchange: StandInExchange, place: Ask, signed: Ask
) -> None:
    status, body = place()
    assert (status, body["status"], body["executedQty"]) == (200, "FILLED", "0.50000000")
    (fill,) = body["fills"]
    paid = Decimal(fill["price"])
    assert abs(paid - last_price(exchange)) / paid < Decimal("0.001")
    assert (fill["commissionAsset"], fill["commission"]) == ("BTC", "0.00050000")
    assert balances(signed) == {"USDT": (CASH - paid / 2, 0), "BTC": (Decimal("0.4995"), 0)}


def test_a_sale_pays_its_commission_in_what_it_brings(place: Ask, signed: Ask) -> None:
    place()
    before = balances(signed)["USDT"][0]
    _, body = place(side="SELL", quantity="0.4", newClientOrderId="two")
    (fill,) = body["fills"]
    brought = Decimal(fill["price"]) * Decimal("0.4")
    assert fill["commissionAsset"] == "USDT"
    assert balances(signed)["USDT"][0] == before + brought - Decimal(fill["commission"])
    assert Decimal(fill["commission"]) == pytest.approx(brought / 1000)


def test_a_limit_order_waits_and_is_filled_at_its_price_when_the_market_comes_by(
    exchange: StandInExchange, market: SimulatedMarket, place: Ask, signed: Ask
) -> None:
    bars = market.candles("BTCUSDT")
    rest = bars.filter(bars["ts"] >= MARKET_END - HOUR)
    lowest = rest["low"].arg_min()
    assert lowest is not None
    limit = Decimal(f"{rest['low'][lowest]:.3f}")
    place(price=str(limit), newClientOrderId="reached")
    place(price=str(limit - 1), newClientOrderId="missed")
    reserved = limit / 2 + (limit - 1) / 2
    assert balances(signed)["USDT"] == (CASH - reserved, reserved)

    exchange.clock.set(now=rest["ts"][lowest])
    assert len(signed("GET", "openOrders")[1]) == 2
    exchange.clock.set(now=MARKET_END)
    (left,) = signed("GET", "openOrders")[1]
    assert left["clientOrderId"] == "missed"
    (trade,) = signed("GET", "myTrades", symbol="BTCUSDT")[1]
    assert (Decimal(trade["price"]), trade["isMaker"]) == (limit, True)
    assert trade["time"] == epoch_ms(rest["ts"][lowest] + timedelta(minutes=1))
    assert balances(signed)["USDT"] == (CASH - reserved, (limit - 1) / 2)


def test_a_limit_that_the_market_is_past_is_filled_at_once_and_better(
    exchange: StandInExchange, place: Ask
) -> None:
    _, body = place(price="99000")
    assert body["status"] == "FILLED"
    assert Decimal(body["fills"][0]["price"]) < 99000


def test_a_trade_that_is_told_moves_the_market_until_its_clock_goes_on(
    exchange: StandInExchange, place: Ask
) -> None:
    place(price="50")
    ask(f"{exchange.rest_url}/_trades", method="POST", body={"symbol": "BTCUSDT", "price": "49"})
    assert place(newClientOrderId="two", quantity="1")[1]["fills"][0]["price"] == "49.00000000"
    exchange.advance(timedelta(minutes=1))
    assert Decimal(place(newClientOrderId="three")[1]["fills"][0]["price"]) > 49


def test_all_orders_of_a_symbol_are_cancelled_at_once(place: Ask, signed: Ask) -> None:
    place(price="100", newClientOrderId="one")
    place(price="101", newClientOrderId="two")
    status, cancelled = signed("DELETE", "openOrders", symbol="BTCUSDT")
    assert (status, {order["origClientOrderId"] for order in cancelled}) == (200, {"one", "two"})
    assert balances(signed)["USDT"] == (CASH, 0)
    assert signed("DELETE", "openOrders", symbol="BTCUSDT")[1]["code"] == -2011


# What is told


def test_trades_are_paged_by_time_and_by_id(exchange: StandInExchange, place: Ask, signed: Ask) -> None:
    for name in ("one", "two", "three"):
        place(newClientOrderId=name)
        exchange.advance(timedelta(minutes=1))

    def ids(**asked: object) -> list[int]:
        return [trade["id"] for trade in signed("GET", "myTrades", symbol="BTCUSDT", **asked)[1]]

    start = epoch_ms(MARKET_END - HOUR + timedelta(minutes=1))
    assert ids() == [1, 2, 3]
    assert ids(limit=2) == [2, 3]
    assert ids(startTime=start, limit=1) == [2]
    assert ids(fromId=2) == [2, 3]
    assert ids(endTime=start) == [1, 2]
    day = 86_400_000
    assert signed("GET", "myTrades", symbol="BTCUSDT", startTime=1, endTime=day + 2)[1]["code"] == -1127
    assert signed("GET", "myTrades", symbol="BTCUSDT", startTime=1, fromId=1)[1]["code"] == -1128


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (FaultKind.REJECTED, "klines"),
        (FaultKind.LATE_FILL, "order.place"),
        (FaultKind.STALE, "myTrades"),
        (FaultKind.REJECTED, "user_stream"),
    ],
)
def test_a_fault_where_it_has_no_meaning_is_not_taken(kind: FaultKind, path: str) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        Fault(kind, path=path)
