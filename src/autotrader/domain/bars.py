"""Bars and their time grid. A bar's `ts` is its open, in UTC; it is known once it has closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum


class Interval(StrEnum):
    """Length of a bar, in the notation that venues share."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    H1 = "1h"
    D1 = "1d"

    @property
    def delta(self) -> timedelta:
        return _DELTAS[self]

    @property
    def seconds(self) -> int:
        return int(self.delta.total_seconds())


_DELTAS = {
    Interval.M1: timedelta(minutes=1),
    Interval.M5: timedelta(minutes=5),
    Interval.M15: timedelta(minutes=15),
    Interval.H1: timedelta(hours=1),
    Interval.D1: timedelta(days=1),
}


def require_utc(instant: datetime, *, name: str = "instant") -> datetime:
    """Return the instant unchanged if it is timezone-aware UTC.

    Raises
    ------
    ValueError
        If it is naive or of another offset.
    """
    if instant.tzinfo is None or instant.utcoffset() != timedelta(0):
        raise ValueError(f"expected {name} in UTC, was {instant!r}")
    return instant


def floor_to(instant: datetime, interval: Interval) -> datetime:
    """The open of the bar that contains the instant (UTC grid)."""
    seconds = int(require_utc(instant).timestamp()) // interval.seconds * interval.seconds
    return datetime.fromtimestamp(seconds, UTC)


def last_closed_open(now: datetime, interval: Interval) -> datetime:
    """Open time of the newest bar that has closed by `now`."""
    return floor_to(now, interval) - interval.delta


def parse_utc(text: str) -> datetime:
    """Read an ISO date or date-time as UTC; a value without offset is taken as UTC.

    Raises
    ------
    ValueError
        If the text is neither.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"expected a date or date-time such as 2024-02-01 or '2024-02-01 00:00:00', was {text!r}"
        ) from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
