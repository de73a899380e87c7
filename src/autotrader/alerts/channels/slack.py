"""Slack, by an incoming webhook. It knows no key: an answer that is lost makes the message come twice."""

from __future__ import annotations

from typing import Any

from autotrader.alerts.channels.posting import Poster
from autotrader.config.settings import PREFIX
from autotrader.domain.alerts import Severity
from autotrader.ports.alerts import ChannelName, Line, Message
from autotrader.ports.clock import WallClock

SETTING = f"{PREFIX}ALERTS__SLACK_URL"
_MOST_TEXT = 2_900  # Slack takes 3,000 of a section
_COLOURS = {Severity.CRITICAL: "#b91c1c", Severity.WARNING: "#d97706", Severity.INFO: "#2563eb"}
_GREEN = "#15803d"


class SlackChannel:
    """Posts to the channel that the webhook is of."""

    name = ChannelName.SLACK

    def __init__(self, url: str, clock: WallClock, *, timeout_seconds: float) -> None:
        self._poster = Poster("Slack", SETTING, url, clock, timeout_seconds=timeout_seconds)

    def send(self, message: Message) -> None:
        self._poster.post(body_of(message))

    def close(self) -> None:
        self._poster.close()


def body_of(message: Message) -> dict[str, Any]:
    """`text` is what a notification shows, the attachment what the channel does."""
    lines = "\n".join(map(_line, message.lines))
    more = message.total - len(message.lines)
    if more > 0:
        lines += f"\nand {more:,} more"
    section = {"type": "section", "text": {"type": "mrkdwn", "text": lines[:_MOST_TEXT]}}
    colour = _COLOURS[message.severity] if message.firing else _GREEN
    return {
        "text": _escaped(message.title),
        "attachments": [{"color": colour, "blocks": [section]}],
    }


def _line(line: Line) -> str:
    text = f"*{_escaped(line.name)}* ({line.severity}, {line.state}): {_escaped(line.message)}"
    if line.count > 1:
        text += f" ({line.count} times)"
    if line.instrument:
        text += f" [{_escaped(line.instrument)}]"
    return f"{text}\n{_escaped(line.runbook)}" if line.runbook else text


def _escaped(text: str) -> str:
    # With these three replaced, no text can name a person, call the channel or make a link.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
