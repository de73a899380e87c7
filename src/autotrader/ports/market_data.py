"""Market data of a venue: raw pages as the venue sent them, and how to read bars from them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from autotrader.domain.bars import Interval
from autotrader.domain.instruments import Venue

if TYPE_CHECKING:
    import polars as pl

# Of one page at most, where these make more than a day: what the largest answer of a venue holds.
PAGE_BARS = 1000


def longest_page(interval: Interval) -> timedelta:
    """How far a page's window may reach from its start."""
    return max(timedelta(days=1), PAGE_BARS * interval.delta)


@dataclass(frozen=True, slots=True)
class RawPage:
    """One answer of a venue, byte for byte.

    Attributes
    ----------
    venue, instrument, interval
        What was asked for.
    start, end : datetime
        Bar opens that the request covered: start inclusive, end exclusive, UTC; no further apart
        than `longest_page`.
    payload : bytes
        The body exactly as received, uncompressed.
    media : str
        How to read it: the connector's own tag, such as `binance.klines.json`.
    fetched_at : datetime
        Wall time of arrival, UTC.
    market_time : datetime
        Market time at arrival, UTC; equals `fetched_at` when live.
    source : str
        `binance`, `ibkr`, `oanda`, `recorded` or `SIMULATED`; stored with every bar.
    """

    venue: Venue
    instrument: str
    interval: Interval
    start: datetime
    end: datetime
    payload: bytes
    media: str
    fetched_at: datetime
    market_time: datetime
    source: str


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """What a connection test found.

    Attributes
    ----------
    venue : Venue
    ok : bool
    reason : str
        One sentence for a person.
    latency_ms : float or None
        Round trip of the cheapest request.
    server_time : datetime or None
    clock_skew_ms : float or None
        Venue's clock minus ours.
    """

    venue: Venue
    ok: bool
    reason: str
    latency_ms: float | None = None
    server_time: datetime | None = None
    clock_skew_ms: float | None = None


@runtime_checkable
class MarketDataSource(Protocol):
    """History of one venue."""

    venue: Venue

    async def available(self, instruments: Sequence[str]) -> dict[str, str]:
        """Of these instruments, those that the venue does not have, each with the reason.

        Raises
        ------
        Unreachable
            If the venue did not answer.
        """
        ...

    def pages(
        self, instrument: str, interval: Interval, start: datetime, end: datetime
    ) -> AsyncIterator[RawPage]:
        """Raw pages that cover bar opens in [start, end), oldest first.

        Pages overlap nowhere, and their windows join without holes, so that a caller who stores
        each page as it comes can resume at the `end` of the last one.

        Raises
        ------
        NotFound
            If the venue does not know the instrument.
        Throttled, Unreachable
            When patience and retries are used up; pages already yielded stay valid.
        Rejected
            If the venue refuses the request for good.
        """
        ...

    async def test_connection(self) -> ConnectionReport:
        """One cheap round trip; never raises for an unreachable venue."""
        ...

    async def aclose(self) -> None:
        """Release sockets. Safe to call twice."""
        ...


class PageDecoder(Protocol):
    """Reads bars from a raw page: pure, needs no connection, so the lake can be rebuilt."""

    def __call__(self, page: RawPage) -> pl.DataFrame:
        """Bars of the page with the columns of `autotrader.data.schemas.DECODED_BARS`.

        Rows appear in the order and number that the venue sent them: nothing is sorted, repaired
        or dropped, except bars that had not closed by `page.market_time`.

        Raises
        ------
        BadData
            If the payload is not what `page.media` promises (HTML, cut JSON, wrong fields).
        """
        ...


class MarketDataSources(Protocol):
    """Opens a connection to a venue; the caller closes it."""

    def __call__(self, venue: Venue) -> MarketDataSource: ...


class PageDecoders(Protocol):
    """The decoder of each venue's pages."""

    def __call__(self, venue: Venue) -> PageDecoder: ...


class ClosedBars(Protocol):
    """Bars as they close."""

    def closed_bars(self, first_opens: Mapping[str, datetime], interval: Interval) -> AsyncGenerator[RawPage]:
        """Pages of closed bars, from the given opens on and without end.

        The windows of an instrument's pages join without holes.

        Raises
        ------
        DependencyError
            If the venue cannot be asked any more: begin anew.
        """
        ...


class BarStreams(Protocol):
    """The venue's own stream of closed bars over a source; None where it has none."""

    def __call__(self, source: MarketDataSource) -> ClosedBars | None: ...
