"""Bars as the stand-in gateway tells them.

As the venue does, a history request counts its seconds back in trading time: asked for a day on a
Sunday, it answers with Friday's bars.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import polars as pl

NEW_YORK = ZoneInfo("America/New_York")
SESSION = {True: (time(9, 30), time(16)), False: (time(4), time(20))}
BAR_SECONDS = {"1 min": 60, "5 mins": 300, "15 mins": 900}


class Fault(StrEnum):
    """How one history request goes wrong."""

    PACING = "pacing"  # error 162
    TOO_MANY_REQUESTS = "too-many-requests"  # error 420
    NO_DATA = "no-data"  # error 162, another one
    NO_PERMISSION = "no-permission"  # error 162, for good
    DISCONNECT = "disconnect"  # the socket closes in the middle of the answer
    SILENT = "silent"  # no answer at all
    SLOW = "slow"  # the answer takes a while
    CONNECTIVITY_LOST = "connectivity-lost"  # 1100 instead of an answer, 1102 soon after
    FARM_NOTICES = "farm-notices"  # 2103-2108 before a good answer
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out-of-order"
    NAN = "nan"
    GARBAGE = "garbage"  # fewer fields than the count promises
    UNCLOSED = "unclosed"  # the bar in progress comes along


Row = tuple[datetime, float, float, float, float, float]


def rows_of(frame: pl.DataFrame) -> list[Row]:
    ts = pl.col("ts").cast(pl.Datetime("us", "UTC"))
    return frame.sort("ts").select(ts, "open", "high", "low", "close", "volume").rows()


def answered(bars: list[Row], asked: Mapping[str, str]) -> tuple[list[Row], datetime, datetime]:
    # The venue reads UTC in both forms.
    text = asked["end"].removesuffix(" UTC").replace(" ", "-")
    end = datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    seconds, unit = asked["duration"].split()
    if unit != "S" or not 0 < int(seconds) <= 86_400:
        raise ConnectionError(f"the stand-in counts at most 86400 S, was {asked['duration']!r}")
    use_rth = asked["use_rth"] == "1"
    sessions = _sessions(bars, use_rth=use_rth)
    start = _count_back(sessions, end, timedelta(seconds=int(seconds)))
    inside = [
        row
        for row in bars
        if start <= row[0] < end and any(opens <= row[0] < closes for opens, closes in sessions)
    ]
    return _merge(inside, BAR_SECONDS[asked["bar_size"]]), start, end


def _merge(rows: list[Row], seconds: int) -> list[Row]:
    """One-minute rows as longer bars."""
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(int(row[0].timestamp()) // seconds * seconds, []).append(row)
    return [
        (
            datetime.fromtimestamp(opens, UTC),
            group[0][1],
            max(row[2] for row in group),
            min(row[3] for row in group),
            group[-1][4],
            sum(row[5] for row in group),
        )
        for opens, group in groups.items()
    ]


def _sessions(bars: list[Row], *, use_rth: bool) -> list[tuple[datetime, datetime]]:
    def at(day: date, clock: time) -> datetime:
        return datetime.combine(day, clock, NEW_YORK).astimezone(UTC)

    opens, closes = SESSION[use_rth]
    days = sorted({row[0].astimezone(NEW_YORK).date() for row in bars})
    return [(at(day, opens), at(day, closes)) for day in days]


def _count_back(sessions: list[tuple[datetime, datetime]], end: datetime, duration: timedelta) -> datetime:
    start = end
    for opens, closes in reversed(sessions):
        if opens >= end or duration <= timedelta(0):
            continue
        last = min(end, closes)
        start = max(opens, last - duration)
        duration -= last - start
    return start


def spoiled(rows: list[Row], end: datetime, fault: Fault | None) -> list[Row]:
    match fault:
        case Fault.DUPLICATE:
            return [*rows, rows[-1]]
        case Fault.OUT_OF_ORDER:
            return [rows[-1], *rows[:-1]]
        case Fault.NAN:
            return [*rows[:-1], (rows[-1][0], float("nan"), *rows[-1][2:])]
        case Fault.UNCLOSED:
            return [*rows, (end, *rows[-1][1:])]
        case _:
            return rows


def message(request: str, start: datetime, end: datetime, rows: list[Row]) -> str:
    form = "%Y%m%d-%H:%M:%S"
    fields: list[object] = [17, request, start.strftime(form), end.strftime(form), len(rows)]
    for ts, open_, high, low, close, volume in rows:
        average = round((high + low + close) / 3, 3)
        fields += [int(ts.timestamp()), open_, high, low, close, volume, average, max(1, int(volume) // 100)]
    return "".join(f"{field}\0" for field in fields)
