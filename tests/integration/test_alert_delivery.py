"""The process that delivers alerts: killed at any step, and beside an Alertmanager that is real."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from autotrader.alerts.channels.pagerduty import PagerDutyChannel
from autotrader.alerts.delivery import deliver_one, prepare
from autotrader.alerts.routing import Routing
from autotrader.apps.alerts.deliver import DELIVERY
from autotrader.apps.api.status import ComponentStatus
from autotrader.apps.exporter.components import alert_delivery
from autotrader.config.settings import Settings
from autotrader.db.alerts import SqlAlerts
from autotrader.db.deployment_records import SqlDeploymentRecords
from autotrader.db.engine import connect, open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.alerts import Severity
from autotrader.domain.thresholds import ALERTING
from autotrader.ports.alerts import AlertState, ChannelName
from autotrader.ports.events import Event, EventType
from tests.fakes.alert_receivers import Fault, Receiver, receiver
from tests.fakes.clocks import SettableClock
from tests.fakes.witnesses import statement
from tests.killing import Steps, run_killed
from tests.services import empty_database, free_port

pytestmark = pytest.mark.integration

ROUTING = Routing(ready=(ChannelName.PAGERDUTY,), routes={Severity.CRITICAL: (ChannelName.PAGERDUTY,)})
LONGEST_STEPS = 60


def _open(url: str) -> SqlAlerts:
    return SqlAlerts(open_database(url), ROUTING, runbooks="runbooks")


def _deliver(url: str, pagerduty: str, at: datetime, until: int | None) -> None:
    """One pass; each commit, request and answer is a step, of which one is the last."""
    steps = Steps(until)
    clock = SettableClock(at)
    alerts = SqlAlerts(steps.watch(connect(url)), ROUTING, runbooks="runbooks")
    channel = PagerDutyChannel(pagerduty, "key", clock, source="tests", timeout_seconds=60)
    channel._poster._client._transport = steps.transport()
    prepare(alerts, clock)
    while deliver_one(alerts, channel, clock):
        pass


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_killed_at_any_step_an_alert_makes_one_incident_and_is_never_lost(
    database: str, tmp_path: Path
) -> None:
    now = datetime(2026, 3, 1, 9, tzinfo=UTC)
    killed = True
    step = 0
    while killed:
        step += 1
        assert step < LONGEST_STEPS
        folder = tmp_path / str(step)
        folder.mkdir()
        url = empty_database(database, folder)
        alerts = _open(url)
        log = SqlEventLog(connect(url))
        for k in range(3):
            log.record(Event(f"e{k}", EventType.ALERT, "critical", "broken", "tests", now))
        with receiver() as inside:
            killed = run_killed(_deliver, url, inside.url, now, step)
            _deliver(url, inside.url, now + ALERTING.claim, None)
            assert list(inside.incidents().values()) == ["triggered"], step
            assert len(inside.posted) <= 2
        assert {alert.count for alert in alerts.list()} == {1}
        assert alerts.totals().sent == {("pagerduty", "critical"): 1}
        assert len(alerts.list(states=[AlertState.OPEN])) == 3
    assert step > 6


class Process:
    """`autotrader alerts deliver`, in a process."""

    def __init__(self, home: Path, **settings: str) -> None:
        self._environment = {**os.environ, "AUTOTRADER_HOME": str(home)}
        self._environment |= {f"AUTOTRADER_{name}": value for name, value in settings.items()}
        self._environment["AUTOTRADER_ALERTS__POLL_SECONDS"] = "0.1"
        self._started: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        started = subprocess.Popen(
            [sys.executable, "-m", "autotrader.apps.alerts"],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._started.append(started)
        assert started.stdout is not None
        self.channels = json.loads(started.stdout.readline())["channels"]
        return started

    def run(self, *words: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", *words, "--json"],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.wait(timeout=10)
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def inside() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def wait_until(true: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_process_that_is_killed_is_missed_as_a_component(tmp_path: Path) -> None:
    process = Process(tmp_path / "home")
    try:
        started = process.start()
        engine = open_database(Settings(home=tmp_path / "home").database_url)
        records = SqlDeploymentRecords(engine, Settings().strategy.strategy_id)
        alerts = SqlAlerts(engine, Routing(), runbooks="runbooks")
        wait_until(lambda: records.heartbeat(DELIVERY))
        clock = SettableClock(datetime.now(UTC))
        assert alert_delivery(alerts, records, clock).status is ComponentStatus.HEALTHY
        started.kill()
        started.wait(10)
        clock = SettableClock(datetime.now(UTC))  # it may have been heard of until now
        clock.advance(ALERTING.delivery_silence + timedelta(seconds=1))
        assert alert_delivery(alerts, records, clock).status is ComponentStatus.UNHEALTHY
    finally:
        process.end()


def test_an_alert_leaves_within_seconds_survives_kills_and_ends(tmp_path: Path, inside: Receiver) -> None:
    process = Process(tmp_path, ALERTS__PAGERDUTY_KEY="key", ALERTS__PAGERDUTY_URL=inside.url)
    try:
        started = process.start()
        assert process.channels == ["log", "pagerduty"]
        message = ("--level", "critical", "--message", "the disk is full", "--fingerprint", "disk")
        process.run("autotrader.alerts.send", *message, "--name", "DiskSpaceLow")
        wait_until(lambda: inside.posted)
        started.send_signal(signal.SIGKILL)
        (listed,) = process.run("autotrader.alerts", "list")["alerts"]
        assert (listed["name"], listed["state"]) == ("DiskSpaceLow", "open")
        process.run("autotrader.alerts", "resolve", "--id", listed["id"], "--reason", "more disk")
        inside.faults.append(Fault(503))
        again = process.start()
        # Killed between the answer and its record, the message is another's once its claim has lapsed.
        wait_until(lambda: list(inside.incidents().values()) == ["resolved"], seconds=180)
        again.send_signal(signal.SIGTERM)
        assert again.wait(timeout=60) == 0
    finally:
        process.end()


def test_the_process_asks_whether_what_alertmanager_told_is_over(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    engine = open_database(Settings(home=home).database_url)
    data = {"source": "alertmanager", "alert": "SystemDown"}
    now = datetime.now(UTC)
    SqlEventLog(engine).record(Event("e", EventType.ALERT, "critical", "down", "tests", now, data=data))
    SqlAlerts(engine, Routing(), runbooks="runbooks").take_up(now)
    with statement() as said:
        process = Process(home, ALERTS__ALERTMANAGER_URL=said.url, MONITORING__PROMETHEUS_URL=said.url)
        try:
            process.start()
            asked = {"/api/v2/status", "/api/v2/alerts", "/api/v1/status/runtimeinfo"}
            wait_until(lambda: {*asked, "/api/v1/rules?type=alert"} <= set(said.asked))
        finally:
            process.end()


def test_a_slow_channel_holds_up_no_other(tmp_path: Path, inside: Receiver) -> None:
    with receiver() as slow:
        slow.faults.append(Fault(200, delay_seconds=60))
        process = Process(
            tmp_path,
            ALERTS__PAGERDUTY_KEY="key",
            ALERTS__PAGERDUTY_URL=inside.url,
            ALERTS__SLACK_URL=slow.url,
            ALERTS__TIMEOUT_SECONDS="20",
        )
        try:
            process.start()
            for level in ("warning", "critical"):
                process.run("autotrader.alerts.send", "--level", level, "--message", level, "--name", level)
                wait_until(lambda: slow.asked) if level == "warning" else None
            wait_until(lambda: inside.posted, 12)  # while the other one is still waited for
            assert slow.posted == []
        finally:
            process.end()


def test_a_real_alertmanager_is_told_and_nobody_else(tmp_path: Path, inside: Receiver) -> None:
    binary = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
    if binary is None:
        pytest.skip("needs Alertmanager: apt-get install prometheus-alertmanager")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "alertmanager.yml").write_text(
        "route: {receiver: stub, group_wait: 1s, group_interval: 1s, group_by: [alertname]}\n"
        f"receivers: [{{name: stub, webhook_configs: [{{url: '{inside.url}/hook', send_resolved: true}}]}}]\n"
    )
    alertmanager = subprocess.Popen(
        [
            binary,
            f"--config.file={tmp_path}/alertmanager.yml",
            f"--storage.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    process = Process(tmp_path / "home", ALERTS__ALERTMANAGER_URL=url, ALERTS__PAGERDUTY_KEY="key")
    try:
        wait_until(lambda: _answers(f"{url}/-/ready"))
        process.start()
        # The pager is there for ends alone that Alertmanager cannot tell.
        assert process.channels == ["log", "alertmanager", "pagerduty"]
        message = ("--level", "critical", "--message", "the disk is full", "--fingerprint", "disk")
        process.run("autotrader.alerts.send", *message, "--name", "DiskSpaceLow")
        wait_until(lambda: inside.posted)
        told = inside.bodies()[0]["alerts"][0]
        assert told["labels"]["alertname"] == "DiskSpaceLow"
        assert told["annotations"]["summary"] == "the disk is full"
        process.run("autotrader.alerts.send", *message, "--name", "DiskSpaceLow", "--resolved")
        wait_until(lambda: inside.bodies()[-1]["alerts"][0]["status"] == "resolved")
    finally:
        process.end()
        alertmanager.kill()
        alertmanager.wait(timeout=10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1, trust_env=False).is_success
    except httpx.TransportError:
        return False
