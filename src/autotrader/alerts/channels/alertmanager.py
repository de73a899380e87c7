"""An Alertmanager, by its API v2: it knows an alert by its labels, so that telling it twice is once.

It forgets an alert that is not told again: live ones are repeated by `keep`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from autotrader.alerts.channels.posting import Poster
from autotrader.config.settings import PREFIX
from autotrader.ports.alerts import AlertState, ChannelName, Line, Message
from autotrader.ports.clock import WallClock

SETTING = f"{PREFIX}ALERTS__ALERTMANAGER_URL"
ORIGIN = "autotrader"
REPEAT = timedelta(minutes=1)
_FORGOTTEN_AFTER = 5 * REPEAT


class AlertmanagerChannel:
    """Posts alerts; who is told, and when again, is its own affair."""

    name = ChannelName.ALERTMANAGER

    def __init__(self, url: str, clock: WallClock, *, timeout_seconds: float) -> None:
        self._poster = Poster(
            "Alertmanager", SETTING, url.rstrip("/"), clock, timeout_seconds=timeout_seconds
        )
        self._clock = clock

    def send(self, message: Message) -> None:
        self.keep(message.lines)

    def keep(self, lines: Sequence[Line]) -> None:
        """Say of each that it is still so, or that it is over."""
        now = self._clock.now()
        self._poster.post([_body(line, now) for line in lines], "/api/v2/alerts")

    def close(self) -> None:
        self._poster.close()


def _body(line: Line, now: datetime) -> dict[str, Any]:
    over = line.state is AlertState.RESOLVED
    ends_at = (line.resolved_at or now) if over else now + _FORGOTTEN_AFTER
    labels = {
        "alertname": line.name,
        "severity": line.severity.value,
        "fingerprint": line.fingerprint,
        "origin": ORIGIN,
    }
    annotations = {"summary": line.message, "runbook_url": line.runbook, "alert_id": line.id}
    return {
        "labels": {**labels, "instrument": line.instrument} if line.instrument else labels,
        "annotations": {name: value for name, value in annotations.items() if value},
        "startsAt": line.first_at.isoformat(),
        # It refuses an end before the beginning, which a clock that was set back would make.
        "endsAt": max(ends_at, line.first_at + timedelta(milliseconds=1)).isoformat(),
    }
