"""The outbox, on each database: from events to messages, each once."""

from __future__ import annotations

import resource
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from autotrader.alerts.case.report import post_mortem
from autotrader.alerts.changes import audit
from autotrader.alerts.delivery import deliver_one, prepare
from autotrader.alerts.relayed import incident_of
from autotrader.alerts.routing import Routing
from autotrader.db.alerts import SqlAlerts
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog, record_events
from autotrader.domain.alerts import Severity
from autotrader.domain.errors import ConfigurationError, NotFound, Refused, Rejected, Throttled, Unreachable
from autotrader.domain.thresholds import ALERTING
from autotrader.ports.alerts import Alerts, AlertState, Case, CaseEntry, ChannelName, Message
from autotrader.ports.events import Event, EventType
from tests.fakes.clocks import SettableClock
from tests.services import fresh_database

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
PAGER, SLACK, EMAIL, LOG = (
    ChannelName.PAGERDUTY, ChannelName.SLACK, ChannelName.EMAIL, ChannelName.LOG,
)  # fmt: skip
ROUTING = Routing(
    ready=(PAGER, SLACK, EMAIL),
    routes={Severity.CRITICAL: (PAGER,), Severity.WARNING: (SLACK,), Severity.INFO: (EMAIL,)},
    escalation=(SLACK, EMAIL),
)


class Spoken:
    """A channel that keeps what it is sent, or fails as it is told: the next failures, one a message."""

    def __init__(self, name: ChannelName) -> None:
        self.name = name
        self.messages: list[Message] = []
        self.failures: list[Exception] = []

    def send(self, message: Message) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.messages.append(message)

    def close(self) -> None:
        pass


class World:
    def __init__(self, engine: Engine, routing: Routing = ROUTING) -> None:
        self.engine = engine
        self.events = SqlEventLog(engine)
        self.clock = SettableClock(NOW)
        self.alerts = SqlAlerts(engine, routing, runbooks="https://example.com")
        self.channels = {name: Spoken(name) for name in ChannelName}

    def happen(self, key: str, severity: str = "critical", message: str = "broken", **data: object) -> None:
        self.events.record(
            Event(key, EventType.ALERT, severity, message, "tests", self.clock.now(), data=data)
        )

    def deliver(self, after: timedelta = timedelta(0)) -> None:
        self.clock.advance(after)
        prepare(self.alerts, self.clock)
        for channel in self.channels.values():
            while deliver_one(self.alerts, channel, self.clock):
                pass

    def told(self, name: ChannelName) -> list[str]:
        return [message.title for message in self.channels[name].messages]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(open_database(fresh_database(request.param, tmp_path)))


def test_an_event_is_told_once_on_the_way_of_its_severity(world: World) -> None:
    assert isinstance(world.alerts, Alerts)
    world.happen("a", "critical", "the API is down", alert="ServiceDown")
    world.happen("b", "warning", "slow")
    world.happen("c", "info", "a model was promoted")
    for _ in range(3):
        world.deliver()
    assert world.told(PAGER) == ["[CRITICAL] ServiceDown: the API is down"]
    # One message of a name at a time.
    assert len(world.told(LOG)) == 2
    (line,) = world.channels[PAGER].messages[0].lines
    assert line.runbook == "https://example.com/alerts/ServiceDown.md"
    assert [m.lines[0].message for m in world.channels[SLACK].messages] == ["slow"]
    assert [m.lines[0].message for m in world.channels[EMAIL].messages] == ["a model was promoted"]
    totals = world.alerts.totals()
    assert totals.sent[("pagerduty", "critical")] == 1
    assert (totals.failed, totals.suppressed, totals.waiting, totals.dead) == ({}, {}, 0, 0)


def test_a_flood_is_one_message_of_each_group_in_bounded_time_and_memory(world: World) -> None:
    events = [
        Event(
            f"flood/{k}",
            EventType.ALERT,
            "critical",
            f"thing {k} broke",
            "t",
            NOW,
            data={"alert": f"Kind{k % 3}"},
        )
        for k in range(10_000)
    ]
    with world.engine.begin() as connection:
        record_events(connection, events)
    begun = time.process_time()  # ours, not that of others on a busy machine
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    world.deliver()
    assert time.process_time() - begun < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    for name in (PAGER, LOG):
        messages = world.channels[name].messages
        assert sorted(m.total for m in messages) == [3333, 3333, 3334]
        assert all(len(m.lines) == ALERTING.listed_lines for m in messages)
    assert world.alerts.totals().live == {(Severity.CRITICAL, AlertState.OPEN): 10_000}


def test_too_many_names_share_a_message(world: World) -> None:
    for k in range(100):
        world.happen(f"k{k}", "critical" if k == 50 else "warning", alert=f"Kind{k:03}")
    world.deliver()
    assert len(world.told(LOG)) == ALERTING.messages_per_minute
    assert world.told(PAGER) == ["[CRITICAL] Kind050: broken"]
    assert sum(m.total for m in world.channels[LOG].messages) == 100
    world.happen("later", "critical", alert="Kind050")
    world.deliver(timedelta(seconds=30))
    assert len(world.told(PAGER)) == 1
    world.deliver(timedelta(seconds=31))
    assert len(world.told(PAGER)) == 2


def test_alerts_of_one_fingerprint_are_one_until_it_is_over(world: World) -> None:
    for k in range(3):
        world.happen(f"k{k}", "warning", f"full at {90 + k} %", fingerprint="disk")
        world.deliver()
    assert len(world.told(SLACK)) == 1
    (alert,) = world.alerts.list()
    assert (alert.count, alert.message) == (3, "full at 92 %")
    assert world.alerts.totals().suppressed == {"warning": 2}
    world.happen("over", "info", "space again", fingerprint="disk", resolved=True)
    world.deliver(timedelta(minutes=1))
    assert world.told(SLACK)[1:] == ["[RESOLVED] OperatorAlert: full at 92 %"]
    assert world.alerts.get(alert.id).state is AlertState.RESOLVED


def test_a_pager_has_an_incident_for_what_was_told_together_and_ends_it_with_the_last(world: World) -> None:
    for k in (1, 2):
        world.happen(f"k{k}", fingerprint=f"f{k}")
    world.deliver()
    world.happen("k3", fingerprint="f3")
    world.deliver(timedelta(minutes=1))
    first, second = world.channels[PAGER].messages
    assert (first.total, second.total) == (2, 1)
    assert first.key != second.key
    for k in (1, 3, 2):
        world.happen(f"over{k}", "info", fingerprint=f"f{k}", resolved=True)
        world.deliver(timedelta(minutes=1))
    ends = [(m.key, m.firing) for m in world.channels[PAGER].messages[2:]]
    assert ends == [(second.key, False), (first.key, False)]


def test_what_nobody_acknowledges_goes_further_and_what_somebody_does_not(world: World) -> None:
    world.happen("a", fingerprint="a")
    world.happen("b", "warning", fingerprint="b", alert="Slow")
    world.deliver()
    world.deliver(timedelta(minutes=5))
    assert world.told(EMAIL) == ["[NOBODY ACKNOWLEDGED, CRITICAL] OperatorAlert: broken"]
    assert len(world.told(PAGER)) == 2
    alert = next(a for a in world.alerts.list() if a.fingerprint == "a")
    event = audit("x", alert.id, "said", actor="alice", at=NOW)
    assert world.alerts.acknowledge(alert.id, actor="alice", now=world.clock.now(), event=event)
    assert not world.alerts.acknowledge(alert.id, actor="bob", now=world.clock.now(), event=event)
    assert world.alerts.get(alert.id).acknowledged_by == "alice"
    world.deliver(timedelta(minutes=54))
    assert world.told(PAGER)[2:] == ["[ACKNOWLEDGED] OperatorAlert: broken"]
    world.deliver(timedelta(minutes=1))
    assert world.told(PAGER)[3:] == ["[NOBODY ACKNOWLEDGED, WARNING] Slow: broken"]
    assert len(world.events.recent(type=EventType.AUDIT)) == 1


def take_on(world: World, fingerprint: str) -> None:
    alert = next(a for a in world.alerts.list() if a.fingerprint == fingerprint and a.is_live)
    event = audit("x", alert.id, "said", actor="alice", at=NOW)
    assert world.alerts.acknowledge(alert.id, actor="alice", now=world.clock.now(), event=event)


def test_a_pager_is_told_once_that_somebody_is_on_it_and_nobody_else_is(world: World) -> None:
    world.happen("a", fingerprint="a")
    world.deliver()
    take_on(world, "a")
    for _ in range(3):
        world.deliver(timedelta(hours=2))
    first, taken = world.channels[PAGER].messages
    assert (taken.key, taken.firing, taken.acknowledged) == (first.key, True, True)
    assert (len(world.told(LOG)), world.told(SLACK), world.told(EMAIL)) == (1, [], [])


def test_an_incident_is_acknowledged_once_somebody_is_on_all_of_it(world: World) -> None:
    world.happen("a", fingerprint="a")
    world.happen("b", fingerprint="b")
    world.deliver()
    take_on(world, "a")
    world.deliver(timedelta(minutes=1))
    assert [m.acknowledged for m in world.channels[PAGER].messages] == [False]
    take_on(world, "b")
    world.deliver(timedelta(minutes=1))
    assert [m.acknowledged for m in world.channels[PAGER].messages] == [False, True]
    world.happen("a over", "info", fingerprint="a", resolved=True)
    world.happen("b over", "info", fingerprint="b", resolved=True)
    world.deliver(timedelta(minutes=1))
    assert [m.firing for m in world.channels[PAGER].messages] == [True, True, False]


def test_a_pager_that_was_not_told_of_an_alert_is_not_told_that_somebody_is_on_it(world: World) -> None:
    relay = {Severity.CRITICAL: PAGER, Severity.WARNING: SLACK}
    for routing in (ROUTING, Routing(ready=(ChannelName.ALERTMANAGER,), relay=relay)):
        routed = World(world.engine, routing)
        routed.happen(f"a{routing}", "warning", fingerprint="a")
        routed.deliver(timedelta(days=1))
        take_on(routed, "a")
        routed.deliver(timedelta(minutes=1))
        assert routed.told(PAGER) == []
        routed.happen(f"over{routing}", "warning", fingerprint="a", resolved=True)
        routed.deliver(timedelta(minutes=1))


def test_a_word_that_somebody_is_on_it_which_is_refused_goes_no_other_way(world: World) -> None:
    world.happen("a", fingerprint="a")
    world.deliver()
    take_on(world, "a")
    world.channels[PAGER].failures = [Rejected("no")]
    for _ in range(2):
        world.deliver(timedelta(minutes=1))
    assert (world.told(SLACK), world.told(EMAIL), world.alerts.totals().dead) == ([], [], 1)


def test_where_alertmanager_pages_its_incident_is_acknowledged_of_ours_and_of_a_rule(world: World) -> None:
    labels = {"alertname": "CircuitBreakerTripped", "severity": "critical"}
    incident = incident_of(labels)
    routed = World(world.engine, Routing(ready=(ChannelName.ALERTMANAGER,), relay={Severity.CRITICAL: PAGER}))
    routed.happen("ours", fingerprint="ours", alert="CircuitBreakerTripped")
    relayed: dict[str, Any] = {
        "source": "alertmanager",
        "alert": "CircuitBreakerTripped",
        "incident": incident,
    }
    routed.happen("rule", fingerprint="rule", **relayed)
    routed.deliver()
    assert routed.told(PAGER) == []
    take_on(routed, "rule")
    routed.deliver(timedelta(minutes=1))
    assert routed.told(PAGER) == [], "nobody is on the other alert of the incident"
    take_on(routed, "ours")
    routed.deliver(timedelta(minutes=1))
    (taken,) = routed.channels[PAGER].messages
    assert (taken.key, taken.firing, taken.acknowledged) == (incident, True, True)
    # That it is over, Alertmanager says.
    for mark in ("ours", "rule"):
        data: dict[str, Any] = relayed if mark == "rule" else {"alert": "CircuitBreakerTripped"}
        routed.happen(f"{mark} over", fingerprint=mark, resolved=True, **data)
    routed.deliver(timedelta(minutes=1))
    assert len(routed.channels[PAGER].messages) == 1


def test_a_failure_is_tried_again_later_and_later_and_as_asked(world: World) -> None:
    world.happen("a")
    pager = world.channels[PAGER]
    pager.failures = [Unreachable("away"), Throttled("slowly", retry_after_seconds=40), Unreachable("away")]
    waits = []
    while not pager.messages:
        left, waited = len(pager.failures), 0
        world.deliver()
        while len(pager.failures) == left and not pager.messages:
            world.deliver(timedelta(seconds=1))
            waited += 1
        waits.append(waited)
    assert waits == [0, 5, 40, 20]
    assert world.alerts.totals().failed == {}
    assert len(pager.messages) == 1


@pytest.mark.parametrize("error", [Rejected("no"), ConfigurationError("who are you")])
def test_what_is_refused_goes_another_way_and_can_be_tried_again(world: World, error: Exception) -> None:
    world.happen("a")
    world.channels[PAGER].failures = [error]
    world.channels[SLACK].failures = [Rejected("neither")]
    for _ in range(3):
        world.deliver()
    assert world.told(EMAIL) == ["[CRITICAL] OperatorAlert: broken"]
    dead = world.alerts.dead_letters()
    assert {d.channel for d in dead} == {PAGER, SLACK}
    one = next(d for d in dead if d.channel is PAGER)
    assert one.last_error == str(error)
    assert world.alerts.requeue(one.id, world.clock.now())
    assert not world.alerts.requeue(one.id, world.clock.now())
    world.deliver()
    assert len(world.told(PAGER)) == 1
    assert world.alerts.totals().dead == 1


def test_a_channel_that_stays_away_is_given_up(world: World) -> None:
    world.happen("a", "warning", fingerprint="a")
    world.channels[SLACK].failures = [Unreachable("away")] * 99
    for _ in range(40):
        world.deliver(timedelta(minutes=1))
    assert [d.attempts for d in world.alerts.dead_letters()] == [ALERTING.attempts]
    assert len(world.told(EMAIL)) == 1
    assert world.alerts.totals().failed == {"slack": 1}


def test_a_message_whose_process_died_is_sent_by_another_after_a_while(world: World) -> None:
    world.happen("a")
    prepare(world.alerts, world.clock)
    first = world.alerts.claim(PAGER, world.clock.now())
    assert first is not None
    assert world.alerts.claim(PAGER, world.clock.now()) is None
    world.clock.advance(ALERTING.claim)
    second = world.alerts.claim(PAGER, world.clock.now())
    assert second is not None
    assert (second.id, second.message.key, second.attempts) == (first.id, first.message.key, 2)
    # The first one was only slow: what it says now of the try that is not its own counts for nothing.
    world.alerts.failed(first, world.clock.now(), error="late", again_after_seconds=None)
    world.alerts.sent(second, world.clock.now())
    world.alerts.sent(second, world.clock.now())
    assert world.alerts.totals().sent[("pagerduty", "critical")] == 1
    assert world.alerts.totals().dead == 0


def test_a_clock_that_was_set_back_holds_nothing_up(world: World) -> None:
    world.happen("a", fingerprint="a")
    world.channels[PAGER].failures = [Unreachable("away")]
    world.deliver()
    world.deliver(-timedelta(days=2))
    assert len(world.told(PAGER)) >= 1
    world.happen("b", "critical", alert="Other")
    world.deliver(timedelta(minutes=1))
    assert "[CRITICAL] Other: broken" in world.told(PAGER)


def test_with_an_alertmanager_it_alone_is_told_of_each_alert(world: World) -> None:
    routed = World(world.engine, Routing(ready=(ChannelName.ALERTMANAGER,)))
    for k in range(600):
        routed.happen(f"k{k}")
    routed.deliver()
    routed.deliver(timedelta(hours=2))
    messages = routed.channels[ChannelName.ALERTMANAGER].messages
    assert sorted(len(m.lines) for m in messages) == [100, 500]
    assert [name for name in ChannelName if routed.told(name)] == [LOG, ChannelName.ALERTMANAGER]


def test_secrets_and_line_breaks_never_leave(world: World) -> None:
    world.happen("a", "critical", "first\r\nBcc: x\x00 postgres://u:hunter2@db password=hunter3\u202e")
    world.deliver()
    (message,) = world.channels[PAGER].messages
    for text in (message.title, message.lines[0].message):
        assert "hunter" not in text
        assert text.isprintable()


def test_alerts_of_a_kind_join_the_case_that_is_open(world: World) -> None:
    world.happen("a", fingerprint="a", alert="DiskSpaceLow")
    world.deliver()
    (alert,) = world.alerts.list()
    case = Case("c1", "The disk | is <full>", "alice", "bob", NOW)
    event = audit("case-opened", "c1", "said", actor="bob", at=NOW)
    world.alerts.open_case(case, [alert.id], event)
    world.happen("b", fingerprint="b", alert="DiskSpaceLow")
    world.happen("c", fingerprint="c", alert="Other")
    world.deliver(timedelta(minutes=1))
    world.alerts.note("c1", CaseEntry(NOW + timedelta(minutes=2), "alice", "deleted logs"))
    found = world.alerts.case("c1")
    assert sorted(a.fingerprint for a in found.alerts) == ["a", "b"]
    assert [entry.text for entry in found.timeline] == ["opened: The disk | is <full>", "deleted logs"]
    over = audit("case-closed", "c1", "said", actor="bob", at=NOW)
    at = NOW + timedelta(minutes=30)
    assert world.alerts.close_case("c1", actor="alice", outcome="more disk", now=at, event=over)
    assert not world.alerts.close_case("c1", actor="alice", outcome="more disk", now=at, event=over)
    with pytest.raises(Refused, match="closed"):
        world.alerts.note("c1", CaseEntry(NOW, "alice", "late"))
    with pytest.raises(NotFound):
        world.alerts.open_case(replace(case, id="c2"), ["nothing"], replace(event, key="2"))
    assert world.alerts.cases() == []
    assert [c.id for c in world.alerts.cases(open_only=False)] == ["c1"]
    page = post_mortem(world.alerts.case("c1"))
    assert "after 30 min" in page
    assert "The disk \\| is \\<full\\>" in page
    world.happen("d", fingerprint="d", alert="DiskSpaceLow")
    world.deliver(timedelta(minutes=1))
    assert len(world.alerts.case("c1").alerts) == 2


def test_old_alerts_are_forgotten_but_for_those_of_cases_and_open_ones(world: World) -> None:
    for mark in "abc":
        world.happen(mark, fingerprint=mark)
    world.deliver()
    ids = {alert.fingerprint: alert.id for alert in world.alerts.list()}
    case = Case("c1", "t", "o", "o", NOW)
    world.alerts.open_case(case, [ids["b"]], audit("x", "c1", "s", actor="o", at=NOW))
    for mark in "ab":
        event = audit("r", mark, "s", actor="o", at=NOW)
        assert world.alerts.resolve(ids[mark], actor="o", reason="done", now=NOW, event=event)
    assert world.alerts.forget(NOW + timedelta(days=1)) == 1
    assert sorted(alert.fingerprint for alert in world.alerts.list()) == ["b", "c"]
    world.deliver(timedelta(minutes=1))
    assert world.alerts.take_up(world.clock.now()) == 0


def test_what_was_taken_up_long_ago_is_forgotten_and_never_taken_up_again(world: World) -> None:
    engine = world.engine
    alerts, log = SqlAlerts(engine, ROUTING, runbooks="runbooks"), SqlEventLog(engine)
    for k in range(4):
        log.record(Event(f"old{k}", EventType.ALERT, "info", "long ago", "tests", NOW))
    log.record(Event("live", EventType.ALERT, "critical", "still broken", "tests", NOW))
    log.record(Event("last", EventType.ALERT, "info", "long ago", "tests", NOW))
    assert alerts.take_up(NOW) == 6
    for alert in alerts.list():
        if alert.severity is Severity.INFO:
            event = audit("alert", alert.id, "over", actor="tests", at=NOW)
            alerts.resolve(alert.id, actor="tests", reason="over", now=NOW, event=event)
    later = NOW + timedelta(days=100)
    assert alerts.forget(later - timedelta(days=90)) == 5
    with engine.connect() as connection:
        kept = connection.scalar(sa.text("SELECT count(*) FROM alert_occurrences"))
    assert kept == 2, "that of the live alert, and the newest"
    assert alerts.take_up(later) == 0
    assert [alert.message for alert in alerts.list()] == ["still broken"]
    log.record(Event("new", EventType.ALERT, "critical", "news", "tests", later))
    assert alerts.take_up(later) == 1
