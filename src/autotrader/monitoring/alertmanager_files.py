"""Alertmanager's configuration: who is told what, how often, and what keeps quiet meanwhile.

Every alert goes to the platform's own webhook, where it is kept; by its severity it goes to people, too.
A secret stands in a file of its own, never here.
"""

from __future__ import annotations

from collections.abc import Callable

from autotrader.alerts.relayed import GROUPED_BY, MOST_RELAYED, PEOPLE, matcher_of
from autotrader.domain.alert_rules import INHIBITIONS
from autotrader.domain.service_levels import promql_duration
from autotrader.domain.thresholds import ALERTS
from autotrader.monitoring.scene import (
    PAGERDUTY_KEY,
    PLATFORM_TOKEN,
    SLACK_URL,
    SMTP_PASSWORD,
    Scene,
)
from autotrader.monitoring.yaml_text import Value
from autotrader.ports.alerts import ChannelName

PLATFORM = "platform"

_TITLE = "[{{ .Status | toUpper }}] {{ .CommonLabels.severity }}: {{ .GroupLabels.alertname }}"
_SUMMARIES = "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ end }}"
_SUMMARIES_WITH_PAGE = (
    "{{ range .Alerts }}{{ .Annotations.summary }}\nWhat to do: {{ .Annotations.runbook_url }}\n{{ end }}"
)


def alertmanager(scene: Scene) -> dict[str, Value]:
    """The whole file."""
    return {
        "global": {"pagerduty_url": f"{scene.alerts.pagerduty_url}/v2/enqueue"},
        "route": _routes(),
        "inhibit_rules": [
            {
                "source_matchers": list(rule.source),
                "target_matchers": list(rule.targets),
                **({"equal": list(rule.equal)} if rule.equal else {}),
            }
            for rule in INHIBITIONS
        ],
        "receivers": [
            {"name": PLATFORM, "webhook_configs": [_webhook(scene)]},
            {"name": ChannelName.PAGERDUTY.value, **_when(ChannelName.PAGERDUTY, scene, _pagerduty)},
            {"name": ChannelName.SLACK.value, **_when(ChannelName.SLACK, scene, _slack)},
            {"name": ChannelName.EMAIL.value, **_when(ChannelName.EMAIL, scene, _email)},
        ],
    }


def _routes() -> dict[str, Value]:
    people: list[Value] = [
        {
            "receiver": channel.value,
            "matchers": [matcher_of(severity)],
            "repeat_interval": promql_duration(repeat),
        }
        for severity, (channel, repeat) in PEOPLE.items()
    ]
    return {
        # What has no severity is nobody's by right: the page is read by somebody.
        "receiver": ChannelName.PAGERDUTY.value,
        "group_by": list(GROUPED_BY),
        "group_wait": promql_duration(ALERTS.group_wait),
        "group_interval": promql_duration(ALERTS.group_interval),
        "repeat_interval": promql_duration(ALERTS.critical_repeat),
        "routes": [
            {
                "receiver": PLATFORM,
                "matchers": ['severity=~".+"'],
                # What came back while it was quiet is told by this alone; the same again changes nothing.
                "repeat_interval": promql_duration(ALERTS.critical_repeat),
                "continue": True,
            },
            *people,
        ],
    }


def _when(
    channel: ChannelName, scene: Scene, configs: Callable[[Scene], dict[str, Value]]
) -> dict[str, Value]:
    if channel not in scene.channels:
        return {}
    return {f"{channel}_configs": [configs(scene)]}


def _webhook(scene: Scene) -> dict[str, Value]:
    return {
        "url": f"{scene.api_url}/alerts/webhook",
        "send_resolved": True,
        "max_alerts": MOST_RELAYED,
        "http_config": {"authorization": {"credentials_file": str(scene.secrets / PLATFORM_TOKEN)}},
    }


def _pagerduty(scene: Scene) -> dict[str, Value]:
    return {
        "routing_key_file": str(scene.secrets / PAGERDUTY_KEY),
        "send_resolved": True,
        "severity": "{{ .CommonLabels.severity }}",
        "description": "{{ .GroupLabels.alertname }}: {{ (index .Alerts 0).Annotations.summary }}",
        "details": {
            "summary": _SUMMARIES,
            "runbook": "{{ .CommonAnnotations.runbook_url }}",
        },
    }


def _slack(scene: Scene) -> dict[str, Value]:
    return {
        "api_url_file": str(scene.secrets / SLACK_URL),
        "send_resolved": True,
        "title": _TITLE,
        "title_link": "{{ .CommonAnnotations.runbook_url }}",
        "text": _SUMMARIES_WITH_PAGE,
    }


def _email(scene: Scene) -> dict[str, Value]:
    mail = scene.mail
    host = mail.host or "127.0.0.1"
    access: dict[str, Value] = {}
    if mail.user:
        access = {"auth_username": mail.user, "auth_password_file": str(scene.secrets / SMTP_PASSWORD)}
    return {
        "to": ", ".join(mail.recipients) or mail.sender,
        "from": mail.sender,
        "smarthost": f"{host}:{mail.port}",
        "require_tls": mail.starttls,
        **access,
        "send_resolved": True,
        "headers": {"Subject": _TITLE},
        "text": _SUMMARIES_WITH_PAGE,
    }
