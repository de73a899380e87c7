"""Single trades and the order book, from the venue's own messages: pure, and needs no connection.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import msgspec

from autotrader.connectors.binance_ws.decode import Instant, instant_us
from autotrader.domain.errors import BadData

Price = Annotated[float, msgspec.Meta(gt=0)]
Quantity = Annotated[float, msgspec.Meta(ge=0)]
Id = Annotated[int, msgspec.Meta(ge=0)]
Level = tuple[Price, Quantity]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Event = TypeVar("_Event")


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade.

    Attributes
    ----------
    instrument : str
    trade_id : int
        Of the venue; the next trade of the instrument has the next number.
    price, quantity : float
        In the quote and in the base currency.
    traded_at : datetime
        UTC.
    buyer_took : bool
        True where the buyer took liquidity that a seller had offered.
    """

    instrument: str
    trade_id: int
    price: float
    quantity: float
    traded_at: datetime
    buyer_took: bool


@dataclass(frozen=True, slots=True)
class Book:
    """The best levels of an order book, after an update.

    Attributes
    ----------
    instrument : str
    update_id : int
        Of the last update in it.
    updated_at : datetime
        Time of the venue's event, UTC.
    bids, asks : tuple of (price, quantity)
        From the best on.
    """

    instrument: str
    update_id: int
    updated_at: datetime
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class Missed:
    """What the stream did not bring: ids `first_id` to `last_id`, both included.

    Trades are missing for good. Of a book, states in between were not seen; the next one is right.
    """

    instrument: str
    first_id: int
    last_id: int


class TradeEvent(msgspec.Struct):
    s: str
    t: Id
    p: Price
    q: Quantity
    T: Instant
    m: bool

    def trade(self) -> Trade:
        return Trade(self.s, self.t, self.p, self.q, instant(self.T), buyer_took=not self.m)


class DepthEvent(msgspec.Struct):
    """Updates `U` to `u` as one: the new quantity of each level that they changed, 0 where it is gone."""

    E: Instant
    s: str
    U: Id
    u: Id
    b: list[Level]
    a: list[Level]


class DepthSnapshot(msgspec.Struct):
    """A book by REST."""

    lastUpdateId: Id  # noqa: N815 - the venue's name
    bids: list[Level]
    asks: list[Level]


class _TradeMessage(msgspec.Struct):
    stream: str
    data: TradeEvent


class _DepthMessage(msgspec.Struct):
    stream: str
    data: DepthEvent


_trade = msgspec.json.Decoder(_TradeMessage, strict=False)
_depth = msgspec.json.Decoder(_DepthMessage, strict=False)


def decode_trade(message: bytes) -> Trade:
    """The trade in a message of a combined stream.

    Raises
    ------
    BadData
        If it is none: other fields, NaN, a price of 0 or less, a negative quantity.
    """
    return _read(_trade, message, "a trade").data.trade()


def decode_depth(message: bytes) -> DepthEvent:
    """The update of a book in a message of a combined stream.

    Raises
    ------
    BadData
        If it is none.
    """
    return _read(_depth, message, "an update of a book").data


def instant(venue_time: int) -> datetime:
    """A time of the venue, in milliseconds or microseconds, as UTC."""
    return _EPOCH + timedelta(microseconds=instant_us(venue_time))


def _read(decoder: msgspec.json.Decoder[_Event], message: bytes, what: str) -> _Event:
    try:
        return decoder.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise BadData(f"expected {what}, was {message[:80]!r}: {failure}") from None
