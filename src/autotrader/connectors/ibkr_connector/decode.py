"""Bars from the gateway's own message fields; needs neither a connection nor a client library."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from autotrader.connectors.ibkr_connector.messages import (
    ERROR,
    HISTORICAL_DATA,
    MEDIA,
    is_no_data,
    split_fields,
)
from autotrader.data.schemas import DECODED_BARS
from autotrader.domain.errors import BadData
from autotrader.ports.market_data import RawPage

# Of each bar: epoch seconds, open, high, low, close, volume, volume-weighted average, trades.
_BAR_FIELDS = 8
_HEAD_FIELDS = 5


def decode_page(page: RawPage) -> pl.DataFrame:
    """Bars of a historical-data message, in the venue's order.

    Left out are bars that had not closed by `page.market_time`, and bars outside the page's window:
    the venue counts a request's length back in trading time, so an answer reaches into earlier
    sessions, whose bars are those of earlier pages; a bar at or after `page.end` was still in
    progress when it was asked for. `quote_volume` is the venue's
    volume-weighted average price times volume, null where it sends no average; volume is in the
    unit that the gateway is set to (shares, or lots of 100).

    Raises
    ------
    BadData
        If the payload is not a historical-data message, is cut, or holds what is no number.
    """
    if page.media != MEDIA:
        raise BadData(f"{page.instrument}: expected a page of {MEDIA}, was {page.media}")
    try:
        fields = split_fields(page.payload)
        if fields[0] == ERROR and is_no_data(int(fields[3]), fields[4]):
            rows = []
        else:
            rows = [_bar(page, bar) for bar in _split_bars(fields)]
    except (ValueError, IndexError, OverflowError) as error:
        raise BadData(f"{page.instrument}: expected {MEDIA}, was unreadable: {error}") from error
    frame = pl.DataFrame(rows, schema=DECODED_BARS, orient="row")
    closed = pl.col("ts") + page.interval.delta <= page.market_time
    return frame.filter(closed, pl.col("ts") >= page.start, pl.col("ts") < page.end)


def _split_bars(fields: list[str]) -> list[list[str]]:
    if fields[0] != HISTORICAL_DATA:
        raise ValueError(f"message {fields[0]!r} is not historical data")
    count, bars = int(fields[_HEAD_FIELDS - 1]), fields[_HEAD_FIELDS:]
    if len(bars) != count * _BAR_FIELDS:
        raise ValueError(f"{count} bars were promised, {len(bars)} fields came")
    return [bars[i : i + _BAR_FIELDS] for i in range(0, len(bars), _BAR_FIELDS)]


def _bar(page: RawPage, fields: list[str]) -> tuple[object, ...]:
    open_, high, low, close, volume, average = (float(field) for field in fields[1:7])
    trades = int(fields[7])
    return (
        page.venue.value,
        page.instrument,
        page.interval.value,
        datetime.fromtimestamp(int(fields[0]), UTC),
        open_,
        high,
        low,
        close,
        volume,
        average * volume if average > 0 else None,
        trades if trades >= 0 else None,
        None,
        None,
        None,
    )
