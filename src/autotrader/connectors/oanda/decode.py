"""Bars from a page of candles; needs no connection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import polars as pl

from autotrader.data.schemas import DECODED_BARS
from autotrader.domain.errors import BadData
from autotrader.ports.market_data import RawPage

MEDIA = "oanda.candles.json"


def decode_page(page: RawPage) -> pl.DataFrame:
    """Bars of a candles answer, in the venue's order.

    OHLC are mid prices, `volume` is the number of price changes, and `spread` is ask close minus
    bid close (null where one side is missing). Left out are candles that the venue calls
    incomplete or that had not closed by `page.market_time`.

    Raises
    ------
    BadData
        If the payload is not JSON, is of another instrument, or lacks a field.
    """
    if page.media != MEDIA:
        raise BadData(f"{page.instrument}: expected a page of {MEDIA}, was {page.media}")
    try:
        answer = json.loads(page.payload)
        if answer["instrument"] != page.instrument:
            raise ValueError(f"candles are of {answer['instrument']}")
        rows = [_bar(page, candle) for candle in answer["candles"] if candle["complete"]]
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        reason = f"{type(error).__name__} {error}"
        raise BadData(f"{page.instrument}: expected {MEDIA}, was unreadable: {reason}") from error
    frame = pl.DataFrame(rows, schema=DECODED_BARS, orient="row")
    return frame.filter(pl.col("ts") + page.interval.delta <= page.market_time)


def _bar(page: RawPage, candle: Mapping[str, Any]) -> tuple[object, ...]:
    mid = candle["mid"]
    return (
        page.venue.value,
        page.instrument,
        page.interval.value,
        datetime.fromisoformat(candle["time"]).astimezone(UTC),
        float(mid["o"]),
        float(mid["h"]),
        float(mid["l"]),
        float(mid["c"]),
        float(candle["volume"]),
        None,
        None,
        None,
        None,
        _spread(candle),
    )


def _spread(candle: Mapping[str, Any]) -> float | None:
    if "bid" not in candle or "ask" not in candle:
        return None
    try:
        # In decimal: the venue's prices have five places, their difference in binary has sixteen.
        return float(Decimal(candle["ask"]["c"]) - Decimal(candle["bid"]["c"]))
    except InvalidOperation as error:
        raise ValueError(f"expected prices, were {candle['ask']} and {candle['bid']}") from error
