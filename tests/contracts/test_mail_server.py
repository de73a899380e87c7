"""What every home of the mail server port promises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autotrader.adapters.smtp_mail import SmtpMailServer
from autotrader.config.settings import MailSettings
from autotrader.domain.errors import Rejected, Throttled
from autotrader.ports.mail import MailServer
from tests.fakes.mail import InMemoryMailServer, SmtpServer, smtp_server

MESSAGE = b"From: a@example.com\r\nTo: b@example.com\r\nSubject: x\r\n\r\nline\r\n.\r\nafter a dot\r\n"

Home = tuple[MailServer, InMemoryMailServer | SmtpServer]


@pytest.fixture(params=["memory", "smtp"])
def home(request: pytest.FixtureRequest) -> Iterator[Home]:
    if request.param == "memory":
        memory = InMemoryMailServer()
        yield memory, memory
        return
    with smtp_server() as server:
        settings = MailSettings(host="127.0.0.1", port=server.port, starttls=False)
        yield SmtpMailServer(settings, pause_seconds=0), server


def refuse(server: InMemoryMailServer | SmtpServer, *, code: int) -> None:
    """Have the server answer every try of the next message so."""
    if isinstance(server, SmtpServer):
        server.replies["RCPT"] = [f"{code} no"] * (1 if code >= 500 else 3)
    else:
        no = Rejected("no") if code >= 500 else Throttled("later", retry_after_seconds=1)
        server.failures.append(no)


def test_a_message_arrives_byte_for_byte_at_its_one_recipient(home: Home) -> None:
    server, inside = home
    server.deliver(MESSAGE, sender="a@example.com", recipient="b@example.com")
    (delivered,) = inside.delivered
    assert (delivered.sender, delivered.recipient) == ("a@example.com", "b@example.com")
    assert delivered.content == MESSAGE


@pytest.mark.parametrize(("code", "error"), [(550, Rejected), (450, Throttled)])
def test_a_refused_recipient_is_an_error_and_the_next_message_goes(
    home: Home, code: int, error: type[Exception]
) -> None:
    server, inside = home
    refuse(inside, code=code)
    with pytest.raises(error):
        server.deliver(MESSAGE, sender="a@example.com", recipient="b@example.com")
    server.deliver(MESSAGE, sender="a@example.com", recipient="c@example.com")
    assert [d.recipient for d in inside.delivered] == ["c@example.com"]
