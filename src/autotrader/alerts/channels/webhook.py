"""A webhook of one's own: JSON, with the message's key in `Idempotency-Key`."""

from __future__ import annotations

from autotrader.alerts.channels.posting import Poster
from autotrader.command import to_plain
from autotrader.config.settings import PREFIX
from autotrader.ports.alerts import ChannelName, Message
from autotrader.ports.clock import WallClock

SETTING = f"{PREFIX}ALERTS__WEBHOOK_URL"


class WebhookChannel:
    """Posts the message as it is."""

    name = ChannelName.WEBHOOK

    def __init__(self, url: str, token: str | None, clock: WallClock, *, timeout_seconds: float) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._poster = Poster(
            "the webhook", SETTING, url, clock, timeout_seconds=timeout_seconds, headers=headers
        )

    def send(self, message: Message) -> None:
        body = {**to_plain(message), "status": "firing" if message.firing else "resolved"}
        self._poster.post(body, headers={"Idempotency-Key": message.key})

    def close(self) -> None:
        self._poster.close()
