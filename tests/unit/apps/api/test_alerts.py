"""Alerts with their state, and what an Alertmanager may tell us."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from autotrader.alerts.set_up import routing_of
from autotrader.db.alerts import SqlAlerts
from autotrader.domain.thresholds import API
from autotrader.ports.alerts import AlertState, ChannelName
from autotrader.ports.events import Event, EventType
from autotrader.ports.tokens import Scope
from tests.unit.apps.api.conftest import HERE, NOW, World

PATH = "/alerts/webhook"


def webhook(status: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "status": status,
        "receiver": "autotrader",
        "alerts": [
            {
                "status": status,
                "labels": {"alertname": "ServiceDown", "severity": "critical", "job": "api", **labels},
                "annotations": {
                    "summary": "the API is down",
                    "runbook_url": "https://example.com/alerts/ServiceDown.md",
                },
                "startsAt": "2026-03-01T08:59:00.123456789Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus/graph",
                "fingerprint": "abc",
            }
        ],
        "truncatedAlerts": 0,
    }


@pytest.fixture
def alerts(world: World) -> SqlAlerts:
    return SqlAlerts(world.engine, routing_of(world.settings), runbooks="https://example.com")


async def test_an_alertmanager_raises_an_alert_and_ends_it_once_however_often_it_tells(
    world: World, alerts: SqlAlerts
) -> None:
    token = world.token("alertmanager", Scope.OPERATE)
    for new in (1, 0):
        answer = await world.post(PATH, webhook(), token=token)
        assert (answer.status_code, answer.json()["new"]) == (200, new)
    assert alerts.take_up(NOW) == 1
    (shown,) = (await world.get("/api/alerts", state="open")).json()["items"]
    assert (shown["alert"], shown["severity"], shown["state"]) == ("ServiceDown", "critical", "open")
    assert shown["message"] == "the API is down"
    assert shown["runbook_url"] == "https://example.com/alerts/ServiceDown.md"
    await world.post(PATH, webhook("resolved"), token=token)
    alerts.take_up(NOW)
    assert [a.state for a in alerts.list()] == [AlertState.RESOLVED]
    assert (await world.get("/api/alerts", state="open")).json()["items"] == []


async def test_an_end_that_comes_late_ends_what_began_before_it_alone(
    world: World, alerts: SqlAlerts
) -> None:
    token = world.token("alertmanager", Scope.OPERATE)

    async def tell(status: str, start: str) -> None:
        body = webhook(status)
        body["alerts"][0]["startsAt"] = start
        assert (await world.post(PATH, body, token=token)).status_code == 200
        alerts.take_up(NOW)

    first, second = "2026-03-01T08:59:00.123456789Z", "2026-03-01T09:10:00Z"
    for start in (first, second):
        await tell("firing", start)
    await tell("resolved", first)
    (alert,) = alerts.list()
    assert (alert.state, alert.last_at.minute) == (AlertState.OPEN, 10)
    assert alert.thread is not None
    assert alert.thread.startswith("alertmanager/")
    await tell("resolved", second)
    assert [one.state for one in alerts.list()] == [AlertState.RESOLVED]


async def test_one_that_was_ended_by_hand_and_still_fires_comes_back_with_the_next_repeat_once(
    world: World, alerts: SqlAlerts
) -> None:
    token = world.token("alertmanager", Scope.OPERATE)

    async def tell(status: str = "firing") -> list[AlertState]:
        assert (await world.post(PATH, webhook(status), token=token)).status_code == 200
        alerts.take_up(NOW)
        return [one.state for one in alerts.list()]

    def end_by_hand(minutes: int) -> None:
        event = Event(f"ended {minutes}", EventType.AUDIT, "info", "ended", "alice", NOW)
        (live,) = alerts.list(states=(AlertState.OPEN,))
        now = NOW + timedelta(minutes=minutes)
        assert alerts.resolve(live.id, actor="alice", reason="wrongly", now=now, event=event)

    await tell()
    for times in (1, 2):
        end_by_hand(times)
        for _ in range(3):
            states = await tell()
        assert sorted(states) == [AlertState.OPEN, *[AlertState.RESOLVED] * times]
    assert alerts.list(states=(AlertState.OPEN,))[0].count == 1
    for _ in range(2):
        assert set(await tell("resolved")) == {AlertState.RESOLVED}
    # Alertmanager has ended it: an old word on it begins nothing.
    assert set(await tell()) == {AlertState.RESOLVED}


async def test_the_page_of_a_rule_is_below_the_runbooks_once(world: World, alerts: SqlAlerts) -> None:
    base = world.settings.monitoring.runbook_url
    told = webhook()
    told["alerts"][0]["annotations"]["runbook_url"] = f"{base}/alerts/ServiceDown.md"
    await world.post(PATH, told, token=world.token("alertmanager", Scope.OPERATE))
    alerts.take_up(NOW)
    assert alerts.list()[0].runbook == "alerts/ServiceDown.md"
    (shown,) = (await world.get("/api/alerts")).json()["items"]
    assert shown["runbook_url"] == f"{base}/alerts/ServiceDown.md"


async def test_nobody_is_told_again_of_what_an_alertmanager_has_told(world: World, alerts: SqlAlerts) -> None:
    await world.post(PATH, webhook(), token=world.token("alertmanager", Scope.OPERATE))
    alerts.take_up(NOW)
    alerts.compose(NOW)
    assert alerts.claim(ChannelName.LOG, NOW) is not None
    assert alerts.totals().waiting == 1


async def test_what_we_told_it_does_not_come_back(world: World, alerts: SqlAlerts) -> None:
    token = world.token("alertmanager", Scope.OPERATE)
    answer = await world.post(PATH, webhook(origin="autotrader"), token=token)
    assert answer.json() == {"received": 1, "new": 0, "ours": 1}
    assert alerts.take_up(NOW) == 0


@pytest.mark.parametrize(
    "garbage",
    [
        "no JSON",
        "[]",
        "null",
        '{"version": "4"}',
        '{"version": "3", "alerts": []}',
        '{"version": "4", "alerts": [1]}',
        '{"version": "4", "alerts": [{"status": "on fire", "labels": {}, "startsAt": "now"}]}',
        json.dumps({"version": "4", "alerts": webhook()["alerts"] * 1001}),
        "[" * 5_000,
        '{"version": "4", "alerts": [{"status": "firing", "labels": {"a": 1}, '
        '"startsAt": "2026-03-01T08:59:00Z"}]}',
    ],
)
async def test_garbage_is_refused_with_what_was_expected(world: World, garbage: str) -> None:
    headers = {"Authorization": f"Bearer {world.token('alertmanager', Scope.OPERATE)}"}
    async with world.client(HERE) as client:
        answer = await client.post(PATH, content=garbage, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["expected"]
    assert world.events.recent(type=EventType.ALERT) == []


async def test_a_stranger_and_a_reader_may_not_and_a_body_has_its_bound(world: World) -> None:
    assert (await world.post(PATH, webhook())).status_code == 401
    assert (await world.post(PATH, "garbage")).status_code == 401
    reader = await world.post(PATH, webhook(), token=world.token("reader", Scope.READ))
    assert reader.status_code == 403
    token = world.token("alertmanager", Scope.OPERATE)
    large = webhook()
    large["padding"] = "x" * API.webhook_bytes
    assert (await world.post(PATH, large, token=token)).status_code == 413
    large["padding"] = "x" * 100_000
    assert (await world.post(PATH, large, token=token)).status_code == 200


async def test_hostile_labels_stay_in_their_place(world: World, alerts: SqlAlerts) -> None:
    body = webhook(alertname="../../etc\n<script>", instrument="no such thing", severity="apocalyptic")
    body["alerts"][0]["annotations"] = {"summary": "line\r\none <b>\x00\x1b[31m token=hunter2"}
    token = world.token("alertmanager", Scope.OPERATE)
    assert (await world.post(PATH, body, token=token)).status_code == 200
    alerts.take_up(NOW)
    (alert,) = alerts.list()
    assert alert.name == "OperatorAlert"
    assert alert.severity == "warning"
    assert alert.instrument is None
    assert alert.message == "line one <b> [31m token=***"


async def test_an_event_that_was_not_taken_up_yet_has_no_state(world: World, alerts: SqlAlerts) -> None:
    for k in range(3):
        at = NOW - timedelta(minutes=k)
        world.events.record(Event(f"e{k}", EventType.ALERT, "critical", "broken", "tests", at))
    (first, *_, last) = (await world.get("/api/alerts")).json()["items"]
    assert (first["key"], first["state"], last["key"]) == ("e0", None, "e2")
    alerts.take_up(NOW)
    page = (await world.get("/api/alerts", state="open", limit=2)).json()
    assert [(i["key"], i["state"], i["count"]) for i in page["items"]] == [
        ("e0", "open", 1),
        ("e1", "open", 1),
    ]
    assert page["next_offset"] == 2
