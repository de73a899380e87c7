"""A folder between us and the mail server: a letter is durable here before anybody tries to send it.

<home>/mail/<key>,<recipient>.eml           waits for the server, or for a setting that names one
<home>/mail/sent/                           was taken on by the server
<home>/mail/refused/                        was refused for good; moved back up, it is tried again
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import fcntl
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

import structlog

from autotrader.alerts.mail import Letter, message, require_address
from autotrader.domain.errors import ConfigurationError, Rejected, Throttled, Unreachable
from autotrader.files import storage_errors, sync, write_atomically
from autotrader.ports.clock import WallClock
from autotrader.ports.mail import MailServer

log = structlog.get_logger(__name__)

_NO_SERVER = "no mail server is set (AUTOTRADER_MAIL__HOST)"
_NO_RECIPIENT = "no recipient is set (AUTOTRADER_MAIL__RECIPIENTS)"


class MailState(StrEnum):
    """Where a mail is. KEPT: nobody is to get it, or there is no server; the file is all there is."""

    SENT = "sent"
    WAITING = "waiting"
    REFUSED = "refused"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a letter for one recipient.

    Attributes
    ----------
    key : str
    recipient : str or None
    state : MailState
    reason : str
        Why it is not sent; empty where it is.
    file : Path
    """

    key: str
    recipient: str | None
    state: MailState
    reason: str
    file: Path


class Postbox:
    """Any process of this home may post; each file is delivered by one of them at a time.

    A letter goes out once for each recipient. The one exception is a process or a connection that
    dies between the message and the server's word on it: then it may go out twice, under one
    Message-ID, since the other choice is to lose it.

    Parameters
    ----------
    folder : Path
    server : MailServer or None
        None: letters are kept in the folder.
    sender : str
    recipients : sequence of str
    clock : WallClock

    Raises
    ------
    ConfigurationError
        If an address is none.
    """

    def __init__(
        self,
        folder: Path,
        server: MailServer | None,
        *,
        sender: str,
        recipients: Sequence[str],
        clock: WallClock,
    ) -> None:
        self._folder = folder
        self._server = server
        self._sender = require_address(sender)
        self._recipients: tuple[str | None, ...] = tuple(map(require_address, recipients)) or (None,)
        self._clock = clock

    def post(self, letter: Letter) -> tuple[Posted, ...]:
        """Write the letter, then deliver whatever waits; takes as long as the server lets us wait."""
        files = self.write(letter)
        outcomes = {posted.file.name: posted for posted in self.deliver(first=files)}
        return tuple(
            outcomes.get(file.name) or self._state_of(letter.key, recipient, file)
            for recipient, file in zip(self._recipients, files, strict=True)
        )

    def write(self, letter: Letter) -> list[Path]:
        """Make the letter durable for each recipient, without asking the server.

        Returns
        -------
        list of Path
            Where each is to be found as long as it waits. One that is known already, sent or not,
            is left as it is.

        Raises
        ------
        BadData
            If key or subject would reach into another header of the message.
        Rejected, DependencyError
            If the storage does not let us.
        """
        files = []
        at = self._clock.now()
        with self._writing():
            for recipient in self._recipients:
                content = message(letter, sender=self._sender, recipient=recipient, at=at)
                file = self._folder / _file_name(letter.key, recipient)
                # Waiting first: a delivery meanwhile moves it to where we look next.
                if not any((folder / file.name).exists() for folder in (self._folder, *self._ends)):
                    write_atomically(file, content)
                files.append(file)
        return files

    def deliver(self, *, first: Sequence[Path] = ()) -> list[Posted]:
        """Try to send every mail that waits, those named first, then the newest.

        Once the server does not answer or does not let us in, the others are not tried.
        """
        if self._server is None:
            return []
        outcomes = []
        for file in dict.fromkeys((*first, *self._waiting())):
            posted, go_on = self._deliver(self._server, file)
            if posted:
                outcomes.append(posted)
            if not go_on:
                break
        return outcomes

    def newest_key(self, prefix: str, *, pattern: re.Pattern[str]) -> str | None:
        """The last in text order of the known letters' keys that are the prefix and what the pattern fits."""
        found = (
            file.name.removesuffix(".eml").partition(",")[0]
            for folder in (self._folder, *self._ends)
            for file in folder.glob(f"{prefix}*.eml")
        )
        return max((key for key in found if pattern.fullmatch(key.removeprefix(prefix))), default=None)

    def forget(self, older_than: timedelta) -> int:
        """Delete mails that are older, but for those that wait for a server that is set; returns how many."""
        before = time.time() - older_than.total_seconds()
        ended = [file for folder in self._ends for file in folder.glob("*.eml")]
        kept = self._waiting() if self._server is None else []
        old = [file for file in (*ended, *kept) if _written_at(file) < before]
        for file in old:
            file.unlink(missing_ok=True)
        return len(old)

    def _deliver(self, server: MailServer, file: Path) -> tuple[Posted | None, bool]:
        """Outcome, None where there is nothing to deliver (any more); and whether to try others."""
        try:
            with file.open("rb") as held:
                fcntl.flock(held, fcntl.LOCK_EX)  # another process may be sending it right now
                if not file.exists():
                    return None, True
                content = held.read()
                sender, recipient = _addresses(content)
                if sender is None or recipient is None:
                    return None, True
                key = file.name.removesuffix(_suffix(recipient))
                try:
                    server.deliver(content, sender=sender, recipient=recipient)
                except (Unreachable, ConfigurationError) as error:
                    log.warning("mail waits", file=file.name, error=str(error))
                    waits = Posted(key, recipient, MailState.WAITING, str(error), file)
                    return waits, isinstance(error, Throttled)
                except Rejected as error:
                    log.error("mail was refused", file=file.name, error=str(error))
                    refused = _move(file, self._refused)
                    return Posted(key, recipient, MailState.REFUSED, str(error), refused), True
                return Posted(key, recipient, MailState.SENT, "", _move(file, self._sent)), True
        except FileNotFoundError:
            return None, True

    def _state_of(self, key: str, recipient: str | None, file: Path) -> Posted:
        if (self._sent / file.name).exists():
            return Posted(key, recipient, MailState.SENT, "", self._sent / file.name)
        if (self._refused / file.name).exists():
            reason = "it was refused before"
            return Posted(key, recipient, MailState.REFUSED, reason, self._refused / file.name)
        if self._server and recipient:
            reason = "the mail server did not take the one before"
            return Posted(key, recipient, MailState.WAITING, reason, file)
        return Posted(key, recipient, MailState.KEPT, _NO_RECIPIENT if self._server else _NO_SERVER, file)

    def _waiting(self) -> list[Path]:
        return sorted(self._folder.glob("*.eml"), key=_written_at, reverse=True)

    @property
    def _sent(self) -> Path:
        return self._folder / "sent"

    @property
    def _refused(self) -> Path:
        return self._folder / "refused"

    @property
    def _ends(self) -> tuple[Path, Path]:
        return self._sent, self._refused

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer at a time: a letter that two processes post at once is one."""
        with storage_errors(f"write {self._folder}"):
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = (self._folder / ".lock").open("a")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _file_name(key: str, recipient: str | None) -> str:
    return f"{key}{_suffix(recipient)}"


def _suffix(recipient: str | None) -> str:
    # No key and no address has a comma.
    return f",{quote(recipient, safe='@+')}.eml" if recipient else ".eml"


def _written_at(file: Path) -> float:
    """Seconds since the epoch; 0 where somebody has moved it meanwhile."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _addresses(content: bytes) -> tuple[str | None, str | None]:
    headers = email.message_from_bytes(content, policy=email.policy.SMTP)
    return headers["From"], headers["To"]


def _move(file: Path, folder: Path) -> Path:
    with storage_errors(f"move {file.name} to {folder}"):
        folder.mkdir(exist_ok=True)
        moved = file.rename(folder / file.name)
        sync(folder)
    return moved
