"""That an alert is over, on each database: told after its beginning, to whoever heard of that, and once."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from autotrader.alerts.changes import audit
from autotrader.alerts.delivery import deliver_one, prepare
from autotrader.alerts.routing import Routing
from autotrader.db import alert_deliveries
from autotrader.db.engine import open_database
from autotrader.domain.alerts import Severity
from autotrader.domain.errors import Rejected, Unreachable
from autotrader.ports.alerts import AlertState, ChannelName
from tests.contracts.test_alerts import LOG, NOW, PAGER, SLACK, World
from tests.services import fresh_database


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(open_database(fresh_database(request.param, tmp_path)))


def _keep_waiting(world: World) -> None:
    """Until the pager was tried so often that the next try is minutes away."""
    pager = world.channels[PAGER]
    pager.failures = [Unreachable("away")] * 99
    world.happen("a", fingerprint="a")
    world.deliver()
    (alert,) = world.alerts.list()
    event = audit("x", alert.id, "said", actor="alice", at=NOW)
    world.alerts.acknowledge(alert.id, actor="alice", now=world.clock.now(), event=event)
    for _ in range(5):
        world.deliver(timedelta(minutes=4))
    assert pager.messages == []
    pager.failures.clear()


def test_an_end_never_overtakes_the_beginning_that_waits(world: World) -> None:
    _keep_waiting(world)
    world.happen("over", "info", fingerprint="a", resolved=True)
    # The pager is back: what began waits for its next try, what ended has not been tried.
    world.deliver(timedelta(seconds=30))
    assert world.told(PAGER) == []
    world.deliver(timedelta(minutes=5))
    told = [(message.firing, message.acknowledged) for message in world.channels[PAGER].messages]
    # Nor does the word that somebody is on it.
    assert told == [(True, False), (True, True), (False, False)]
    assert len({message.key for message in world.channels[PAGER].messages}) == 1


def test_that_somebody_is_on_it_is_told_after_the_beginning_that_waits(world: World) -> None:
    pager = world.channels[PAGER]
    pager.failures = [Unreachable("away")] * 4
    world.happen("a", fingerprint="a")
    world.deliver()
    for seconds in (5, 10, 20):
        world.deliver(timedelta(seconds=seconds))
    assert pager.failures == []
    (alert,) = world.alerts.list()
    event = audit("x", alert.id, "said", actor="alice", at=NOW)
    world.alerts.acknowledge(alert.id, actor="alice", now=world.clock.now(), event=event)
    world.deliver(timedelta(seconds=30))
    assert world.told(PAGER) == []
    world.deliver(timedelta(seconds=10))
    assert [message.acknowledged for message in pager.messages] == [False, True]


def test_a_new_alert_is_held_up_by_none_that_waits(world: World) -> None:
    _keep_waiting(world)
    world.happen("b", fingerprint="b", message="another")
    world.deliver(timedelta(seconds=30))
    assert world.told(PAGER) == ["[CRITICAL] OperatorAlert: another"]


@pytest.mark.parametrize("over_before", [False, True], ids=["told first", "over first"])
def test_a_channel_that_was_asked_instead_hears_of_the_end(world: World, over_before: bool) -> None:
    def end() -> None:
        world.happen("over", "info", fingerprint="a", resolved=True)

    world.happen("a", fingerprint="a")
    prepare(world.alerts, world.clock)
    if over_before:
        end()
        world.clock.advance(timedelta(minutes=1))
        prepare(world.alerts, world.clock)
    world.channels[PAGER].failures = [Rejected("no"), Rejected("no")]
    world.deliver(timedelta(minutes=1))
    if not over_before:
        end()
    for _ in range(3):
        world.deliver(timedelta(minutes=1))
    assert [message.firing for message in world.channels[SLACK].messages] == [True, False]


def test_a_channel_that_is_asked_instead_at_the_moment_of_the_end_hears_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end() -> None:
        world.happen("over", "info", fingerprint="a", resolved=True)
        prepare(world.alerts, world.clock)

    world.happen("a", fingerprint="a")
    prepare(world.alerts, world.clock)
    world.clock.advance(timedelta(minutes=1))
    ending = threading.Thread(target=end)
    look_for_ends = alert_deliveries.end_late

    def end_after_the_look(connection: Connection, identity: str, now: datetime) -> None:
        look_for_ends(connection, identity, now)
        world.clock.advance(timedelta(seconds=1))
        ending.start()
        ending.join(1)  # it may have to wait for us

    monkeypatch.setattr(alert_deliveries, "end_late", end_after_the_look)
    world.channels[PAGER].failures = [Rejected("no")]
    assert deliver_one(world.alerts, world.channels[PAGER], world.clock)
    ending.join(60)
    for _ in range(3):
        world.deliver(timedelta(minutes=1))
    assert [message.firing for message in world.channels[SLACK].messages] == [True, False]


def test_what_is_tried_again_after_its_alert_is_over_is_followed_by_the_end(world: World) -> None:
    pager = world.channels[PAGER]
    pager.failures = [Rejected("no"), Rejected("no")]
    world.happen("a", fingerprint="a")
    world.deliver()
    world.happen("over", "info", fingerprint="a", resolved=True)
    world.deliver(timedelta(minutes=1))
    (end, begin) = sorted(
        (dead for dead in world.alerts.dead_letters() if dead.channel is PAGER),
        key=lambda dead: dead.message.firing,
    )
    assert world.alerts.requeue(begin.id, world.clock.now())
    for _ in range(3):
        world.deliver(timedelta(minutes=1))
    assert [message.firing for message in pager.messages] == [True, False]
    assert world.alerts.requeue(end.id, world.clock.now())
    for _ in range(3):
        world.deliver(timedelta(minutes=1))
    assert [message.firing for message in pager.messages] == [True, False, False]


RELAYED = {"source": "alertmanager", "fingerprint": "alertmanager/x", "alert": "SystemDown"}


def test_what_alertmanager_told_and_cannot_end_is_ended_where_it_told_it(world: World) -> None:
    relay = {Severity.CRITICAL: PAGER, Severity.WARNING: SLACK}
    routed = World(world.engine, Routing(ready=(ChannelName.ALERTMANAGER,), relay=relay))
    for mark, severity in (("one", "critical"), ("two", "critical"), ("three", "warning")):
        incident = f"alertmanager/{severity}"
        routed.happen(mark, severity, **RELAYED | {"fingerprint": mark, "incident": incident})
    routed.deliver()
    assert [name for name in ChannelName if routed.told(name)] == [LOG]

    def end(mark: str, severity: str) -> None:
        data = {"fingerprint": mark, "alert": "SystemDown", "source": "autotrader", "resolved": True}
        routed.happen(f"{mark} over", severity, "no longer known to Prometheus", **data)
        routed.deliver(timedelta(minutes=1))

    end("one", "critical")
    assert routed.told(PAGER) == [], "another alert of the incident goes on"
    end("two", "critical")
    (message,) = routed.channels[PAGER].messages
    assert (message.key, message.firing) == ("alertmanager/critical", False)
    end("three", "warning")
    assert routed.told(SLACK) == ["[RESOLVED] SystemDown: broken"]
    assert routed.told(ChannelName.ALERTMANAGER) == []
    assert {alert.reason for alert in routed.alerts.list()} == {"no longer known to Prometheus"}


def test_what_a_person_ends_is_ended_where_alertmanager_told_it(world: World) -> None:
    routed = World(world.engine, Routing(ready=(ChannelName.ALERTMANAGER,), relay={Severity.CRITICAL: PAGER}))
    routed.happen("one", **RELAYED | {"incident": "alertmanager/group"})
    routed.deliver()
    (alert,) = routed.alerts.list()
    event = audit("x", alert.id, "said", actor="alice", at=NOW)
    now = routed.clock.now()
    assert routed.alerts.resolve(alert.id, actor="alice", reason="mended", now=now, event=event)
    routed.deliver(timedelta(minutes=1))
    (message,) = routed.channels[PAGER].messages
    assert (message.key, message.firing) == ("alertmanager/group", False)
    # It was wrong: Alertmanager repeats it, to the pager by itself, and here it is an alert anew.
    routed.happen("again", **RELAYED | {"incident": "alertmanager/group"})
    routed.deliver(timedelta(minutes=5))
    assert [each.state for each in routed.alerts.list()] == [AlertState.OPEN, AlertState.RESOLVED]
    assert len(routed.channels[PAGER].messages) == 1


def test_what_alertmanager_ends_it_tells_itself(world: World) -> None:
    routed = World(world.engine, Routing(ready=(PAGER,), relay={Severity.CRITICAL: PAGER}))
    routed.happen("one", **RELAYED)
    routed.deliver()
    routed.happen("over", **RELAYED, resolved=True)
    routed.deliver(timedelta(minutes=1))
    assert [alert.state for alert in routed.alerts.list()] == [AlertState.RESOLVED]
    assert routed.told(PAGER) == []


def test_the_end_of_an_earlier_time_that_comes_late_ends_nothing(world: World) -> None:
    first, second = NOW - timedelta(hours=1), NOW - timedelta(minutes=1)

    def tell(start: datetime, *, resolved: bool) -> None:
        world.happen(f"{start} {resolved}", **RELAYED, starts_at=start.isoformat(), resolved=resolved)
        world.deliver(timedelta(seconds=30))

    tell(first, resolved=False)
    tell(second, resolved=False)
    tell(first, resolved=True)
    (alert,) = world.alerts.list()
    assert (alert.state, alert.first_at, alert.last_at) == (AlertState.OPEN, first, second)
    tell(second, resolved=True)
    assert world.alerts.get(alert.id).state is AlertState.RESOLVED


def test_what_alertmanager_tells_is_never_said_to_be_held_back(world: World) -> None:
    for key, resolved in (("a", False), ("b", True), ("c", False), ("d", False)):
        world.happen(key, "warning", **RELAYED, resolved=resolved)
        world.deliver(timedelta(minutes=1))
    assert world.alerts.totals().suppressed == {}
    assert world.alerts.totals().live == {(Severity.WARNING, AlertState.OPEN): 1}


def test_what_ended_lately_is_found_newest_first(world: World) -> None:
    for mark in "abc":
        world.happen(mark, fingerprint=mark)
    for mark in "ab":
        world.happen(f"{mark} over", fingerprint=mark, resolved=True)
        world.deliver(timedelta(minutes=1))
    assert [alert.fingerprint for alert in world.alerts.ended(NOW)] == ["b", "a"]
    assert [alert.fingerprint for alert in world.alerts.ended(world.clock.now())] == ["b"]
    assert [alert.fingerprint for alert in world.alerts.ended(NOW, limit=1)] == ["b"]
