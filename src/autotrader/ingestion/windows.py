"""Which bars a run is to load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from autotrader.domain.bars import Interval, floor_to, require_utc
from autotrader.domain.errors import ConfigurationError
from autotrader.domain.instruments import InstrumentId, Venue

OVERLAP = timedelta(days=1)
INITIAL_DAYS = 30


class Mode(StrEnum):
    """What a run loads.

    `incremental` from the newest stored bar, minus a day, to the last closed bar; `backfill` a
    window that is named; `reprocess` a day, from the archive, without asking the venue.
    """

    INCREMENTAL = "incremental"
    BACKFILL = "backfill"
    REPROCESS = "reprocess"


@dataclass(frozen=True, slots=True)
class Assignment:
    """Bars to load: one instrument, opens in [start, end), UTC, on the interval's grid."""

    venue: Venue
    instrument: str
    interval: Interval
    start: datetime
    end: datetime

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Assignment:
        """Read what `command.to_plain` made of one."""
        return cls(
            Venue(plain["venue"]),
            plain["instrument"],
            Interval(plain["interval"]),
            datetime.fromisoformat(plain["start"]),
            datetime.fromisoformat(plain["end"]),
        )

    @property
    def id(self) -> InstrumentId:
        return InstrumentId(self.venue, self.instrument)

    def __str__(self) -> str:
        return f"{self.id} {self.interval.value} {self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M}"


def incremental_window(
    *,
    now: datetime,
    interval: Interval,
    high_water_mark: datetime | None,
    initial_days: int = INITIAL_DAYS,
) -> tuple[datetime, datetime]:
    """From the newest stored open minus a day (what a venue may still restate) to the last closed bar.

    Parameters
    ----------
    now : datetime
        Market time, UTC.
    high_water_mark : datetime or None
        Open of the newest stored bar; None on the first run, which loads `initial_days`.

    Returns
    -------
    tuple of datetime
        Start, and exclusive end: never after the open of the bar that is forming at `now`, and
        never before start.
    """
    end = floor_to(now, interval)
    if high_water_mark is None:
        start = end - timedelta(days=initial_days)
    else:
        start = floor_to(require_utc(high_water_mark, name="high-water mark"), interval) - OVERLAP
    return min(start, end), end


def named_window(
    *, now: datetime, interval: Interval, start: datetime, end: datetime | None
) -> tuple[datetime, datetime]:
    """A window that a person asked for, on the grid and without bars that have not closed.

    Parameters
    ----------
    end : datetime or None
        Exclusive; None is until the last closed bar.

    Raises
    ------
    ConfigurationError
        If the dates are reversed, or start or end lies in the future of market time.
    """
    newest = floor_to(now, interval)
    for name, moment in (("start", start), ("end", end)):
        if moment is not None and moment > now:
            raise ConfigurationError(
                f"expected {name} not after market time {now:%Y-%m-%d %H:%M}, was {moment:%Y-%m-%d %H:%M}"
            )
    if end is not None and end <= start:
        raise ConfigurationError(
            f"expected start before end, was {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}: swap the dates"
        )
    first = floor_to(start, interval)
    first += interval.delta if first < start else timedelta(0)
    last = newest if end is None else min(newest, _ceil_to(end, interval))
    return min(first, last), last


def plan_window(
    mode: Mode,
    *,
    now: datetime,
    interval: Interval,
    high_water_mark: datetime | None = None,
    initial_days: int = INITIAL_DAYS,
    start_date: date | None = None,
    end_date: date | None = None,
    day: date | None = None,
) -> tuple[datetime, datetime]:
    """The window of a pipeline run.

    Parameters
    ----------
    start_date, end_date : date or None
        Of a backfill: first and last day, UTC, the last included; no last day is until the last
        closed bar.
    day : date or None
        Of a reprocess.

    Raises
    ------
    ConfigurationError
        If the mode lacks its date, has one that is not its own, or the dates make no sense.
    """
    given = {"start_date": start_date, "end_date": end_date, "date": day}
    takes = {Mode.INCREMENTAL: set(), Mode.BACKFILL: {"start_date", "end_date"}, Mode.REPROCESS: {"date"}}
    foreign = [name for name, value in given.items() if value is not None and name not in takes[mode]]
    if foreign:
        raise ConfigurationError(f"expected no {' and no '.join(foreign)} with mode {mode.value}, was given")
    if mode is Mode.INCREMENTAL:
        return incremental_window(
            now=now, interval=interval, high_water_mark=high_water_mark, initial_days=initial_days
        )
    first, last = (start_date, end_date) if mode is Mode.BACKFILL else (day, day)
    if first is None:
        missing = "start_date" if mode is Mode.BACKFILL else "date"
        raise ConfigurationError(f"expected {missing} with mode {mode.value}, was empty")
    if last is not None and last < first:
        raise ConfigurationError(
            f"expected start_date before end_date, was {first} to {last}: swap the dates"
        )
    if last is not None and last > now.date():
        raise ConfigurationError(f"expected a day not after market time {now:%Y-%m-%d %H:%M}, was {last}")
    end = None if last is None or last == now.date() else _midnight(last + timedelta(days=1))
    return named_window(now=now, interval=interval, start=_midnight(first), end=end)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _ceil_to(instant: datetime, interval: Interval) -> datetime:
    floored = floor_to(instant, interval)
    return floored if floored == instant else floored + interval.delta
