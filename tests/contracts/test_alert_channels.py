"""What every channel promises, over real sockets, and what each API is sent."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from autotrader.adapters.smtp_mail import SmtpMailServer
from autotrader.alerts.channels.alertmanager import AlertmanagerChannel
from autotrader.alerts.channels.email import EmailChannel
from autotrader.alerts.channels.opsgenie import OpsgenieChannel
from autotrader.alerts.channels.pagerduty import PagerDutyChannel
from autotrader.alerts.channels.posting import patience
from autotrader.alerts.channels.slack import SlackChannel
from autotrader.alerts.channels.webhook import WebhookChannel
from autotrader.alerts.postbox import Postbox
from autotrader.config.settings import MailSettings
from autotrader.domain.alerts import Severity
from autotrader.domain.errors import ConfigurationError, Rejected, Throttled, Unreachable
from autotrader.ports.alerts import AlertState, Channel, Line, Message
from tests.fakes.alert_receivers import Fault, Receiver, receiver
from tests.fakes.clocks import SettableClock
from tests.fakes.mail import smtp_server
from tests.services import free_port

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
SECRET = "T0/B0/hunter2"
HOSTILE = "<!channel> <script>alert(1)</script> & <@U1|you> *bold*"
LINE = Line(
    "a1", "disk", "DiskSpaceLow", Severity.CRITICAL, AlertState.OPEN, HOSTILE,
    "https://example.com/alerts/DiskSpaceLow.md", "binance:BTCUSDT", 3, NOW, NOW, None,
)  # fmt: skip
MESSAGE = Message("thread1", True, Severity.CRITICAL, f"[CRITICAL] {HOSTILE}", (LINE,), 12, 0, NOW)
OVER = replace(MESSAGE, firing=False, lines=(replace(LINE, state=AlertState.RESOLVED, resolved_at=NOW),))
PATIENCE = 60.0  # of who is answered at once, however busy the machine is
LITTLE = 0.5  # of who is answered too late

MAKERS: dict[str, Callable[[str, float], Channel]] = {
    "slack": lambda url, seconds: SlackChannel(f"{url}/services/{SECRET}", CLOCK, timeout_seconds=seconds),
    "pagerduty": lambda url, seconds: PagerDutyChannel(
        url, SECRET, CLOCK, source="tests", timeout_seconds=seconds
    ),
    "opsgenie": lambda url, seconds: OpsgenieChannel(
        url, SECRET, CLOCK, source="tests", timeout_seconds=seconds
    ),
    "webhook": lambda url, seconds: WebhookChannel(f"{url}/{SECRET}", SECRET, CLOCK, timeout_seconds=seconds),
    "alertmanager": lambda url, seconds: AlertmanagerChannel(url, CLOCK, timeout_seconds=seconds),
}
CLOCK = SettableClock(NOW)


@pytest.fixture
def inside() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture(params=MAKERS)
def channel(request: pytest.FixtureRequest, inside: Receiver) -> Iterator[Channel]:
    made = MAKERS[request.param](inside.url, PATIENCE)
    yield made
    made.close()


def test_a_message_is_taken_on_and_so_is_its_end(channel: Channel, inside: Receiver) -> None:
    assert isinstance(channel, Channel)
    channel.send(MESSAGE)
    channel.send(OVER)
    assert len(inside.posted) == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(500), Unreachable),
        (Fault(503, body="later"), Unreachable),
        (Fault(408), Unreachable),
        (Fault(None), Unreachable),
        (Fault(429, {"Retry-After": "17"}), Throttled),
        (Fault(400, body="bad \x00\n<b> token=hunter2"), Rejected),
        (Fault(302, {"Location": "http://127.0.0.1:1/"}), Rejected),
        (Fault(401), ConfigurationError),
        (Fault(403), ConfigurationError),
    ],
)
def test_what_goes_wrong_is_named_without_a_secret_and_the_next_message_goes(
    channel: Channel, inside: Receiver, fault: Fault, error: type[Exception]
) -> None:
    inside.faults.append(fault)
    begin = time.monotonic()
    with pytest.raises(error) as raised:
        channel.send(MESSAGE)
    assert time.monotonic() - begin < PATIENCE
    assert type(raised.value) is error
    assert "hunter2" not in str(raised.value)
    assert str(raised.value).isprintable()
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    if isinstance(raised.value, Throttled):
        assert raised.value.retry_after_seconds == 17
    channel.send(MESSAGE)
    assert len(inside.posted) == 1


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("fault", [Fault(200, delay_seconds=3600), Fault(drip=True)], ids=["late", "drip"])
def test_an_answer_that_does_not_come_is_not_waited_for_and_the_next_message_goes(
    name: str, inside: Receiver, fault: Fault
) -> None:
    channel = MAKERS[name](inside.url, LITTLE)
    inside.faults.append(fault)
    with pytest.raises(Unreachable) as raised:
        channel.send(MESSAGE)
    assert "hunter2" not in str(raised.value)
    for _ in range(100):  # it has as little patience with an answer that is late by chance
        with contextlib.suppress(Unreachable):
            channel.send(MESSAGE)
            break
    assert inside.posted
    channel.close()


@pytest.mark.parametrize("name", MAKERS)
def test_one_that_is_not_there_is_away(name: str) -> None:
    channel = MAKERS[name](f"http://127.0.0.1:{free_port()}", PATIENCE)
    with pytest.raises(Unreachable) as raised:
        channel.send(MESSAGE)
    assert "hunter2" not in str(raised.value)
    channel.close()


@pytest.mark.parametrize("url", ["", "hooks.example.com", "file:///etc/passwd", "http://"])
def test_a_url_that_is_none_names_its_setting(url: str) -> None:
    with pytest.raises(ConfigurationError, match="AUTOTRADER_ALERTS__SLACK_URL"):
        SlackChannel(url, CLOCK, timeout_seconds=1)


def test_pagerduty_makes_one_incident_of_a_message_whose_answer_was_lost(inside: Receiver) -> None:
    channel = MAKERS["pagerduty"](inside.url, PATIENCE)
    inside.faults.append(Fault(None, takes_on=True))
    with pytest.raises(Unreachable):
        channel.send(MESSAGE)
    channel.send(MESSAGE)
    assert inside.incidents() == {"autotrader/thread1": "triggered"}
    channel.send(OVER)
    assert inside.incidents() == {"autotrader/thread1": "resolved"}
    path, _, body = inside.posted[0]
    assert path == "/v2/enqueue"
    assert (body["routing_key"], body["payload"]["severity"]) == (SECRET, "critical")
    assert body["links"] == [{"href": LINE.runbook, "text": "runbook"}]
    assert len(body["payload"]["summary"]) <= 1024
    channel.close()


def test_opsgenie_makes_one_alert_and_closing_one_that_is_gone_is_well(inside: Receiver) -> None:
    channel = MAKERS["opsgenie"](inside.url, PATIENCE)
    for _ in range(2):
        channel.send(MESSAGE)
    assert inside.aliases() == {"autotrader-thread1": "open"}
    _, headers, body = inside.posted[0]
    assert headers["Authorization"] == f"GenieKey {SECRET}"
    assert len(body["message"]) <= 130
    channel.send(OVER)
    assert inside.aliases() == {"autotrader-thread1": "closed"}
    inside.faults.append(Fault(404))
    channel.send(OVER)
    channel.close()


@pytest.mark.parametrize("name", ["pagerduty", "opsgenie"])
def test_a_pager_is_told_that_somebody_is_on_its_incident(name: str, inside: Receiver) -> None:
    channel = MAKERS[name](inside.url, PATIENCE)
    taken = replace(MESSAGE, acknowledged=True)
    for message in (MESSAGE, taken, taken):
        channel.send(message)
    found = inside.incidents() if name == "pagerduty" else inside.aliases()
    assert list(found.values()) == ["acknowledged"]
    assert "payload" not in inside.bodies()[1]
    channel.send(OVER)
    found = inside.incidents() if name == "pagerduty" else inside.aliases()
    assert list(found.values()) == ["resolved" if name == "pagerduty" else "closed"]
    channel.close()


def test_no_text_calls_a_slack_channel_or_makes_a_link(inside: Receiver) -> None:
    channel = MAKERS["slack"](inside.url, PATIENCE)
    channel.send(MESSAGE)
    (body,) = inside.bodies()
    shown = body["text"] + body["attachments"][0]["blocks"][0]["text"]["text"]
    assert "<" not in shown
    assert "&lt;!channel&gt;" in shown
    assert "and 11 more" in shown
    channel.close()


def test_alertmanager_knows_an_alert_by_its_labels_and_when_it_ends(inside: Receiver) -> None:
    channel = MAKERS["alertmanager"](inside.url, PATIENCE)
    channel.send(MESSAGE)
    channel.send(MESSAGE)
    ((_, alert),) = inside.alerts().items()
    assert alert["labels"] == {
        "alertname": "DiskSpaceLow", "severity": "critical", "fingerprint": "disk",
        "origin": "autotrader", "instrument": "binance:BTCUSDT",
    }  # fmt: skip
    assert alert["annotations"]["runbook_url"] == LINE.runbook
    assert datetime.fromisoformat(alert["endsAt"]) > NOW
    channel.send(OVER)
    ((_, alert),) = inside.alerts().items()
    assert (
        datetime.fromisoformat(alert["startsAt"])
        < datetime.fromisoformat(alert["endsAt"])
        < NOW + timedelta(1e-5)
    )
    channel.close()


def test_the_webhook_is_sent_the_key_and_the_token(inside: Receiver) -> None:
    channel = MAKERS["webhook"](inside.url, PATIENCE)
    channel.send(MESSAGE)
    _, headers, body = inside.posted[0]
    assert (headers["Idempotency-Key"], headers["Authorization"]) == ("thread1", f"Bearer {SECRET}")
    assert (body["status"], body["lines"][0]["message"], body["total"]) == ("firing", HOSTILE, 12)
    channel.close()


def test_a_mail_is_sent_once_and_waits_for_a_server_that_is_down(tmp_path: Path) -> None:
    def mail(port: int) -> EmailChannel:
        settings = MailSettings(host="127.0.0.1", port=port, starttls=False)
        server = SmtpMailServer(settings, pause_seconds=0, timeout_seconds=PATIENCE)
        recipients = ["on-call@example.com", "risk@example.com"]
        return EmailChannel(
            Postbox(tmp_path, server, sender="a@example.com", recipients=recipients, clock=CLOCK)
        )

    with pytest.raises(Unreachable):
        mail(free_port()).send(MESSAGE)
    with smtp_server() as server:
        for _ in range(2):
            mail(server.port).send(MESSAGE)
        assert [d.recipient for d in server.delivered] == ["on-call@example.com", "risk@example.com"]
        server.replies["RCPT"] = ["550 no", "550 no"]
        with pytest.raises(Rejected):
            mail(server.port).send(replace(MESSAGE, key="another"))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 30.0),
        ("7", 7.0),
        ("-5", 0.0),
        ("1e9", 3600.0),
        ("nan", 30.0),
        ("soon", 30.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        ("Mon, 99 Foo", 30.0),
        ("Sun, 01 Mar 2026 09:01:00", 30.0),
    ],
)
def test_patience_is_what_the_other_side_asks_for_within_an_hour(header: str | None, seconds: float) -> None:
    assert patience(header, NOW) == seconds
