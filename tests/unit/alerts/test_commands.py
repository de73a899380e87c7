"""What a person types about alerts and cases."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from autotrader import cli
from autotrader.alerts.channels.alertmanager import AlertmanagerChannel
from autotrader.alerts.delivery import keep_alive
from autotrader.bootstrap import Container
from autotrader.config.settings import load_settings
from autotrader.domain.errors import ConfigurationError
from autotrader.domain.thresholds import ALERTING
from tests.fakes.alert_receivers import Fault, receiver
from tests.fakes.clocks import SettableClock

pytestmark = pytest.mark.usefixtures("logging_as_before")


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert cli.main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def send(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    run(capsys, "alerts", "send", "--level", "critical", "--message", "the disk is full", *words)
    run(capsys, "alerts", "deliver", "--once")


def test_an_alert_is_listed_acknowledged_and_resolved(capsys: pytest.CaptureFixture[str]) -> None:
    send(capsys, "--name", "DiskSpaceLow", "--instrument", "binance:BTCUSDT")
    (alert,) = run(capsys, "alerts", "list")["alerts"]
    assert (alert["name"], alert["instrument"], alert["state"]) == ("DiskSpaceLow", "binance:BTCUSDT", "open")
    assert cli.main(["alerts", "list"]) == 0
    assert "runbooks/alerts/DiskSpaceLow.md" in capsys.readouterr().out
    for changed in (True, False):
        done = run(capsys, "alerts", "acknowledge", "--id", alert["id"])
        assert (done["state"], done["changed"]) == ("acknowledged", changed)
    for changed in (True, False):
        done = run(capsys, "alerts", "resolve", "--id", alert["id"], "--reason", "more disk")
        assert (done["state"], done["changed"]) == ("resolved", changed)
    assert run(capsys, "alerts", "list")["alerts"] == []
    assert len(run(capsys, "alerts", "list", "--state", "resolved")["alerts"]) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("alerts", "acknowledge", "--id", "nothing"),
        ("alerts", "resolve", "--id", "nothing", "--reason", "x"),
        ("alerts", "requeue", "--id", "nothing"),
        ("case", "note", "--case", "nothing", "--text", "x"),
        ("case", "open", "--title", "x", "--alert", "nothing"),
    ],
)
def test_what_there_is_not_is_said(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert run(capsys, *words, code=1)["error"] == "NotFound"


@pytest.mark.parametrize(
    "words",
    [
        ("--name", "../x"),
        ("--instrument", "nowhere"),
        ("--resolved",),
    ],
)
def test_an_alert_that_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    said = run(capsys, "alerts", "send", "--level", "info", "--message", "x", *words, code=2)
    assert said["error"] == "ConfigurationError"


def test_a_case_ends_with_a_page_that_is_never_written_over(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    send(capsys)
    (alert,) = run(capsys, "alerts", "list")["alerts"]
    case = run(capsys, "case", "open", "--title", "full disk", "--alert", alert["id"], "--owner", "alice")
    run(capsys, "case", "note", "--case", case["id"], "--text", "deleted logs")
    assert [c["owner"] for c in run(capsys, "case", "list")["cases"]] == ["alice"]
    run(capsys, "case", "close", "--case", case["id"], "--outcome", "more disk")
    page = tmp_path / "post-mortem.md"
    run(capsys, "case", "report", "--case", case["id"], "--output", str(page))
    for words in ("full disk", "deleted logs", "the disk is full", "more disk", "## Root cause"):
        assert words in page.read_text()
    assert run(capsys, "case", "report", "--case", case["id"], "--output", str(page), code=4)
    assert run(capsys, "case", "note", "--case", case["id"], "--text", "late", code=4)


def test_a_message_that_was_refused_is_a_dead_letter_until_somebody_asks_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as pagerduty:
        monkeypatch.setenv("AUTOTRADER_ALERTS__PAGERDUTY_KEY", "key")
        monkeypatch.setenv("AUTOTRADER_ALERTS__PAGERDUTY_URL", pagerduty.url)
        pagerduty.faults.append(Fault(400, body="no such key"))
        run(capsys, "alerts", "send", "--level", "critical", "--message", "x")
        run(capsys, "alerts", "deliver", "--once", code=1)
        (dead,) = run(capsys, "alerts", "list", "--dead-letters")["dead_letters"]
        assert "no such key" in dead["last_error"]
        run(capsys, "alerts", "requeue", "--id", dead["id"])
        run(capsys, "alerts", "deliver", "--once")
        assert len(pagerduty.incidents()) == 1


def test_an_alertmanager_is_reminded_of_what_is_live(capsys: pytest.CaptureFixture[str]) -> None:
    for k in range(3):
        send(capsys, "--name", f"Kind{k}", "--fingerprint", f"f{k}")
    run(capsys, "alerts", "send", "--level", "info", "--message", "x", "--fingerprint", "f1", "--resolved")
    run(capsys, "alerts", "deliver", "--once")
    container = Container(load_settings())
    with receiver() as alertmanager:
        channel = AlertmanagerChannel(alertmanager.url, container.wall_clock, timeout_seconds=60)
        keep_alive(container.alerts, channel, "runbooks", container.wall_clock)
        ends = {a["labels"]["fingerprint"]: a["endsAt"] for a in alertmanager.alerts().values()}
        now = container.wall_clock.now()
        assert {mark for mark, end in ends.items() if datetime.fromisoformat(end) > now} == {"f0", "f2"}
        # It forgets an end that comes while another alert inhibits it: Prometheus says so for long, too.
        assert ends.keys() == {"f0", "f1", "f2"}
        late = SettableClock(now + ALERTING.end_repeated)
        assert keep_alive(container.alerts, channel, "runbooks", late) == 2
        channel.close()
    container.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [("CRITICAL", "log"), ("WARNING", "carrier-pigeon"), ("ALERTMANAGER_URL", "alertmanager:9093")],
)
def test_a_route_that_leads_nowhere_names_its_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"AUTOTRADER_ALERTS__{name}", value)
    with pytest.raises(ConfigurationError, match=f"AUTOTRADER_ALERTS__{name}"):
        load_settings()
