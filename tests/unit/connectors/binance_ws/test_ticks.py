"""Trades and books from the venue's messages: recorded ones, and ones that are wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from autotrader.connectors.binance_ws.depth_stream import LocalBook
from autotrader.connectors.binance_ws.ticks import DepthEvent, DepthSnapshot, decode_depth, decode_trade
from autotrader.domain.errors import BadData
from tests import real_data

MOMENT_MS = 1_700_000_000_123
TRADE = {
    "e": "trade",
    "E": 5,
    "s": "BTCUSDT",
    "t": 7,
    "p": "10.5",
    "q": "2",
    "T": 1_700_000_000_123,
    "m": True,
}
DEPTH = {"E": 5, "s": "BTCUSDT", "U": 3, "u": 4, "b": [["10", "0"]], "a": [["11", "2.5"]]}


def message(event: object) -> bytes:
    return json.dumps({"stream": "x", "data": event}).encode()


def test_a_recorded_trade_is_read() -> None:
    (path,) = (real_data.folder() / "fixtures" / "binance" / "ws_messages").glob("ws_spot_trade.json")
    recorded = json.loads(path.read_text())
    trade = decode_trade(path.read_bytes())
    data = recorded["data"]
    assert (trade.instrument, trade.trade_id) == (data["s"], data["t"])
    assert (trade.price, trade.quantity) == (float(data["p"]), float(data["q"]))
    assert trade.buyer_took is not data["m"]


def test_a_trade_has_types_and_a_side() -> None:
    trade = decode_trade(message(TRADE))
    assert (trade.price, trade.quantity, trade.buyer_took) == (10.5, 2.0, False)
    assert trade.traded_at == datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC)


@pytest.mark.parametrize("wrong", [{"p": "NaN"}, {"p": "0"}, {"q": "-1"}, {"t": -1}, {"s": None}, {"T": "x"}])
def test_a_trade_that_cannot_be_is_bad_data(wrong: dict[str, object]) -> None:
    with pytest.raises(BadData, match="expected a trade"):
        decode_trade(message(TRADE | wrong))


@pytest.mark.parametrize("payload", [b"", b"<html>", message(TRADE)[:60], b"\xff\xfe", message(TRADE)])
def test_what_is_no_update_of_a_book_is_bad_data(payload: bytes) -> None:
    with pytest.raises(BadData, match="expected an update of a book"):
        decode_depth(payload)


def event(first: int, last: int, *, b: object = (), a: object = ()) -> DepthEvent:
    return decode_depth(message(DEPTH | {"U": first, "u": last, "b": b, "a": a}))


def book() -> LocalBook:
    return LocalBook(DepthSnapshot(10, [(99.0, 1.0), (98.0, 2.0)], [(101.0, 3.0), (102.0, 4.0)]))


def test_an_update_sets_levels_and_takes_away_those_of_zero() -> None:
    held = book()
    update = event(9, 12, b=[["99", "0"], ["97.5", "5"]], a=[["100.5", "6"]])
    assert held.follows(update)
    assert held.apply(update)
    seen = held.best(update, 2)
    assert seen.update_id == 12
    assert seen.bids == ((98.0, 2.0), (97.5, 5.0))
    assert seen.asks == ((100.5, 6.0), (101.0, 3.0))


def test_an_update_that_the_book_has_already_changes_nothing() -> None:
    held = book()
    old = event(8, 10, b=[["99", "50"]])
    assert held.follows(old)
    assert not held.apply(old)
    assert held.best(old, 1).bids == ((99.0, 1.0),)


def test_an_update_after_a_hole_does_not_follow() -> None:
    assert book().follows(event(11, 12))
    assert not book().follows(event(12, 13))
