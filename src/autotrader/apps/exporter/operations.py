"""Backups and alerts, as the database tells of them."""

from __future__ import annotations

from autotrader.apps.exporter.reading import Reading
from autotrader.ports.alerts import Alerts
from autotrader.ports.events import EventLog, EventType


class Backups:
    """Reads the business log: a set that is complete is told there."""

    def __init__(self, events: EventLog) -> None:
        self._events = events

    def read(self, reading: Reading) -> None:
        """Add when the newest set was complete; where there is none, since when one is awaited.

        Raises
        ------
        Unreachable
            If the database does not answer.
        """
        for event in self._events.recent(type=EventType.BACKUP, severity="info", limit=1):
            reading.add("backup_last_success_timestamp_seconds", event.at.timestamp())
            return
        # Not since the exporter looks: one that is started anew each day would wait for ever.
        began = self._events.began_at()
        reading.add("backup_awaited_since_timestamp_seconds", began.timestamp() if began else None)


class AlertCounts:
    """Reads what the outbox counts of itself."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts

    def read(self, reading: Reading) -> None:
        """Add how many were sent, given up and kept back.

        Raises
        ------
        Unreachable
            If the database does not answer.
        """
        totals = self._alerts.totals()
        for (channel, severity), count in totals.sent.items():
            reading.add("alerts_sent_total", count, channel=channel, severity=severity)
        for channel, count in totals.failed.items():
            reading.add("alerts_failed_total", count, channel=channel)
        for severity, count in totals.suppressed.items():
            reading.add("alerts_suppressed_total", count, severity=severity)
