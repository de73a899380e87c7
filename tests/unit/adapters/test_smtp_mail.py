"""Delivery to a real SMTP server on loopback, and to ones that misbehave."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from autotrader.adapters.smtp_mail import ATTEMPTS, SmtpMailServer
from autotrader.config.settings import MailSettings
from autotrader.domain.errors import ConfigurationError, Rejected, Throttled, Unreachable
from tests.fakes.mail import SmtpServer, make_certificate, smtp_server
from tests.services import free_port

MESSAGE = b"From: a@example.com\r\nTo: b@example.com\r\nSubject: x\r\n\r\nhello\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls") / "server.pem")


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with smtp_server() as running:
        yield running


def client(
    port: int, *, pause_seconds: float = 0.0, timeout_seconds: float = 60.0, **settings: Any
) -> SmtpMailServer:
    given = {"host": "127.0.0.1", "port": port, "starttls": False} | settings
    return SmtpMailServer(MailSettings(**given), pause_seconds=pause_seconds, timeout_seconds=timeout_seconds)


def send(to: SmtpMailServer) -> None:
    to.deliver(MESSAGE, sender="a@example.com", recipient="b@example.com")


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
def test_what_the_server_wants_later_is_tried_again_and_sent_once(server: SmtpServer, command: str) -> None:
    server.replies[command] = ["451 try again", "451 try again"]
    send(client(server.port))
    assert (server.attempts, len(server.delivered)) == (3, 1)


def test_between_tries_there_is_a_pause(server: SmtpServer) -> None:
    server.replies["RCPT"] = ["451 try again"]
    begun = time.monotonic()
    send(client(server.port, pause_seconds=0.2))
    assert time.monotonic() - begun >= 0.2


def test_after_three_tries_it_is_left_for_later(server: SmtpServer) -> None:
    server.replies["DATA"] = ["451 4.3.0 greylisted"] * 9
    with pytest.raises(Throttled, match=r"451 4\.3\.0 greylisted"):
        send(client(server.port))
    assert server.attempts == ATTEMPTS == 3


@pytest.mark.parametrize(("command", "what"), [("RCPT", "recipient b@example.com"), ("DATA", "the message")])
def test_what_is_refused_for_good_is_not_tried_again(server: SmtpServer, command: str, what: str) -> None:
    server.replies[command] = ["550 5.7.1 not here"]
    with pytest.raises(Rejected, match=f"550 5.7.1 not here to {what}"):
        send(client(server.port))
    assert (server.attempts, server.delivered) == (1, [])


def test_a_refused_sender_is_a_matter_of_the_setting(server: SmtpServer) -> None:
    server.replies["MAIL"] = ["553 not yours"]
    with pytest.raises(ConfigurationError, match=r"expected AUTOTRADER_MAIL__SENDER .* 553 not yours"):
        send(client(server.port))


def test_a_server_that_closes_is_unreachable_whatever_it_was_asked(server: SmtpServer) -> None:
    server.replies["RCPT"] = ["421 shutting down"] * 3
    with pytest.raises(Unreachable) as caught:
        send(client(server.port))
    assert not isinstance(caught.value, Throttled)


def test_a_server_that_hangs_up_after_taking_the_message_is_not_sent_it_again(server: SmtpServer) -> None:
    server.hangs_up = True
    send(client(server.port))
    assert (server.attempts, len(server.delivered)) == (1, 1)


def test_where_nobody_listens_it_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="did not answer as a mail server"):
        send(client(free_port()))


def test_a_server_that_says_nothing_is_given_up_after_the_time_out() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begun = time.monotonic()
        with pytest.raises(Unreachable, match="timed out"):
            send(client(silent.getsockname()[1], timeout_seconds=0.1))
    assert 0.3 <= time.monotonic() - begun < 30  # three tries


def test_a_server_that_dawdles_over_the_message_is_given_up_too(server: SmtpServer) -> None:
    server.delay_seconds = 0.5
    with pytest.raises(Unreachable):
        send(client(server.port, timeout_seconds=0.1))


def test_starttls_and_log_in_before_anything_else(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with smtp_server(certificate=certificate, wants_log_in=True) as server:
        send(client(server.port, starttls=True, user="mailer", password=SecretStr("right")))
    assert server.log_ins == [(b"mailer", True)]
    assert server.encrypted == [True]
    assert len(server.delivered) == 1


def test_a_wrong_password_is_named_without_being_shown_and_not_tried_again(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with smtp_server(certificate=certificate, wants_log_in=True) as server:
        to = client(server.port, starttls=True, user="mailer", password=SecretStr("hunter2"))
        with pytest.raises(ConfigurationError, match="AUTOTRADER_MAIL__PASSWORD") as caught:
            send(to)
    assert "hunter2" not in str(caught.value)
    assert server.log_ins == [(b"mailer", False)] * 2  # by PLAIN and by LOGIN, in one connection


def test_without_starttls_on_offer_nothing_is_sent_in_the_clear(server: SmtpServer) -> None:
    with pytest.raises(ConfigurationError, match=r"expected STARTTLS of 127\.0\.0\.1"):
        send(client(server.port, starttls=True))
    assert (server.attempts, server.delivered) == (0, [])


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    with (
        smtp_server(certificate=certificate) as server,
        pytest.raises(ConfigurationError, match=r"expected a certificate for .* can be trusted"),
    ):
        send(client(server.port, starttls=True))
    assert server.attempts == 0


def test_a_password_never_crosses_a_network_in_the_clear() -> None:
    with pytest.raises(ConfigurationError, match="MAIL__STARTTLS: expected true"):
        client(25, host="mail.example.com", user="mailer", password=SecretStr("x"))


def test_a_server_without_a_log_in_is_not_sent_to_anonymously(server: SmtpServer) -> None:
    with pytest.raises(ConfigurationError, match="to offer a log-in"):
        send(client(server.port, user="mailer", password=SecretStr("x")))
    assert server.attempts == 0


def test_a_user_without_a_password_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="MAIL__PASSWORD: expected one"):
        client(25, user="mailer")
