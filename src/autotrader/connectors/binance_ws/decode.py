"""Bars from the venue's own messages: pure, and needs no connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import polars as pl

from autotrader.data.schemas import DECODED_BARS
from autotrader.domain.errors import BadData

if TYPE_CHECKING:
    from autotrader.ports.market_data import RawPage

KLINES = "binance.klines.json"
KLINE_EVENT = "binance.kline.event.json"

# The twelve fields of a REST kline. Numbers arrive as text; whether they make sense as prices (NaN,
# zero, negative) is for the quality checks to say, not for the decoder.
# https://developers.binance.com/docs/binance-spot-api-docs/rest-api#klinecandlestick-data
Instant = Annotated[int, msgspec.Meta(ge=0, le=10**16)]
Count = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Kline = tuple[Instant, float, float, float, float, float, Instant, float, Count, float, float, Any]
_FIELDS = {
    "open": 1,
    "high": 2,
    "low": 3,
    "close": 4,
    "volume": 5,
    "quote_volume": 7,
    "trade_count": 8,
    "taker_buy_base": 9,
    "taker_buy_quote": 10,
}
_MICROSECONDS = 10**14  # times beyond it are microseconds, as in the archives from 2025 on


class KlineOfEvent(msgspec.Struct):
    t: Instant
    T: Instant
    s: str
    i: str
    o: float
    c: float
    h: float
    l: float  # noqa: E741 - the venue's name
    v: float
    n: Count
    x: bool
    q: float
    V: float
    Q: float


class KlineEvent(msgspec.Struct):
    """An update of the kline stream; https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams."""

    E: Instant
    s: str
    k: KlineOfEvent


class KlineMessage(msgspec.Struct):
    """What arrives on a combined stream."""

    stream: str
    data: KlineEvent


_klines = msgspec.json.Decoder(list[Kline], strict=False)
_message = msgspec.json.Decoder(KlineMessage, strict=False)


def decode_page(page: RawPage) -> pl.DataFrame:
    """Bars of a REST page or of one stream event, in the venue's order and number.

    A page's bars that had not closed by `page.market_time` are left out; of an event, the venue says
    itself whether its bar has closed.

    Parameters
    ----------
    page : RawPage
        Of media `binance.klines.json` or `binance.kline.event.json`.

    Returns
    -------
    polars.DataFrame
        Columns of `DECODED_BARS`; `spread` is null.

    Raises
    ------
    BadData
        If the payload is HTML, cut, or has other fields than the venue promises.
    """
    if page.media == KLINES:
        bars = _frame(page, _decode_klines(page))
        has_closed = bars["ts"] <= page.market_time - page.interval.delta
        return bars if has_closed.all() else bars.filter(has_closed)
    if page.media == KLINE_EVENT:
        event = decode_event(page.payload)
        return _frame(page, [_as_row(event.k)] if event.k.x else [])
    raise BadData(f"expected media {KLINES} or {KLINE_EVENT}, was {page.media}")


def decode_event(payload: bytes) -> KlineEvent:
    """The event in a message of a combined kline stream.

    Raises
    ------
    BadData
        If it is none.
    """
    try:
        return _message.decode(payload).data
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise BadData(f"expected a kline event, was {payload[:80]!r}: {failure}") from None


def instant_us(instant: int) -> int:
    """A time of the venue, in milliseconds or microseconds, as microseconds since 1970."""
    return instant if instant >= _MICROSECONDS else instant * 1000


def _decode_klines(page: RawPage) -> list[Kline]:
    try:
        return _klines.decode(page.payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise BadData(
            f"expected klines of {page.instrument} from {page.start:%Y-%m-%d %H:%M}, "
            f"was {page.payload[:80]!r}: {failure}"
        ) from None


def _frame(page: RawPage, rows: list[Kline]) -> pl.DataFrame:
    """The rows as a frame, built column by column: expressions would cost more than the data."""
    fields: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) or [()] * 12
    scale = 1 if rows and fields[0][0] >= _MICROSECONDS else 1000
    labels = {"venue": page.venue.value, "instrument": page.instrument, "interval": page.interval.value}
    columns = []
    for name, kind in DECODED_BARS.items():
        if name == "ts":
            column = (pl.Series(name, fields[0], pl.Int64) * scale).cast(kind)
        elif name in _FIELDS:
            column = pl.Series(name, fields[_FIELDS[name]], kind)
        else:
            column = pl.Series(name, [labels.get(name)], kind).new_from_index(0, len(rows))
        columns.append(column)
    return pl.DataFrame(columns)


def _as_row(k: KlineOfEvent) -> Kline:
    return (k.t, k.o, k.h, k.l, k.c, k.v, k.T, k.q, k.n, k.V, k.Q, None)
