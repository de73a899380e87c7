"""Session openings against the time zones themselves, day by day."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from autotrader.features.sessions import FIRST_DAY, SESSION_MINUTES, SESSIONS, session_opens


def test_every_day_of_forty_years_opens_when_its_time_zone_says() -> None:
    opens = session_opens()
    for row, (zone, hour) in enumerate(SESSIONS):
        at = ZoneInfo(zone)
        for nth in range(40 * 365):
            day = FIRST_DAY + timedelta(days=nth)
            local = datetime.combine(day, time(hour), at).astimezone(UTC)
            expected = local.hour * 60 + local.minute if day.weekday() < 5 else -1
            assert opens[row, nth] == expected, (zone, day)
            assert local.date() == day, "a session would begin on another UTC day"


def test_no_session_reaches_into_the_next_utc_day() -> None:
    assert session_opens().max() + SESSION_MINUTES <= 24 * 60
