"""Alerts that were told and ended while nobody could say so.

An alert that another one inhibits ends in silence: Alertmanager tells nobody, and Prometheus repeats
for a quarter of an hour only that it cleared. Both are asked, and what neither knows is over.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from autotrader.alerts.delivery import every_live
from autotrader.alerts.relayed import RELAYED, patience
from autotrader.alerts.rules import ITSELF
from autotrader.alerts.witnesses import Known
from autotrader.ports.alerts import Alert, Alerts
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventLog, EventType

UNKNOWN = "no longer known to Prometheus"

log = structlog.get_logger(__name__)


class LostEnds:
    """Ends what is over, as a webhook would: by an entry of the business log.

    Since when an alert is unknown is held here alone: a process that starts, and one that was not
    answered, waits the whole time anew.

    Parameters
    ----------
    alerts : Alerts
    events : EventLog
    witnesses : callable
        What is known at this moment, or None while that says nothing: see `Witnesses`.
    clock : WallClock
    """

    def __init__(
        self, alerts: Alerts, events: EventLog, witnesses: Callable[[], Known | None], clock: WallClock
    ) -> None:
        self._alerts = alerts
        self._events = events
        self._witnesses = witnesses
        self._clock = clock
        self._unknown_since: dict[str, float] = {}

    def look(self) -> int:
        """End what nobody has known for long enough; returns how many. Raises as `Witnesses` does."""
        # Before they are asked: one that was told later is none of those that they do not know.
        told = [alert for alert in every_live(self._alerts) if alert.relayed]
        before, self._unknown_since = self._unknown_since, {}
        if not told:
            return 0
        known = self._witnesses()
        if known is None:
            return 0
        moment = self._clock.monotonic()
        ended = 0
        for alert in told:
            if alert.name not in known.judged or alert.fingerprint in known.fingerprints:
                continue
            since = self._unknown_since[alert.id] = before.get(alert.id, moment)
            if moment - since >= patience(alert.severity).total_seconds():
                ended += self._events.record(end_of(alert, UNKNOWN, "unknown", self._clock.now()))
        if ended:
            log.warning("alerts are over, of which nobody said so", ended=ended, reason=UNKNOWN)
        return ended


def end_of(alert: Alert, why: str, word: str, now: datetime) -> Event:
    """That the alert is over, as it was raised last; the same told twice is one entry.

    Parameters
    ----------
    why : str
        A sentence for a person.
    word : str
        The same, as part of a key.
    """
    began = RELAYED if alert.relayed else "alert"
    return Event(
        # Where it is raised again meanwhile, this is no word on that.
        key=f"{began}/{alert.id}/{alert.last_at.isoformat()}/{word}",
        type=EventType.ALERT,
        severity=alert.severity.value,
        message=why,
        actor=ITSELF,
        at=now,
        instrument=alert.instrument,
        data={
            "alert": alert.name,
            "source": ITSELF,
            "fingerprint": alert.fingerprint,
            "resolved": True,
            "starts_at": alert.last_at.isoformat(),
            "runbook": alert.runbook,
        },
    )
