"""Bars are read from candles as they came."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autotrader.connectors.oanda.decode import MEDIA, decode_page
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import Venue
from autotrader.ports.market_data import RawPage

START = datetime(2024, 2, 28, tzinfo=UTC)


def candle(minute: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "complete": True,
        "volume": 42,
        "time": f"2024-02-28T00:{minute:02}:00.000000000Z",
        "mid": {"o": "1.08415", "h": "1.08420", "l": "1.08410", "c": "1.08418"},
        "bid": {"o": "1.08409", "h": "1.08413", "l": "1.08404", "c": "1.08411"},
        "ask": {"o": "1.08421", "h": "1.08427", "l": "1.08416", "c": "1.08425"},
    } | changes


def page(*candles: dict[str, Any], instrument: str = "EUR_USD", raw: bytes | None = None) -> RawPage:
    body = json.dumps({"instrument": instrument, "granularity": "M1", "candles": candles}).encode()
    return RawPage(
        venue=Venue.OANDA,
        instrument="EUR_USD",
        interval=Interval.M1,
        start=START,
        end=START + timedelta(days=1),
        payload=body if raw is None else raw,
        media=MEDIA,
        fetched_at=START + timedelta(days=2),
        market_time=START + timedelta(days=2),
        source="oanda",
    )


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in candle().items() if key != name}


def test_every_field_lands_in_its_column() -> None:
    (row,) = decode_page(page(candle())).to_dicts()
    assert row == {
        "venue": "oanda",
        "instrument": "EUR_USD",
        "interval": "1m",
        "ts": START,
        "open": 1.08415,
        "high": 1.0842,
        "low": 1.0841,
        "close": 1.08418,
        "volume": 42.0,
        "quote_volume": None,
        "trade_count": None,
        "taker_buy_base": None,
        "taker_buy_quote": None,
        "spread": 0.00014,
    }


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_a_spread_needs_both_sides(side: str) -> None:
    assert decode_page(page(without(side)))["spread"].to_list() == [None]


def test_incomplete_and_unclosed_candles_are_left_out() -> None:
    whole = page(candle(0), candle(1), candle(2, complete=False))
    assert decode_page(whole).height == 2
    early = dataclasses.replace(whole, market_time=START + timedelta(seconds=119))
    assert decode_page(early).height == 1


def test_order_and_duplicates_are_the_venue_s() -> None:
    frame = decode_page(page(candle(2), candle(0), candle(0)))
    assert frame["ts"].dt.minute().to_list() == [2, 0, 0]


def test_numbers_that_make_no_price_are_left_to_the_quality_checks() -> None:
    frame = decode_page(page(candle(mid={"o": "NaN", "h": "0", "l": "-1", "c": "1"})))
    assert frame["open"].is_nan().all()
    assert frame["low"].to_list() == [-1.0]


def test_a_closed_market_is_a_page_of_no_bars() -> None:
    assert decode_page(page()).height == 0


@pytest.mark.parametrize(
    "bad",
    [
        page(candle(), instrument="GBP_USD"),
        page(without("mid")),
        page(without("time")),
        page(without("complete")),
        page(candle(time="yesterday")),
        page(candle(time=1709078400)),
        page(candle(mid={"o": "one", "h": "1", "l": "1", "c": "1"})),
        page(candle(mid={"o": "1", "h": "1", "l": "1"})),
        page(candle(bid={"c": "x"})),
        page(raw=b'{"candles": []}'),
        page(raw=b'{"instrument": "EUR_USD", "candles": 3}'),
        page(raw=b"[]"),
    ],
    ids=[
        "other instrument",
        "no price",
        "no time",
        "no completeness",
        "time",
        "time as a number",
        "price",
        "no close",
        "bid",
        "no instrument",
        "no list",
        "list",
    ],
)
def test_what_is_no_page_of_candles_is_bad_data(bad: RawPage) -> None:
    with pytest.raises(BadData, match="EUR_USD"):
        decode_page(bad)
