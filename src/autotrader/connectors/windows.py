"""How history is cut into requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta

from autotrader.domain.bars import Interval, floor_to, require_utc
from autotrader.domain.errors import ConfigurationError
from autotrader.ports.clock import MarketClock

DAY = timedelta(days=1)


def closed_days(
    start: datetime, end: datetime, interval: Interval, clock: MarketClock
) -> Iterator[tuple[datetime, datetime]]:
    """Windows of at most a UTC day that join without holes, oldest first.

    They cover [start, end), but for the end that had not closed by the market clock. Borders lie on
    midnights whatever `start` is, so that fetching a day again asks the same question.

    Raises
    ------
    ConfigurationError
        If `start` is after `end`.
    """
    require_utc(start, name="start")
    require_utc(end, name="end")
    if start > end:
        raise ConfigurationError(f"expected start before end, was {start} to {end}")
    end = min(end, floor_to(clock.now(), interval))
    while start < end:
        until = min(_midnight_after(start), end)
        yield start, until
        start = until


def _midnight_after(instant: datetime) -> datetime:
    return datetime.combine(instant.date() + DAY, time(), UTC)
