"""What every event log does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

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


def test_recent_is_limited_and_filtered_by_type(log: EventLog) -> None:
    for number in range(4):
        log.record(replace(EVENT, key=f"risk:{number}", type=EventType.RISK, at=AT + timedelta(number)))
        log.record(replace(EVENT, key=f"data:{number}", at=AT + timedelta(number)))
    assert [e.key for e in log.recent(type=EventType.RISK, limit=2)] == ["risk:3", "risk:2"]
    assert len(log.recent()) == 8
    assert log.recent(type=EventType.ORDER) == []
