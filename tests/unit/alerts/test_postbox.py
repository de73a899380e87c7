"""A letter is on disk before it is sent, goes out once, and is never lost."""

from __future__ import annotations

import email
import email.policy
import os
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.alerts.mail import Letter
from autotrader.alerts.postbox import MailState, Postbox
from autotrader.domain.errors import BadData, ConfigurationError, Rejected, Throttled, Unreachable
from autotrader.ports.mail import MailServer
from tests.fakes.clocks import SettableClock
from tests.fakes.mail import InMemoryMailServer

NOW = datetime(2024, 2, 29, 21, 30, tzinfo=UTC)
BOTH = ("b@example.com", "c@example.com")


def letter(key: str = "report", text: str = "hello\n") -> Letter:
    return Letter(key, "Subject", f"<p>{text}</p>", text)


def postbox(
    folder: Path, server: MailServer | None, recipients: Sequence[str] = ("b@example.com",)
) -> Postbox:
    return Postbox(folder, server, sender="a@example.com", recipients=recipients, clock=SettableClock(NOW))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.eml"))


def test_a_letter_goes_to_each_recipient_alone_and_ends_among_the_sent(tmp_path: Path) -> None:
    server = InMemoryMailServer()
    posted = postbox(tmp_path, server, BOTH).post(letter())
    assert [(p.recipient, p.state, p.reason) for p in posted] == [(r, MailState.SENT, "") for r in BOTH]
    assert names(tmp_path) == ["sent/report,b@example.com.eml", "sent/report,c@example.com.eml"]
    assert [p.file.name for p in posted] == ["report,b@example.com.eml", "report,c@example.com.eml"]
    for delivered in server.delivered:
        mail = email.message_from_bytes(delivered.content, policy=email.policy.default)
        assert (mail["To"], delivered.sender) == (delivered.recipient, "a@example.com")


def test_the_same_key_is_never_sent_twice_whatever_it_says(tmp_path: Path) -> None:
    server = InMemoryMailServer()
    postbox(tmp_path, server).post(letter())
    (again,) = postbox(tmp_path, server).post(letter(text="something else\n"))
    assert (again.state, len(server.delivered)) == (MailState.SENT, 1)


def test_a_letter_is_durable_before_the_server_is_asked(tmp_path: Path) -> None:
    class Looking(InMemoryMailServer):
        def deliver(self, message: bytes, *, sender: str, recipient: str) -> None:
            assert (tmp_path / "report,b@example.com.eml").read_bytes() == message
            super().deliver(message, sender=sender, recipient=recipient)

    server = Looking()
    postbox(tmp_path, server).post(letter())
    assert len(server.delivered) == 1


@pytest.mark.parametrize("error", [Unreachable("down"), ConfigurationError("wrong password")])
def test_while_the_server_does_not_let_us_in_letters_wait_and_then_all_go(
    tmp_path: Path, error: Exception
) -> None:
    server = InMemoryMailServer(failures=[error])
    box = postbox(tmp_path, server, BOTH)
    first, second = box.post(letter("one"))
    assert (first.state, first.reason) == (MailState.WAITING, str(error))
    assert second.state is MailState.WAITING
    assert server.asked == 1  # the second would have failed alike
    box.post(letter("two"))
    assert names(tmp_path) == sorted(f"sent/{key},{to}.eml" for key in ("one", "two") for to in BOTH)
    assert len(server.delivered) == 4


def test_a_recipient_whose_server_wants_it_later_does_not_hold_the_others_up(tmp_path: Path) -> None:
    server = InMemoryMailServer(failures=[Throttled("greylisted", retry_after_seconds=1)])
    first, second = postbox(tmp_path, server, BOTH).post(letter())
    assert (first.state, second.state) == (MailState.WAITING, MailState.SENT)


def test_what_is_refused_for_good_is_kept_apart_with_its_reason_and_not_tried_again(tmp_path: Path) -> None:
    server = InMemoryMailServer(failures=[Rejected("550 no such user")])
    box = postbox(tmp_path, server)
    (posted,) = box.post(letter())
    assert (posted.state, posted.reason) == (MailState.REFUSED, "550 no such user")
    assert names(tmp_path) == ["refused/report,b@example.com.eml"]
    (again,) = box.post(letter())
    assert (again.state, server.asked) == (MailState.REFUSED, 1)


def test_moved_back_by_a_person_it_is_tried_again(tmp_path: Path) -> None:
    server = InMemoryMailServer(failures=[Rejected("550 no such user")])
    box = postbox(tmp_path, server)
    (posted,) = box.post(letter())
    posted.file.rename(tmp_path / posted.file.name)
    (again,) = box.deliver()
    assert again.state is MailState.SENT


def test_without_a_server_letters_are_kept_and_go_once_there_is_one(tmp_path: Path) -> None:
    (posted,) = postbox(tmp_path, None).post(letter())
    assert (posted.state, posted.reason) == (
        MailState.KEPT,
        "no mail server is set (AUTOTRADER_MAIL__HOST)",
    )
    server = InMemoryMailServer()
    assert [p.key for p in postbox(tmp_path, server).deliver()] == ["report"]
    assert len(server.delivered) == 1


def test_a_letter_to_nobody_is_kept_and_never_asked_of_the_server(tmp_path: Path) -> None:
    server = InMemoryMailServer()
    (posted,) = postbox(tmp_path, server, ()).post(letter())
    assert (posted.state, posted.recipient) == (MailState.KEPT, None)
    assert "AUTOTRADER_MAIL__RECIPIENTS" in posted.reason
    assert (names(tmp_path), server.asked) == (["report.eml"], 0)


def test_writing_alone_asks_nobody(tmp_path: Path) -> None:
    server = InMemoryMailServer()
    box = postbox(tmp_path, server)
    assert [f.name for f in box.write(letter())] == ["report,b@example.com.eml"]
    assert server.asked == 0
    box.deliver()
    assert len(server.delivered) == 1


def test_two_that_deliver_at_once_send_each_letter_once(tmp_path: Path) -> None:
    class Slow(InMemoryMailServer):
        def deliver(self, message: bytes, *, sender: str, recipient: str) -> None:
            time.sleep(0.02)
            super().deliver(message, sender=sender, recipient=recipient)

    server = Slow()
    boxes = [postbox(tmp_path, server) for _ in range(4)]
    for key in ("one", "two", "three"):
        boxes[0].write(letter(key))
    threads = [threading.Thread(target=box.post, args=[letter("four")]) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(server.delivered) == 4
    assert len(names(tmp_path / "sent")) == 4


def test_a_letter_with_a_forged_header_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadData):
        postbox(tmp_path, InMemoryMailServer()).post(Letter("k", "a\nBcc: x@evil.example", "", ""))
    assert names(tmp_path) == []


def test_a_wrong_address_in_the_settings_is_found_before_the_first_letter(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected a mail address"):
        postbox(tmp_path, None, ["b@example.com\nBcc: x@evil.example"])


def test_old_mail_is_forgotten_but_not_what_waits(tmp_path: Path) -> None:
    server = InMemoryMailServer()
    box = postbox(tmp_path, server)
    box.post(letter("old"))
    box.post(letter("new"))
    server.failures.append(Rejected("no"))
    box.post(letter("refused"))
    server.failures.append(Unreachable("down"))
    box.post(letter("waits"))
    for file in tmp_path.rglob("*.eml"):
        if "new" not in file.name:
            os.utime(file, (0, 0))
    assert box.forget(timedelta(days=30)) == 2
    assert names(tmp_path) == ["sent/new,b@example.com.eml", "waits,b@example.com.eml"]
    assert postbox(tmp_path, None).forget(timedelta(days=30)) == 1  # nobody will ever send it
