"""Closed bars as the trader takes them: all instruments of one minute together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

from autotrader.domain.instruments import InstrumentId


class Bar(NamedTuple):
    """One closed bar.

    Attributes
    ----------
    open, high, low, close : float
        Quote currency, above zero.
    volume, taker_buy : float
        Units; NaN where the venue has none.
    """

    instrument: InstrumentId
    open: float
    high: float
    low: float
    close: float
    volume: float
    taker_buy: float

    @property
    def price(self) -> Decimal:
        """The close, exactly as the venue wrote it."""
        return exact(self.close)


@dataclass(frozen=True, slots=True)
class Batch:
    """The bars that closed together.

    Attributes
    ----------
    ts, closed_at : datetime
        Their open and their close; market time.
    bars : tuple of Bar
        In order of instrument, each at most once. An instrument that did not trade, or whose bar
        did not come in time, is absent.
    unknown : Mapping of InstrumentId to str
        Instruments that the venue does not know any more, with the reason.
    """

    ts: datetime
    closed_at: datetime
    bars: tuple[Bar, ...]
    unknown: Mapping[InstrumentId, str] = field(default_factory=dict)


class Feed(Protocol):
    """Closed bars in order of time, from wherever they come."""

    def batches(self) -> AsyncIterator[Batch]:
        """Without end, or until the replayed window ends.

        Raises
        ------
        Unreachable
            If the venue has given none for longer than the feed is patient.
        """
        ...


def exact(price: float) -> Decimal:
    """The shortest decimal that reads as this float: what the venue wrote before it was one."""
    return Decimal(repr(float(price)))
