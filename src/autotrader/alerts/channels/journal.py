"""The log of the process that delivers: always on, never away."""

from __future__ import annotations

import structlog

from autotrader.domain.alerts import Severity
from autotrader.ports.alerts import ChannelName, Message

log = structlog.get_logger(__name__)


class LogChannel:
    name = ChannelName.LOG

    def send(self, message: Message) -> None:
        say = log.info if not message.firing or message.severity is Severity.INFO else log.warning
        if message.firing and message.severity is Severity.CRITICAL:
            say = log.error
        first = message.lines[0]
        say(
            message.title,
            alert=first.name,
            alert_id=first.id,
            alerts=message.total,
            severity=message.severity.value,
            firing=message.firing,
            runbook=first.runbook,
        )

    def close(self) -> None:
        """Nothing is held open."""
