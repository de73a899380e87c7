"""Where finished messages are handed over for delivery."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class MailServer(Protocol):
    def deliver(self, message: bytes, *, sender: str, recipient: str) -> None:
        """Hand one message over for one recipient; returns once the server has taken it on.

        Where the connection is lost between the message and the server's word on it, it may have
        been taken on: tried again, it carries the same Message-ID.

        Parameters
        ----------
        message : bytes
            RFC 5322, lines ended by CRLF.
        sender, recipient : str
            Bare addresses of the envelope.

        Raises
        ------
        Throttled
            If the server answers and wants this message later.
        Unreachable
            If it does not answer, or takes no message now.
        Rejected
            If it refuses this message or this recipient for good.
        ConfigurationError
            If it does not let us in: a person must change a setting before any message goes.
        """
        ...
