"""Pages of klines: which rows, and how they are written."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.apps.exchange.klines import INTERVALS, KlineBook, Window, aggregate, epoch_ms, kline_rows
from autotrader.apps.exchange.simulated import SimulatedMarket

from .conftest import MARKET_END

BARS = 300
MARKET = SimulatedMarket(("BTCUSDT",), seed=3, end=MARKET_END, days=1)
BOOK = KlineBook(MARKET)
START_MS = epoch_ms(MARKET.start)


def page(window: Window, now: datetime = MARKET_END, interval: str = "1m") -> list[list]:
    return json.loads(BOOK.page("BTCUSDT", interval, window, now))


offsets = st.none() | st.integers(-30 * 60_000, (BARS + 30) * 60_000)


@settings(max_examples=60)
@given(start=offsets, end=offsets, limit=st.integers(1, 40), seconds=st.integers(0, BARS * 60))
def test_a_page_is_what_filtering_all_bars_would_give(
    start: int | None, end: int | None, limit: int, seconds: int
) -> None:
    now = MARKET.start + timedelta(seconds=seconds)
    opens = [START_MS + 60_000 * i for i in range(BARS + 1) if 60 * i < seconds]
    window = Window(
        None if start is None else START_MS + start, None if end is None else START_MS + end, limit
    )
    asked = [ms for ms in opens if window.holds(ms)]
    expected = asked[:limit] if start is not None else asked[-limit:]
    assert [row[0] for row in page(window, now)] == expected


def test_a_row_is_written_as_the_venue_writes_it() -> None:
    bar = MARKET.candles("BTCUSDT").row(0, named=True)
    (row,) = page(Window(START_MS, START_MS, 1))
    assert row == [
        START_MS,
        *(f"{bar[name]:.8f}" for name in ("open", "high", "low", "close", "volume")),
        START_MS + 59_999,
        f"{bar['quote_volume']:.8f}",
        bar["trade_count"],
        f"{bar['taker_buy_base']:.8f}",
        f"{bar['taker_buy_quote']:.8f}",
        "0",
    ]


@pytest.mark.parametrize("interval", list(INTERVALS))
def test_longer_bars_are_made_of_minutes(interval: str) -> None:
    minutes = MARKET.candles("BTCUSDT")
    width = INTERVALS[interval]
    bars = aggregate(minutes, interval)
    first = minutes.filter(pl.col("ts") < MARKET.start + width)
    assert bars.height == timedelta(days=1) // width
    assert bars["open"][0] == first["open"][0]
    assert bars["close"][0] == first["close"][-1]
    assert bars["high"][0] == first["high"].max()
    assert bars["low"][0] == first["low"].min()
    assert bars["trade_count"].sum() == minutes["trade_count"].sum()


def test_the_bar_in_progress_grows_into_the_closed_one() -> None:
    whole = MARKET.candles("BTCUSDT").row(10, named=True)
    opened = MARKET.start + timedelta(minutes=10)
    seen = []
    for seconds in (1, 20, 40, 59):
        bar = BOOK.in_progress("BTCUSDT", "1m", opened + timedelta(seconds=seconds))
        assert bar is not None
        seen.append(bar.row(0, named=True))
    closed = BOOK.closed("BTCUSDT", "1m", opened)
    assert closed is not None
    assert closed.row(0, named=True) == whole
    for earlier, later in itertools.pairwise([*seen, whole]):
        assert whole["low"] <= later["low"] <= earlier["low"]
        assert earlier["high"] <= later["high"] <= whole["high"]
        assert earlier["volume"] < later["volume"]


def test_a_bar_is_not_there_before_its_first_trade() -> None:
    assert BOOK.in_progress("BTCUSDT", "1m", MARKET.start) is None
    assert page(Window(None, None, 10), MARKET.start) == []


def test_the_hour_in_progress_holds_the_minutes_so_far() -> None:
    now = MARKET.start + timedelta(minutes=90)
    bar = BOOK.in_progress("BTCUSDT", "1h", now)
    minutes = MARKET.candles("BTCUSDT").slice(60, 30)
    assert bar is not None
    assert bar["volume"].item() == pytest.approx(minutes["volume"].sum())
    assert bar["high"].item() == minutes["high"].max()


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1e10).map(lambda x: round(x, 8)), min_size=1, max_size=50))
def test_a_value_of_eight_decimals_is_the_same_when_it_is_read_again(values: list[float]) -> None:
    frame = MARKET.candles("BTCUSDT").head(len(values)).with_columns(quote_volume=pl.Series(values))
    assert [float(json.loads(row)[7]) for row in kline_rows(frame, "1m")] == values
