"""Mail, through the postbox: a folder that knows which letters were sent."""

from __future__ import annotations

from autotrader.alerts.postbox import MailState, Postbox
from autotrader.alerts.reports import alert_letter
from autotrader.domain.errors import ConfigurationError, Rejected, Unreachable
from autotrader.ports.alerts import ChannelName, Message


class EmailChannel:
    """A letter to all recipients; those who have it get no second one when it is sent again."""

    name = ChannelName.EMAIL

    def __init__(self, postbox: Postbox) -> None:
        self._postbox = postbox

    def send(self, message: Message) -> None:
        posted = self._postbox.post(alert_letter(message))
        states = {one.state: one.reason for one in posted}
        if MailState.KEPT in states:
            raise ConfigurationError(f"expected to send a mail, was kept: {states[MailState.KEPT]}")
        if MailState.WAITING in states:
            raise Unreachable(states[MailState.WAITING])
        if set(states) == {MailState.REFUSED}:
            raise Rejected(states[MailState.REFUSED])

    def close(self) -> None:
        """Nothing is held open."""
