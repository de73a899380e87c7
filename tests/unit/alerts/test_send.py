"""Alerts raised by hand: once for each key, and never with a secret or without a word."""

from __future__ import annotations

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.alerts.send import send
from autotrader.domain.alerts import Severity
from autotrader.domain.errors import ConfigurationError
from autotrader.ports.events import EventType
from tests.fakes.events import InMemoryEventLog


def test_an_alert_of_a_key_is_raised_once() -> None:
    events, clock = InMemoryEventLog(), SystemWallClock()
    told = [
        send(level=Severity.CRITICAL, message="traffic is back", key="op-1", events=events, clock=clock).data[
            "raised"
        ]
        for _ in range(2)
    ]
    assert told == [True, False]
    (event,) = events.recent(type=EventType.ALERT)
    assert (event.severity, event.message) == ("critical", "traffic is back")


def test_without_a_key_each_is_one_of_its_own_and_an_empty_one_is_refused() -> None:
    events, clock = InMemoryEventLog(), SystemWallClock()
    for _ in range(2):
        send(level=Severity.INFO, message="hello", events=events, clock=clock)
    assert len(events.recent(type=EventType.ALERT)) == 2
    with pytest.raises(ConfigurationError, match="--message"):
        send(level=Severity.INFO, message=" ", events=events, clock=clock)
