"""Bars are read from the gateway's fields as they came."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from autotrader.connectors.ibkr_connector.decode import decode_page
from autotrader.connectors.ibkr_connector.messages import MEDIA, join_fields
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import Venue
from autotrader.ports.market_data import RawPage

START = datetime(2024, 2, 28, tzinfo=UTC)
NO_DATA = [
    "4",
    "2",
    "1",
    "162",
    "Historical Market Data Service error message:HMDS query returned no data: A",
    "",
]


def bar(opens: datetime, *values: str) -> list[str]:
    return [str(int(opens.timestamp())), *(values or ("1.5", "2", "1", "1.75", "300", "1.6", "12"))]


def page(*fields: str, count: int | None = None, raw: bytes | None = None) -> RawPage:
    bars = count if count is not None else len(fields) // 8
    head = ["17", "1", "20240228-00:00:00", "20240229-00:00:00", str(bars)]
    return RawPage(
        venue=Venue.IBKR,
        instrument="AAPL",
        interval=Interval.M1,
        start=START,
        end=START + timedelta(days=1),
        payload=join_fields([*head, *fields]) if raw is None else raw,
        media=MEDIA,
        fetched_at=START + timedelta(days=2),
        market_time=START + timedelta(days=2),
        source="ibkr",
    )


def test_every_field_lands_in_its_column() -> None:
    (row,) = decode_page(page(*bar(START))).to_dicts()
    assert row == {
        "venue": "ibkr",
        "instrument": "AAPL",
        "interval": "1m",
        "ts": START,
        "open": 1.5,
        "high": 2.0,
        "low": 1.0,
        "close": 1.75,
        "volume": 300.0,
        "quote_volume": pytest.approx(480.0),
        "trade_count": 12,
        "taker_buy_base": None,
        "taker_buy_quote": None,
        "spread": None,
    }


def test_what_the_venue_does_not_know_is_null() -> None:
    (row,) = decode_page(page(*bar(START, "1", "1", "1", "1", "0", "-1", "-1"))).to_dicts()
    assert row["quote_volume"] is None
    assert row["trade_count"] is None


def test_order_and_duplicates_are_the_venue_s() -> None:
    opens = [START + timedelta(minutes=m) for m in (3, 1, 1, 2)]
    frame = decode_page(page(*(f for o in opens for f in bar(o))))
    assert frame["ts"].to_list() == opens


def test_numbers_that_make_no_price_are_left_to_the_quality_checks() -> None:
    frame = decode_page(page(*bar(START, "NaN", "0", "-1", "1", "1", "1", "1")))
    assert frame["open"].is_nan().all()
    assert frame["low"].to_list() == [-1.0]


def test_bars_of_other_pages_and_unclosed_ones_are_left_out() -> None:
    minute = timedelta(minutes=1)
    day_end = START + timedelta(days=1)
    opens = [START - minute, START, day_end - minute, day_end]
    whole = page(*(f for o in opens for f in bar(o)))
    assert decode_page(whole)["ts"].to_list() == [START, day_end - minute]
    early = dataclasses.replace(whole, market_time=day_end - timedelta(seconds=1))
    assert decode_page(early)["ts"].to_list() == [START]


def test_a_message_of_no_data_is_a_page_of_no_bars() -> None:
    assert decode_page(page(raw=join_fields(NO_DATA))).height == 0


@pytest.mark.parametrize(
    "bad",
    [
        page(*bar(START), count=2),
        page(*bar(START)[:-1], count=1),
        page(*bar(START, "one", "2", "1", "1", "1", "1", "1")),
        page(*bar(START, "1", "2", "1", "1", "1", "1", "many")),
        page("20240228", *bar(START)[1:-1], "x", count=1),
        page("99999999999999999999", *bar(START)[1:], count=1),
        page(raw=join_fields(["4", "2", "1", "200", "No security definition", ""])),
        page(raw=join_fields(["4", "2"])),
        page(raw=join_fields(["49", "1", "1700000000"])),
    ],
    ids=[
        "fewer bars",
        "fewer fields",
        "price",
        "count",
        "date",
        "far future",
        "other error",
        "short",
        "other",
    ],
)
def test_what_is_no_history_is_bad_data(bad: RawPage) -> None:
    with pytest.raises(BadData, match="AAPL"):
        decode_page(bad)
