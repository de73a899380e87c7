"""Raw pages of history, one a UTC day: how the venues whose days fit one answer are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

from autotrader.connectors.windows import closed_days
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import Venue
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.market_data import RawPage


async def daily_pages(
    fetch: Callable[[datetime, datetime], Awaitable[bytes]],
    *,
    venue: Venue,
    instrument: str,
    interval: Interval,
    start: datetime,
    end: datetime,
    media: str,
    source: str,
    market_clock: MarketClock,
    wall_clock: WallClock,
) -> AsyncIterator[RawPage]:
    """Pages of [start, end), up to the last bar that has closed by the market clock.

    Parameters
    ----------
    fetch : callable
        First open, and the open before which to stop -> the venue's answer, byte for byte.

    Raises
    ------
    ConfigurationError
        If `start` is after `end`.
    """
    for opens, until in closed_days(start, end, interval, market_clock):
        payload = await fetch(opens, until)
        fetched_at = wall_clock.now()
        yield RawPage(
            venue=venue,
            instrument=instrument,
            interval=interval,
            start=opens,
            end=until,
            payload=payload,
            media=media,
            fetched_at=fetched_at,
            market_time=market_clock.now() if market_clock.is_replay else fetched_at,
            source=source,
        )
