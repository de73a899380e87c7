"""PagerDuty, by Events API v2. Its `dedup_key` keeps a message that is sent twice one incident."""

from __future__ import annotations

from typing import Any

from autotrader.alerts.channels.posting import Poster
from autotrader.alerts.messages import plain_text
from autotrader.alerts.relayed import dedup_key
from autotrader.config.settings import PREFIX
from autotrader.ports.alerts import ChannelName, Message
from autotrader.ports.clock import WallClock

SETTING = f"{PREFIX}ALERTS__PAGERDUTY_KEY"
_MOST_DETAILS = 20_000  # of the 512 KB that an event may have


class PagerDutyChannel:
    """Triggers an incident, acknowledges and resolves it."""

    name = ChannelName.PAGERDUTY

    def __init__(self, url: str, key: str, clock: WallClock, *, source: str, timeout_seconds: float) -> None:
        self._poster = Poster("PagerDuty", SETTING, url, clock, timeout_seconds=timeout_seconds)
        self._key = key
        self._source = source

    def send(self, message: Message) -> None:
        begins = message.firing and not message.acknowledged
        event: dict[str, Any] = {
            "routing_key": self._key,
            "event_action": "trigger" if begins else "acknowledge" if message.firing else "resolve",
            "dedup_key": dedup_key(message.key),
        }
        if begins:
            event |= {
                "client": "autotrader",
                "payload": {
                    "summary": message.title,
                    "source": self._source,
                    "severity": message.severity.value,
                    "timestamp": message.at.isoformat(),
                    "class": message.lines[0].name,
                    "custom_details": {"alerts": plain_text(message)[:_MOST_DETAILS]},
                },
                "links": [
                    {"href": url, "text": "runbook"}
                    for url in dict.fromkeys(line.runbook for line in message.lines)
                    if url.startswith(("http://", "https://"))
                ],
            }
        self._poster.post(event, "/v2/enqueue")

    def close(self) -> None:
        self._poster.close()
