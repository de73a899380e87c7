"""Trades and order books of the stand-in: they agree with the bars, and with one another."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from autotrader.apps.exchange.depth import STEP_MS, DepthBook
from autotrader.apps.exchange.klines import KlineBook, epoch_ms
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.apps.exchange.trades import Tape

from .conftest import MARKET_END, Get

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
NOW = MARKET_END - timedelta(hours=5)


@pytest.fixture(scope="module")
def tape(market: SimulatedMarket) -> Tape:
    return Tape(market, KlineBook(market))


@pytest.fixture(scope="module")
def depth(market: SimulatedMarket) -> DepthBook:
    return DepthBook(market, KlineBook(market))


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_the_trades_of_each_minute_add_up_to_its_bar(
    market: SimulatedMarket, tape: Tape, symbol: str
) -> None:
    for bar in market.candles(symbol).tail(400).iter_rows(named=True):
        traded = tape.minute(symbol, bar["ts"])
        assert traded is not None
        assert len(traded.prices) == bar["trade_count"]
        assert (traded.prices[0], traded.prices[-1]) == (
            (bar["open"], bar["close"]) if bar["trade_count"] > 1 else (bar["close"],) * 2
        )
        assert traded.prices.min() >= bar["low"]
        assert traded.prices.max() <= bar["high"]
        assert traded.quantities.min() > 0
        assert traded.quantities.sum() == pytest.approx(bar["volume"], abs=1e-8)
        if bar["trade_count"] > 1:
            taken = traded.quantities[traded.buyer_took].sum()
            assert taken == pytest.approx(bar["taker_buy_base"], abs=1e-8)
        if bar["trade_count"] >= 4:
            assert (traded.prices.min(), traded.prices.max()) == (bar["low"], bar["high"])
        opened_ms = epoch_ms(bar["ts"])
        assert (np.diff(traded.times_ms) >= 0).all()
        assert opened_ms <= traded.times_ms[0]
        assert traded.times_ms[-1] < opened_ms + 60_000


def test_trades_are_numbered_on_from_minute_to_minute(tape: Tape) -> None:
    ids: list[int] = []
    instant = NOW
    while instant < NOW + 2 * MINUTE:
        ids += [event["t"] for event in tape.events("BTCUSDT", instant, instant + SECOND)]
        instant += SECOND
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert tape.ids("BTCUSDT", NOW, "1m")[0] == ids[0]
    assert tape.ids("BTCUSDT", NOW + MINUTE, "1m")[1] == ids[-1]


def test_the_same_market_has_the_same_trades(market: SimulatedMarket, tape: Tape) -> None:
    another = Tape(market, KlineBook(market)).minute("BTCUSDT", NOW)
    known = tape.minute("BTCUSDT", NOW)
    assert known is not None
    assert another is not None
    assert np.array_equal(known.prices, another.prices)
    assert np.array_equal(known.quantities, another.quantities)


def sides(book: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    return dict(book["bids"]), dict(book["asks"])


def test_a_book_lies_around_the_price_of_the_bar(market: SimulatedMarket, depth: DepthBook) -> None:
    bar = market.candles("BTCUSDT").filter(pl.col("ts") == NOW).row(0, named=True)
    at_open = depth.snapshot("BTCUSDT", NOW, 10)
    best_bid, best_ask = float(at_open["bids"][0][0]), float(at_open["asks"][0][0])
    assert best_bid <= bar["open"] + 1e-9
    assert best_ask > bar["open"]
    assert best_ask - best_bid <= bar["open"] * 1.1e-5
    prices = [[float(price) for price, _ in at_open[side]] for side in ("bids", "asks")]
    assert prices == [sorted(prices[0], reverse=True), sorted(prices[1])]
    assert all(float(size) > 0 for side in ("bids", "asks") for _, size in at_open[side])


def test_differences_lead_from_one_snapshot_to_any_later_one(depth: DepthBook) -> None:
    bids, asks = sides(depth.snapshot("BTCUSDT", NOW, 1000))
    last_id = depth.snapshot("BTCUSDT", NOW, 1)["lastUpdateId"]
    instant: datetime = NOW
    for _ in range(150):
        event = depth.event("BTCUSDT", instant, instant + SECOND)
        assert event["U"] == last_id + 1
        last_id = event["u"]
        for side, changed in ((bids, event["b"]), (asks, event["a"])):
            side.update(changed)
            for price in [p for p, size in side.items() if float(size) == 0]:
                del side[price]
        instant += SECOND
    assert (bids, asks) == sides(depth.snapshot("BTCUSDT", instant, 1000))
    assert last_id == epoch_ms(instant) // STEP_MS


def test_a_book_before_the_first_trade_is_empty(market: SimulatedMarket, depth: DepthBook) -> None:
    before = depth.snapshot("BTCUSDT", market.start - MINUTE, 10)
    assert (before["bids"], before["asks"]) == ([], [])


def test_the_depth_endpoint_gives_as_many_levels_as_asked(get: Get) -> None:
    status, book, _ = get("depth?symbol=BTCUSDT&limit=5")
    assert (status, len(book["bids"]), len(book["asks"])) == (200, 5, 5)
    assert get("depth?symbol=NOSUCH")[1]["code"] == -1121
    assert get("depth")[1]["code"] == -1102
