"""What every event log does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.ports.events import Event, EventLog, EventType
from tests.fakes.events import InMemoryEventLog
from tests.services import fresh_database

AT = datetime(2024, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
EVENT = Event(
    key="data:1",
    type=EventType.DATA,
    severity="info",
    message="1440 bars were stored",
    actor="data_pipeline",
    at=AT,
    instrument="binance:BTCUSDT",
    data={"rows": 1440, "share": 0.25, "nested": {"days": ["2024-03-01"]}},
)


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> EventLog:
    if request.param == "memory":
        return InMemoryEventLog()
    return SqlEventLog(open_database(fresh_database(request.param, tmp_path)))


def test_an_event_comes_back_as_it_was_recorded(log: EventLog) -> None:
    assert isinstance(log, EventLog)
    assert log.record(EVENT)
    assert log.recent() == [EVENT]


def test_a_key_is_recorded_once_and_its_first_event_stays(log: EventLog) -> None:
    assert log.record(EVENT)
    assert not log.record(replace(EVENT, message="another"))
    assert [e.message for e in log.recent()] == [EVENT.message]


def test_the_newest_come_first_also_within_one_instant(log: EventLog) -> None:
    for key, minutes in {"b": 5, "a": 1, "c": 5, "d": 3}.items():
        log.record(replace(EVENT, key=key, at=AT + timedelta(minutes=minutes)))
    assert [e.key for e in log.recent()] == ["c", "b", "d", "a"]


def test_it_began_with_its_earliest_event_whichever_was_recorded_first(log: EventLog) -> None:
    assert log.began_at() is None
    for key, minutes in {"b": 5, "a": 1, "c": 3}.items():
        log.record(replace(EVENT, key=key, at=AT + timedelta(minutes=minutes)))
    assert log.began_at() == AT + timedelta(minutes=1)


def test_recent_is_limited_and_filtered_by_type(log: EventLog) -> None:
    for number in range(4):
        log.record(replace(EVENT, key=f"risk:{number}", type=EventType.RISK, at=AT + timedelta(number)))
        log.record(replace(EVENT, key=f"data:{number}", at=AT + timedelta(number)))
    assert [e.key for e in log.recent(type=EventType.RISK, limit=2)] == ["risk:3", "risk:2"]
    assert len(log.recent()) == 8
    assert log.recent(type=EventType.ORDER) == []


def test_recent_is_filtered_by_severity_instrument_and_half_open_time(log: EventLog) -> None:
    for hour in range(6):
        log.record(
            replace(
                EVENT,
                key=str(hour),
                at=AT + timedelta(hours=hour),
                severity="critical" if hour % 2 else "info",
                instrument=None if hour < 2 else "binance:ETHUSDT" if hour < 4 else "binance:BTCUSDT",
            )
        )

    def keys(**wanted: Any) -> list[str]:
        return [event.key for event in log.recent(**wanted)]

    assert keys(severity="critical") == ["5", "3", "1"]
    assert keys(instrument="binance:ETHUSDT") == ["3", "2"]
    assert keys(start=AT + timedelta(hours=2), end=AT + timedelta(hours=4)) == ["3", "2"]
    assert keys(severity="info", instrument="binance:BTCUSDT", type=EventType.DATA) == ["4"]
    assert keys(severity="warning") == []


def test_recent_is_read_page_by_page_also_within_one_instant(log: EventLog) -> None:
    for number in range(5):
        log.record(replace(EVENT, key=str(number)))
    pages = [log.recent(limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [[event.key for event in page] for page in pages] == [["4", "3"], ["2", "1"], ["0"], []]


def test_events_are_counted_by_type_and_severity_in_a_half_open_time(log: EventLog) -> None:
    assert log.counts(AT, AT + timedelta(days=1)) == {}
    for number, (type_, severity, minutes) in enumerate(
        [
            (EventType.RISK, "critical", 0),
            (EventType.RISK, "critical", 5),
            (EventType.RISK, "info", 5),
            (EventType.ORDER, "info", 9),
            (EventType.ORDER, "info", 10),
            (EventType.ORDER, "info", -1),
        ]
    ):
        at = AT + timedelta(minutes=minutes)
        log.record(replace(EVENT, key=str(number), type=type_, severity=severity, at=at))
    counts = log.counts(AT, AT + timedelta(minutes=10))
    assert counts == {
        (EventType.RISK, "critical"): 2,
        (EventType.RISK, "info"): 1,
        (EventType.ORDER, "info"): 1,
    }
    assert all(isinstance(type_, EventType) for type_, _ in counts)
