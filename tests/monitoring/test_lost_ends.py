"""An alert that ends while another inhibits it, with a real Alertmanager, Prometheus and our files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from autotrader.alerts.channels.pagerduty import PagerDutyChannel
from autotrader.alerts.delivery import deliver_one, prepare
from autotrader.alerts.lost_ends import LostEnds
from autotrader.alerts.relayed import fingerprint_of, patience
from autotrader.alerts.routing import Routing
from autotrader.alerts.witnesses import Witnesses
from autotrader.apps.api.alert_bodies import Webhook, events_of
from autotrader.db.alerts import SqlAlerts
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.alerts import Severity
from autotrader.ports.alerts import AlertState, ChannelName
from tests.fakes.clocks import SettableClock
from tests.fakes.http_server import Handler, listening
from tests.fakes.witnesses import statement
from tests.monitoring.alertmanager import until
from tests.monitoring.watched import Watched, row, watching
from tests.services import fresh_database

SLOW = {"alertname": "HighErrorRate", "severity": "critical", "service": "elsewhere"}
OUTAGE = {"alertname": "ServiceDown", "severity": "critical", "service": "elsewhere"}
PATIENCE = patience(Severity.CRITICAL)


class Platform:
    """What keeps and ends alerts; its clock is a test's, that of the others is real."""

    def __init__(self, watched: Watched, url: str) -> None:
        self.watched = watched
        self.clock = SettableClock(datetime.now(UTC))
        engine = open_database(url)
        self.events = SqlEventLog(engine)
        routing = Routing(ready=(ChannelName.ALERTMANAGER,), relay={Severity.CRITICAL: ChannelName.PAGERDUTY})
        self.alerts = SqlAlerts(engine, routing, runbooks="runbooks")
        self.pager = PagerDutyChannel(
            f"http://127.0.0.1:{watched.people.port}", "key", self.clock, source="tests", timeout_seconds=60
        )
        self.witnesses = Witnesses(
            watched.prometheus, watched.alertmanager, timeout_seconds=60, settled=timedelta(seconds=10)
        )
        self.ends = LostEnds(self.alerts, self.events, self.witnesses, self.clock)

    def hear(self) -> None:
        """What Alertmanager posted to the webhook."""
        for body in tuple(self.watched.people.sent_to("/alerts/webhook")):
            told = Webhook.model_validate(body)
            for event in events_of(told, actor="tests", now=self.clock.now(), runbooks="runbooks"):
                self.events.record(event)
        prepare(self.alerts, self.clock)

    def look_after(self, time: timedelta) -> int:
        self.clock.advance(time)
        ended = self.ends.look()
        prepare(self.alerts, self.clock)
        while deliver_one(self.alerts, self.pager, self.clock):
            pass
        return ended

    def states(self) -> dict[str, AlertState]:
        return {alert.name: alert.state for alert in self.alerts.list()}

    def close(self) -> None:
        self.pager.close()
        self.witnesses.close()


class Page(Handler):
    """Of a service that has nothing to say."""

    def respond(self) -> None:
        self.answer(200, kind="text/plain; version=0.0.4")


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with watching(tmp_path, {}) as watched:
        made = Platform(watched, fresh_database("sqlite", tmp_path))
        yield made
        made.close()


def say(url: str, labels: dict[str, str], *, over: bool = False) -> None:
    body = {"labels": labels, "annotations": {"summary": f"{labels['alertname']} at 42"}}
    if over:
        body |= {"endsAt": datetime.now(UTC).isoformat()}
    httpx.post(f"{url}/api/v2/alerts", json=[body], timeout=60, trust_env=False).raise_for_status()


def held(url: str) -> dict[str, list[str]]:
    """By name of each alert that Alertmanager has, what inhibits it."""
    found: list[dict[str, Any]] = httpx.get(f"{url}/api/v2/alerts", timeout=60, trust_env=False).json()
    return {alert["labels"]["alertname"]: alert["status"]["inhibitedBy"] for alert in found}


def groups(url: str) -> float:
    page = httpx.get(f"{url}/metrics", timeout=60, trust_env=False).text
    found = re.search(r"^alertmanager_dispatcher_aggregation_groups (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def incidents(watched: Watched) -> dict[str, list[str]]:
    """What PagerDuty was told of each, by the alert that it was first told of."""
    names: dict[str, str] = {}
    told: dict[str, list[str]] = {}
    for body in watched.people.sent_to("/v2/enqueue"):
        key = body["dedup_key"]
        name = names.setdefault(key, body.get("payload", {}).get("summary", key).partition(":")[0])
        told.setdefault(name, []).append(body["event_action"])
    return told


def test_what_alertmanager_can_no_longer_end_is_ended_by_us_in_the_incident_that_it_made(
    platform: Platform,
) -> None:
    watched, url = platform.watched, platform.watched.alertmanager
    say(url, SLOW)
    until(lambda: incidents(watched).get("HighErrorRate"), "the pager to be told", seconds=180)
    until(lambda: watched.state(row("HighErrorRate")), "the platform to be told", seconds=180)
    say(url, OUTAGE)
    until(lambda: held(url).get("HighErrorRate"), "the outage to inhibit it", seconds=180)
    until(lambda: incidents(watched).get("ServiceDown"), "the outage to be told", seconds=180)
    until(lambda: watched.state(row("ServiceDown")), "the platform to be told of it", seconds=180)
    platform.hear()
    assert platform.states() == dict.fromkeys(["HighErrorRate", "ServiceDown"], AlertState.OPEN)
    for _ in range(3):
        assert platform.look_after(PATIENCE) == 0, "what is inhibited fires still"

    # As Prometheus does, but that it repeats it for a quarter of an hour.
    before = groups(url)
    say(url, SLOW, over=True)
    until(lambda: groups(url) < before, "the end to be looked at and forgotten", seconds=240)
    say(url, OUTAGE, over=True)
    until(lambda: "resolve" in incidents(watched)["ServiceDown"], "the outage to end", seconds=180)
    until(lambda: watched.state(row("ServiceDown")) == "resolved", "to hear of it", seconds=180)
    platform.hear()
    assert incidents(watched)["HighErrorRate"] == ["trigger"], "Alertmanager has told nobody"
    assert platform.states() == {"HighErrorRate": AlertState.OPEN, "ServiceDown": AlertState.RESOLVED}

    assert platform.look_after(timedelta(minutes=1)) == 0
    assert platform.look_after(PATIENCE) == 1
    assert platform.states()["HighErrorRate"] is AlertState.RESOLVED
    assert incidents(watched)["HighErrorRate"] == ["trigger", "resolve"]
    ended = next(alert for alert in platform.alerts.list() if alert.name == "HighErrorRate")
    assert ended.reason == "no longer known to Prometheus"


def test_what_prometheus_fires_is_known_by_what_alertmanager_posts_of_it(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        # One of two: were all away, SystemDown would inhibit it.
        api = stack.enter_context(contextlib.ExitStack())
        urls = {"api": api.enter_context(listening(Page)), "exporter": stack.enter_context(listening(Page))}
        ports = {name: int(url.rpartition(":")[2]) for name, url in urls.items()}
        watched = stack.enter_context(watching(tmp_path, ports))
        forgetful = stack.enter_context(statement())
        api.close()
        until(lambda: watched.state(row("ServiceDown", service="api")), "its absence to be told", seconds=240)
        # An Alertmanager that lost what it was told: Prometheus has it still.
        settled = timedelta(seconds=10)
        witnesses = Witnesses(watched.prometheus, forgetful.url, timeout_seconds=60, settled=settled)
        stack.callback(witnesses.close)
        until(lambda: "ServiceDown" in _known_of(watched, witnesses), "it to be known", seconds=180)


def _known_of(watched: Watched, witnesses: Witnesses) -> set[str]:
    """Names of what was posted and is known."""
    known = witnesses()
    if known is None:
        return set()
    labels = [
        alert["labels"] for body in watched.people.sent_to("/alerts/webhook") for alert in body["alerts"]
    ]
    found = {each["alertname"] for each in labels if fingerprint_of(each) in known.fingerprints}
    return found & known.judged
