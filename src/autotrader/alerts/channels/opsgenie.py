"""Opsgenie, by its Alert API. Its `alias` keeps a message that is sent twice one alert."""

from __future__ import annotations

from urllib.parse import quote

from autotrader.alerts.channels.posting import Poster
from autotrader.alerts.messages import plain_text
from autotrader.alerts.wording import one_line
from autotrader.config.settings import PREFIX
from autotrader.domain.alerts import Severity
from autotrader.ports.alerts import ChannelName, Message
from autotrader.ports.clock import WallClock

SETTING = f"{PREFIX}ALERTS__OPSGENIE_KEY"
_PRIORITY = {Severity.CRITICAL: "P1", Severity.WARNING: "P3", Severity.INFO: "P5"}
_MOST_MESSAGE, _MOST_DESCRIPTION = 130, 15_000


class OpsgenieChannel:
    """Creates an alert, acknowledges and closes it."""

    name = ChannelName.OPSGENIE

    def __init__(self, url: str, key: str, clock: WallClock, *, source: str, timeout_seconds: float) -> None:
        headers = {"Authorization": f"GenieKey {key}"}
        self._poster = Poster(
            "Opsgenie", SETTING, url, clock, timeout_seconds=timeout_seconds, headers=headers
        )
        self._source = source

    def send(self, message: Message) -> None:
        alias = f"autotrader-{message.key}"
        if message.acknowledged or not message.firing:
            action = "acknowledge" if message.firing else "close"
            path = f"/v2/alerts/{quote(alias, safe='')}/{action}?identifierType=alias"
            body = {"source": self._source, "note": message.title}
            # One that nobody was ever told of needs no end, and nobody to look after it.
            self._poster.post(body, path, gone_is_well=True)
            return
        self._poster.post(
            {
                "alias": alias,
                "message": one_line(message.title, _MOST_MESSAGE),
                "description": plain_text(message)[:_MOST_DESCRIPTION],
                "priority": _PRIORITY[message.severity],
                "source": self._source,
                "tags": ["autotrader", message.severity.value],
            },
            "/v2/alerts",
        )

    def close(self) -> None:
        self._poster.close()
