"""Live order books of Binance spot: a snapshot by REST, kept up by the stream of differences.

The rules are the venue's, "How to manage a local order book correctly":
https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterable, Sequence

import structlog

from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.sockets import SILENCE_SECONDS, combined, connections
from autotrader.connectors.binance_ws.source import BinanceSource
from autotrader.connectors.binance_ws.ticks import (
    Book,
    DepthEvent,
    DepthSnapshot,
    Level,
    Missed,
    decode_depth,
    instant,
)
from autotrader.connectors.resilience import RetryPolicy
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import Venue

LEVELS = 20

_log = structlog.get_logger(__name__)


class LocalBook:
    """All levels of one instrument's book that are known, and the rule by which they change.

    Parameters
    ----------
    snapshot : DepthSnapshot
    """

    def __init__(self, snapshot: DepthSnapshot) -> None:
        self.update_id = snapshot.lastUpdateId
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}
        self._change(snapshot.bids, snapshot.asks)

    def follows(self, event: DepthEvent) -> bool:
        """Whether no update is missing between the book and the event."""
        return self.update_id + 1 >= event.U

    def apply(self, event: DepthEvent) -> bool:
        """Take the event over; False if the book has all of it already.

        Parameters
        ----------
        event : DepthEvent
            One that follows.
        """
        if event.u <= self.update_id:
            return False
        self._change(event.b, event.a)
        self.update_id = event.u
        return True

    def best(self, event: DepthEvent, levels: int) -> Book:
        """The best levels after the event."""
        return Book(
            event.s,
            self.update_id,
            instant(event.E),
            bids=tuple(sorted(self._bids.items(), reverse=True)[:levels]),
            asks=tuple(sorted(self._asks.items())[:levels]),
        )

    def _change(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        for side, changed in ((self._bids, bids), (self._asks, asks)):
            for price, quantity in changed:
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)


class DepthStream:
    """Order books after each update, in order.

    Where an update was skipped, by the venue or while a connection was made anew, `Missed` is given,
    and the book begins again from a new snapshot: a book that is given is never a guess.

    Parameters
    ----------
    source : BinanceSource
        For the snapshots; the caller closes it.
    settings : BinanceSettings
    retry : RetryPolicy
        For connecting.
    silence_seconds : float
    """

    def __init__(
        self,
        source: BinanceSource,
        settings: BinanceSettings,
        *,
        retry: RetryPolicy | None = None,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._source = source
        self._url = settings.stream_url
        self._retry = retry or RetryPolicy()
        self._silence_seconds = silence_seconds

    async def books(
        self, instruments: Sequence[str], *, levels: int = LEVELS
    ) -> AsyncGenerator[Book | Missed]:
        """Books of the instruments, without end.

        Parameters
        ----------
        levels : int
            Given of each side; 1,000 are known.

        Raises
        ------
        Unreachable
            When no connection could be made, or no snapshot had, in as many attempts as the policies
            allow.
        NotFound, Throttled, Rejected
            From the REST part.
        """
        streams = [f"{instrument.lower()}@depth" for instrument in instruments]
        books: dict[str, LocalBook] = {}
        made = connections(
            combined(self._url, streams), retry=self._retry, silence_seconds=self._silence_seconds
        )
        async with contextlib.aclosing(made):
            async for connection in made:
                async for message in connection.messages():
                    try:
                        event = decode_depth(message)
                    except BadData as failure:  # if it was an update, the next one's ids show it
                        _log.warning(
                            "message is passed over", venue=Venue.BINANCE.value, failure=str(failure)
                        )
                        continue
                    connection.was_useful = True
                    book = books.get(event.s)
                    if book is None or not book.follows(event):
                        known = book
                        # Events that come meanwhile wait in the socket's queue.
                        book = books[event.s] = LocalBook(
                            await self._source.order_book(event.s, reaching=event.U - 1)
                        )
                        if known is not None:
                            missed = Missed(event.s, known.update_id + 1, book.update_id)
                            _log.warning("book begins again", venue=Venue.BINANCE.value, missed=missed)
                            yield missed
                        book.apply(event)
                        if book.update_id == event.u:  # not yet, where the snapshot is of later
                            yield book.best(event, levels)
                    elif book.apply(event):
                        yield book.best(event, levels)
