"""Alerts that were told and are over, of which nobody says so: ended once it is sure, and not before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.alerts.lost_ends import LostEnds
from autotrader.alerts.relayed import dedup_key, fingerprint_of, incident_of, patience
from autotrader.alerts.routing import Routing
from autotrader.alerts.witnesses import Witnesses
from autotrader.db.alerts import SqlAlerts
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.alerts import Severity
from autotrader.domain.errors import Rejected, Unreachable
from autotrader.domain.thresholds import ALERTING, ALERTS
from autotrader.ports.alerts import Alert, AlertState
from autotrader.ports.events import Event, EventType
from tests.fakes.clocks import SettableClock
from tests.fakes.witnesses import Statement, statement
from tests.services import fresh_database

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
LATER = NOW + timedelta(minutes=21)
LABELS = {"alertname": "SlowQueries", "severity": "critical", "service": "api"}
LOOK = timedelta(minutes=4)


class World:
    """What was told, and who knows of it; a look every few minutes."""

    def __init__(self, url: str, said: Statement) -> None:
        self.said = said
        self.clock = SettableClock(NOW)
        engine = open_database(url)
        self.events = SqlEventLog(engine)
        self.alerts = SqlAlerts(engine, Routing(), runbooks="runbooks")
        self.witnesses = Witnesses(said.url, f"{said.url}/", timeout_seconds=60)
        self.ends = self.started()

    def started(self) -> LostEnds:
        return LostEnds(self.alerts, self.events, self.witnesses, self.clock)

    def tell(self, start: datetime = NOW, **labels: str) -> None:
        """As Alertmanager's webhook does."""
        of = {**LABELS, **labels}
        data = {
            "alert": of["alertname"], "source": "alertmanager", "fingerprint": fingerprint_of(of),
            "starts_at": start.isoformat(), "incident": incident_of(of), "runbook": "alerts/SlowQueries.md",
        }  # fmt: skip
        key = f"{fingerprint_of(of)}/{start}"
        event = Event(key, EventType.ALERT, of["severity"], "slow", "tests", self.clock.now(), data=data)
        self.events.record(event)
        self.alerts.take_up(self.clock.now())

    def look_for(self, time: timedelta) -> None:
        for _ in range(time // LOOK):
            self.clock.advance(LOOK)
            self.said.now += LOOK
            self.ends.look()
            self.alerts.take_up(self.clock.now())

    @property
    def alert(self) -> Alert:
        (found,) = self.alerts.list()
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with statement() as said:
        said.rules = {"SlowQueries": "ok", "PostgresDown": "ok"}
        made = World(fresh_database("sqlite", tmp_path), said)
        yield made
        made.witnesses.close()


def test_what_nobody_knows_any_more_is_over_after_a_while_and_says_why(world: World) -> None:
    world.tell()
    world.look_for(ALERTING.relayed_silence)
    assert world.alert.state is AlertState.OPEN
    world.look_for(LOOK)
    assert (world.alert.state, world.alert.reason) == (AlertState.RESOLVED, "no longer known to Prometheus")
    assert (world.alert.resolved_by, world.alert.runbook) == ("autotrader", "alerts/SlowQueries.md")
    world.look_for(2 * LOOK)
    assert len(world.events.recent(type=EventType.ALERT)) == 2


def test_an_acknowledged_one_ends_too_and_comes_back_as_a_new_one(world: World) -> None:
    world.tell()
    event = Event("ack", EventType.AUDIT, "info", "said", "alice", NOW)
    world.alerts.acknowledge(world.alert.id, actor="alice", now=NOW, event=event)
    world.look_for(ALERTING.relayed_silence + LOOK)
    assert world.alert.state is AlertState.RESOLVED
    world.tell(world.clock.now())
    states = {alert.state: alert.acknowledged_by for alert in world.alerts.list()}
    assert states == {AlertState.RESOLVED: "alice", AlertState.OPEN: None}


@pytest.mark.parametrize("who", ["held", "active"])
def test_what_one_of_them_knows_goes_on(world: World, who: str) -> None:
    world.tell()
    getattr(world.said, who).append(LABELS)
    world.look_for(timedelta(hours=2))
    assert world.alert.state is AlertState.OPEN
    getattr(world.said, who).clear()
    world.look_for(ALERTING.relayed_silence + LOOK)
    assert world.alert.state is AlertState.RESOLVED


def test_it_must_be_unknown_the_whole_time(world: World) -> None:
    world.tell()
    for _ in range(5):
        world.look_for(ALERTING.relayed_silence - LOOK)
        world.said.active.append(LABELS)
        world.look_for(LOOK)
        world.said.active.clear()
    assert world.alert.state is AlertState.OPEN


def test_a_process_that_starts_anew_waits_anew(world: World) -> None:
    world.tell()
    for _ in range(3):
        world.look_for(ALERTING.relayed_silence)
        world.ends = world.started()
    assert world.alert.state is AlertState.OPEN


@pytest.mark.parametrize("who", ["alertmanager_began", "prometheus_began"])
def test_one_that_has_just_begun_does_not_know_yet(world: World, who: str) -> None:
    world.tell()
    for _ in range(3):
        world.look_for(ALERTING.relayed_silence - LOOK)
        setattr(world.said, who, world.said.now)
        world.look_for(LOOK)
    assert world.alert.state is AlertState.OPEN


@pytest.mark.parametrize("path", ["/api/v2/status", "/api/v2/alerts", "/api/v1/status", "/api/v1/rules"])
@pytest.mark.parametrize(("status", "error"), [(503, Unreachable), (404, Rejected)])
def test_nothing_ends_while_one_of_them_does_not_answer(
    world: World, path: str, status: int, error: type[Exception]
) -> None:
    world.tell()
    world.look_for(ALERTING.relayed_silence)
    world.said.answers = {path: status}
    with pytest.raises(error):
        world.look_for(LOOK)
    world.said.answers = {}
    world.look_for(ALERTING.relayed_silence)
    assert world.alert.state is AlertState.OPEN, "it waits anew"


def test_nothing_ends_where_nobody_listens_or_somebody_else_does(world: World) -> None:
    world.tell()
    for url in ("http://127.0.0.1:1", f"{world.said.url}/elsewhere"):
        witnesses = Witnesses(url, url, timeout_seconds=60)
        with pytest.raises((Unreachable, Rejected), match="Alertmanager"):
            LostEnds(world.alerts, world.events, witnesses, world.clock).look()
        witnesses.close()


@pytest.mark.parametrize("health", ["err", "unknown", None])
def test_a_rule_that_is_not_evaluated_or_not_there_says_nothing(world: World, health: str | None) -> None:
    world.tell()
    world.said.rules = {"SlowQueries": health} if health else {}
    world.look_for(timedelta(hours=1))
    assert world.alert.state is AlertState.OPEN


def test_a_rule_that_was_evaluated_long_ago_says_nothing(world: World) -> None:
    world.tell()
    world.said.evaluated_before = ALERTING.relayed_settled + timedelta(seconds=1)
    world.look_for(timedelta(hours=1))
    assert world.alert.state is AlertState.OPEN


def test_clocks_that_differ_make_no_difference(world: World) -> None:
    world.said.now -= timedelta(days=40)
    world.tell()
    world.look_for(ALERTING.relayed_silence + LOOK)
    assert world.alert.state is AlertState.RESOLVED


def test_one_that_is_raised_again_meanwhile_is_not_ended_by_an_older_word(world: World) -> None:
    world.tell()
    world.look_for(ALERTING.relayed_silence)
    world.clock.advance(LOOK)
    world.ends.look()
    world.tell(LATER)
    found = {alert.first_at: alert.state for alert in world.alerts.list()}
    assert found[LATER] is AlertState.OPEN


def test_a_word_on_what_was_raised_again_comes_too_late(world: World) -> None:
    world.tell()
    world.look_for(ALERTING.relayed_silence)
    old = world.alerts.list

    def then_told(**asked: object) -> list[Alert]:
        found = list(old(**asked))  # type: ignore[arg-type]
        world.tell(LATER)
        return found

    world.alerts.list = then_told  # type: ignore[method-assign,assignment]
    world.clock.advance(LOOK)
    world.said.now += LOOK
    assert world.ends.look() == 1
    del world.alerts.list  # type: ignore[method-assign]
    world.alerts.take_up(world.clock.now())
    assert (world.alert.state, world.alert.count) == (AlertState.OPEN, 2)


def test_nobody_is_asked_where_nothing_was_told(world: World) -> None:
    world.events.record(Event("own", EventType.ALERT, "critical", "broken", "tests", NOW))
    world.alerts.take_up(NOW)
    world.look_for(timedelta(hours=1))
    assert world.said.asked == []
    assert world.alert.state is AlertState.OPEN


def test_patience_outlasts_what_alertmanager_would_repeat_were_it_to_come_back() -> None:
    assert {severity: patience(severity) for severity in Severity} == {
        Severity.CRITICAL: ALERTING.relayed_silence,
        Severity.WARNING: ALERTS.warning_repeat,
        Severity.INFO: ALERTS.info_repeat,
    }


def test_an_incident_of_ours_and_one_of_alertmanager_have_keys_of_their_own() -> None:
    incident = incident_of(LABELS)
    assert incident is not None
    assert dedup_key(incident) == incident.removeprefix("alertmanager/")
    assert dedup_key("0123") == "autotrader/0123"
    assert incident_of({**LABELS, "endpoint": "/a"}) == incident
    assert incident_of({**LABELS, "service": "trader"}) != incident
    assert incident_of({"alertname": "Odd", "severity": "apocalyptic"}) is None
