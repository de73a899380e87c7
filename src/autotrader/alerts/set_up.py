"""From settings to the routes, and to the channels that they name."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from autotrader.alerts.channels.alertmanager import AlertmanagerChannel
from autotrader.alerts.channels.email import EmailChannel
from autotrader.alerts.channels.journal import LogChannel
from autotrader.alerts.channels.opsgenie import OpsgenieChannel
from autotrader.alerts.channels.pagerduty import PagerDutyChannel
from autotrader.alerts.channels.slack import SlackChannel
from autotrader.alerts.channels.webhook import WebhookChannel
from autotrader.alerts.postbox import Postbox
from autotrader.alerts.relayed import PEOPLE
from autotrader.alerts.routing import Routing
from autotrader.alerts.witnesses import Witnesses
from autotrader.config.settings import Settings
from autotrader.domain.alerts import Severity
from autotrader.ports.alerts import Channel, ChannelName
from autotrader.ports.clock import WallClock


def routing_of(settings: Settings) -> Routing:
    """The routes of the settings over the channels that are set up."""
    alerts, mail = settings.alerts, settings.mail
    known = {
        ChannelName.EMAIL: mail.host and mail.recipients,
        ChannelName.SLACK: alerts.slack_url,
        ChannelName.PAGERDUTY: alerts.pagerduty_key,
        ChannelName.OPSGENIE: alerts.opsgenie_key,
        ChannelName.WEBHOOK: alerts.webhook_url,
    }
    relay = {severity: name for severity, (name, _) in PEOPLE.items() if known[name]}
    if alerts.alertmanager_url:
        return Routing(ready=(ChannelName.ALERTMANAGER,), relay=relay)
    return Routing(
        ready=tuple(name for name, is_set in known.items() if is_set),
        routes={
            Severity.CRITICAL: alerts.critical,
            Severity.WARNING: alerts.warning,
            Severity.INFO: alerts.info,
        },
        escalation=alerts.escalation,
        relay=relay,
    )


def open_channels(settings: Settings, postbox: Postbox, clock: WallClock) -> Sequence[Channel]:
    """The log, and each channel that is set up.

    Raises
    ------
    ConfigurationError
        If a URL is none.
    """
    names = routing_of(settings).opened
    return [LogChannel(), *(_open(name, settings, postbox, clock) for name in names)]


def witnesses_of(settings: Settings) -> Witnesses:
    """Prometheus and Alertmanager, where the settings have them."""
    return Witnesses(
        settings.prometheus_url, settings.alertmanager_url, timeout_seconds=settings.alerts.timeout_seconds
    )


def _open(name: ChannelName, settings: Settings, postbox: Postbox, clock: WallClock) -> Channel:
    alerts, seconds = settings.alerts, settings.alerts.timeout_seconds
    source = f"autotrader {settings.environment} on {socket.gethostname()}"
    if name is ChannelName.EMAIL:
        return EmailChannel(postbox)
    if name is ChannelName.ALERTMANAGER and alerts.alertmanager_url:
        return AlertmanagerChannel(alerts.alertmanager_url, clock, timeout_seconds=seconds)
    if name is ChannelName.SLACK and alerts.slack_url:
        return SlackChannel(alerts.slack_url.get_secret_value(), clock, timeout_seconds=seconds)
    if name is ChannelName.PAGERDUTY and alerts.pagerduty_key:
        key = alerts.pagerduty_key.get_secret_value()
        return PagerDutyChannel(alerts.pagerduty_url, key, clock, source=source, timeout_seconds=seconds)
    if name is ChannelName.OPSGENIE and alerts.opsgenie_key:
        key = alerts.opsgenie_key.get_secret_value()
        return OpsgenieChannel(alerts.opsgenie_url, key, clock, source=source, timeout_seconds=seconds)
    if name is ChannelName.WEBHOOK and alerts.webhook_url:
        token = alerts.webhook_token.get_secret_value() if alerts.webhook_token else None
        return WebhookChannel(alerts.webhook_url.get_secret_value(), token, clock, timeout_seconds=seconds)
    raise AssertionError(f"{name} is not set up")  # routing_of names those alone that are
