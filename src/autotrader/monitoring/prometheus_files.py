"""Prometheus' configuration and its rule files."""

from __future__ import annotations

from itertools import groupby

from autotrader.domain.alert_rules import RULES, AlertRule, Group
from autotrader.domain.metrics import Profile
from autotrader.domain.service_levels import promql_duration, recordings
from autotrader.domain.thresholds import ALERTS
from autotrader.monitoring import colour_ports
from autotrader.monitoring.scene import PLATFORM_TOKEN, Scene, Target
from autotrader.monitoring.yaml_text import Value


def prometheus(scene: Scene) -> dict[str, Value]:
    """What is read, how often, and which rules judge it."""
    jobs = groupby([*scene.platform(), *scene.others()], lambda target: target.job)
    alertmanager = f"{scene.hosts.of('alertmanager')}:{scene.monitoring.alertmanager_port}"
    return {
        "global": {
            "scrape_interval": promql_duration(ALERTS.scrape),
            "scrape_timeout": "5s",
            "evaluation_interval": promql_duration(ALERTS.evaluation),
        },
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "rule_files": [f"rules/{group}.yml" for group in Group if _is_there(group.profile, scene)],
        "scrape_configs": [_job(job, list(targets), scene) for job, targets in jobs],
    }


def rule_file(group: Group, scene: Scene) -> dict[str, Value]:
    """The rules of a group; of the service levels, what is recorded comes first."""
    rules = [_alert(rule, scene.monitoring.runbook_url) for rule in RULES if rule.group is group]
    groups: list[Value] = [{"name": group.value, "rules": rules}]
    if group is Group.SERVICE_LEVELS:
        recorded: list[Value] = [
            {"record": each.name, "expr": each.expression, "labels": {"slo": each.slo}}
            for each in recordings()
        ]
        groups = [{"name": group.value, "interval": "30s", "rules": [*recorded, *rules]}]
    return {"groups": groups}


def _alert(rule: AlertRule, base: str) -> dict[str, Value]:
    waits: dict[str, Value] = {"for": promql_duration(rule.hold)} if rule.hold else {}
    if rule.keep_firing:
        waits["keep_firing_for"] = promql_duration(rule.keep_firing)
    return {
        "alert": rule.name,
        "expr": rule.expression,
        **waits,
        "labels": {"severity": rule.severity.value, **rule.labels},
        "annotations": {"summary": rule.template, "runbook_url": f"{base}/{rule.runbook}"},
    }


def _job(name: str, targets: list[Target], scene: Scene) -> dict[str, Value]:
    if name == "prediction" and scene.follows_colours:
        return {"job_name": name, "file_sd_configs": [{"files": [colour_ports.PATTERN]}]}
    ours = {target.job for target in scene.platform()}
    static: list[Value] = []
    for target in targets:
        labels: dict[str, Value] = {"service": target.service} if name in ours else {}
        if target.color:
            labels["color"] = target.color
        address = f"{scene.hosts.of(target.service)}:{target.port}"
        static.append({"targets": [address], **({"labels": labels} if labels else {})})
    job: dict[str, Value] = {"job_name": name, "static_configs": static}
    if name == "exporter":
        # What it says of other services has their name: `service_expected` would lose it to the exporter's.
        job["honor_labels"] = True
    if name == "api":
        job["scheme"] = scene.api_scheme
        if scene.needs_token:
            job["authorization"] = {"credentials_file": str(scene.secrets / PLATFORM_TOKEN)}
    return job


def _is_there(profile: Profile | None, scene: Scene) -> bool:
    return profile is None or profile in scene.profiles
