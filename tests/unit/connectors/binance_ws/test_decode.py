"""Bars from the venue's messages: which, in what order, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.connectors.binance_ws.decode import KLINE_EVENT, KLINES, decode_page
from autotrader.data.schemas import DECODED_BARS
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import Venue
from autotrader.ports.market_data import RawPage
from tests import real_data

OPEN = datetime(2024, 2, 1, tzinfo=UTC)
OPEN_MS = 1_706_745_600_000


def kline(minute: int = 0, **changes: Any) -> list[Any]:
    opened = OPEN_MS + 60_000 * minute
    values = {
        "ts": opened,
        "open": "42283.58000000",
        "high": "42298.62000000",
        "low": "42261.02000000",
        "close": "42298.61000000",
        "volume": "35.92724000",
        "close_time": opened + 59_999,
        "quote_volume": "1519032.59498870",
        "trade_count": 1327,
        "taker_buy_base": "20.26103000",
        "taker_buy_quote": "856714.30157190",
        "ignored": "0",
    }
    return list((values | changes).values())


def page(rows: object, *, media: str = KLINES, market_time: datetime = OPEN + timedelta(days=1)) -> RawPage:
    payload = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
    end = OPEN + timedelta(minutes=1000)
    return RawPage(
        Venue.BINANCE, "BTCUSDT", Interval.M1, OPEN, end, payload, media, market_time, market_time, "recorded"
    )


def event(*, closed: bool = True, **changes: Any) -> dict[str, Any]:
    bar = {
        "t": OPEN_MS,
        "T": OPEN_MS + 59_999,
        "s": "BTCUSDT",
        "i": "1m",
        "f": 100,
        "L": 200,
        "o": "0.0010",
        "c": "0.0020",
        "h": "0.0025",
        "l": "0.0010",
        "v": "1000",
        "n": 101,
        "x": closed,
        "q": "1.5000",
        "V": "500",
        "Q": "0.7500",
        "B": "0",
    }
    data = {"e": "kline", "E": OPEN_MS + 60_000, "s": "BTCUSDT", "k": bar | changes}
    return {"stream": "btcusdt@kline_1m", "data": data}


def test_every_field_lands_in_its_column() -> None:
    bar = decode_page(page([kline()])).row(0, named=True)
    assert bar == {
        "venue": "binance",
        "instrument": "BTCUSDT",
        "interval": "1m",
        "ts": OPEN,
        "open": 42283.58,
        "high": 42298.62,
        "low": 42261.02,
        "close": 42298.61,
        "volume": 35.92724,
        "quote_volume": 1519032.5949887,
        "trade_count": 1327,
        "taker_buy_base": 20.26103,
        "taker_buy_quote": 856714.3015719,
        "spread": None,
    }


@pytest.mark.parametrize("rows", [[], [kline()], [kline(i) for i in range(3)]])
def test_the_schema_is_the_same_whatever_is_in_the_page(rows: list[Any]) -> None:
    frame = decode_page(page(rows))
    assert dict(frame.schema) == DECODED_BARS
    assert frame.height == len(rows)


def test_milliseconds_and_microseconds_give_the_same_bar() -> None:
    in_microseconds = kline(ts=OPEN_MS * 1000, close_time=(OPEN_MS + 60_000) * 1000 - 1)
    assert decode_page(page([in_microseconds])).equals(decode_page(page([kline()])))


def test_rows_stay_in_the_order_and_number_that_the_venue_sent() -> None:
    sent = [kline(3), kline(1), kline(1), kline(7), kline(3, close="1.0")]
    minutes = [3, 1, 1, 7, 3]
    assert decode_page(page(sent))["ts"].to_list() == [OPEN + timedelta(minutes=m) for m in minutes]


def test_bars_that_had_not_closed_are_left_out() -> None:
    rows = [kline(i) for i in range(5)]
    at = OPEN + timedelta(minutes=3)
    assert decode_page(page(rows, market_time=at)).height == 3
    assert decode_page(page(rows, market_time=at - timedelta(microseconds=1))).height == 2


@pytest.mark.parametrize("text", ["NaN", "-1.5", "0.00000000"])
def test_prices_without_sense_are_kept_for_the_quality_checks(text: str) -> None:
    (close,) = decode_page(page([kline(close=text)]))["close"]
    assert math.isnan(close) if text == "NaN" else close == float(text)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"{}",
        b'{"code":-1121,"msg":"Invalid symbol."}',
        b"<html><body>502 Bad Gateway</body></html>",
        b"\xff\xfe\x00",
        json.dumps([kline()]).encode()[:-20],
        json.dumps([kline()[:-1]]).encode(),
        json.dumps([[*kline(), "extra"]]).encode(),
        json.dumps([kline(open="forty")]).encode(),
        json.dumps([kline(open=None)]).encode(),
        json.dumps([kline(ts="yesterday")]).encode(),
        json.dumps([kline(ts=2**70)]).encode(),
        json.dumps([kline(trade_count=1.5)]).encode(),
    ],
)
def test_what_is_no_page_of_klines_is_bad_data(payload: bytes) -> None:
    with pytest.raises(BadData, match="expected"):
        decode_page(page(payload))


@settings(max_examples=60)
@given(cut=st.integers(1, 10_000), rows=st.integers(1, 5))
def test_no_cut_of_a_page_is_taken_for_a_page(cut: int, rows: int) -> None:
    payload = json.dumps([kline(i) for i in range(rows)]).encode()
    with pytest.raises(BadData):
        decode_page(page(payload[: -1 - cut % (len(payload) - 1)]))


def test_a_closed_event_is_one_bar() -> None:
    bar = decode_page(page(event(), media=KLINE_EVENT)).row(0, named=True)
    assert bar["ts"] == OPEN
    assert [bar[c] for c in ("open", "high", "low", "close")] == [0.001, 0.0025, 0.001, 0.002]
    assert [bar[c] for c in ("volume", "quote_volume", "trade_count")] == [1000, 1.5, 101]
    assert [bar[c] for c in ("taker_buy_base", "taker_buy_quote")] == [500, 0.75]


def test_an_update_of_an_open_bar_holds_no_bar() -> None:
    assert decode_page(page(event(closed=False), media=KLINE_EVENT)).is_empty()


def test_an_event_without_its_fields_is_bad_data() -> None:
    broken = event()
    del broken["data"]["k"]["x"]
    with pytest.raises(BadData, match="kline event"):
        decode_page(page(broken, media=KLINE_EVENT))


def test_another_media_is_bad_data() -> None:
    with pytest.raises(BadData, match="csv"):
        decode_page(dataclasses.replace(page([kline()]), media="csv"))


def test_the_venues_own_message_is_understood() -> None:
    path = real_data.folder() / "fixtures/binance/http_responses/http_spot_market_klines.json"
    raw = path.read_bytes()
    frame = decode_page(page(raw))
    assert frame.height == len(json.loads(raw))
    assert frame["close"].to_list() == [float(row[4]) for row in json.loads(raw)]
