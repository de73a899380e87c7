"""The generated configuration: up to date, understood, without secrets, this environment's where asked."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from autotrader.apps.api.alert_bodies import Webhook
from autotrader.config.settings import Settings
from autotrader.domain.alert_rules import INHIBITIONS, RULES
from autotrader.domain.alerts import Severity
from autotrader.domain.errors import ExitCode
from autotrader.domain.thresholds import ALERTS
from autotrader.monitoring.rules import rules
from autotrader.monitoring.scene import Hosts

CONFIGURATION = Path("monitoring")
ALERTMANAGER = CONFIGURATION / "alertmanager" / "alertmanager.yml"

needs_amtool = pytest.mark.skipif(
    shutil.which("amtool") is None, reason="needs amtool: apt-get install prometheus-alertmanager"
)
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool: apt-get install prometheus"
)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def written(folder: Path, settings: Settings, **options: Any) -> Path:
    assert rules(settings=settings, folder=folder, **options).exit_code is ExitCode.DONE
    return folder


def jobs_of(folder: Path) -> dict[str, list[str]]:
    configuration = read(folder / "prometheus" / "prometheus.yml")
    return {
        job["job_name"]: [target for static in job["static_configs"] for target in static["targets"]]
        for job in configuration["scrape_configs"]
    }


def test_the_checked_in_files_are_up_to_date() -> None:
    assert rules(settings=Settings(), check=True).exit_code is ExitCode.DONE


def test_a_stale_file_and_one_too_many_are_found(tmp_path: Path) -> None:
    folder = written(tmp_path / "monitoring", Settings())
    (folder / "prometheus" / "rules" / "old.yml").write_text("groups: []")
    (folder / "prometheus" / "rules" / "trading.yml").write_text("groups: []")

    result = rules(settings=Settings(), folder=folder, check=True)

    assert result.exit_code is ExitCode.FAILED
    assert [Path(path).name for path in result.data["stale"]] == ["trading.yml", "old.yml"]  # type: ignore[index]


@needs_promtool
@pytest.mark.parametrize("profiles", [(), ("postgres", "redis", "distributed")])
def test_prometheus_understands_them(profiles: tuple[str, ...], tmp_path: Path) -> None:
    settings = Settings(monitoring={"profiles": profiles})  # type: ignore[arg-type]
    folder = written(tmp_path, settings)

    subprocess.run(
        ["promtool", "check", "config", folder / "prometheus" / "prometheus.yml"], check=True, timeout=60
    )


def test_what_the_exporter_says_of_other_services_keeps_their_name() -> None:
    """Prometheus would call the service of `service_expected` exporter, and ServiceDown tell of none."""
    (job,) = [
        job
        for job in read(CONFIGURATION / "prometheus" / "prometheus.yml")["scrape_configs"]
        if job["job_name"] == "exporter"
    ]
    assert job["honor_labels"] is True


def test_the_embedded_default_has_no_rule_and_no_target_of_what_is_not_there() -> None:
    configuration = read(CONFIGURATION / "prometheus" / "prometheus.yml")

    assert {"rules/postgres.yml", "rules/redis.yml", "rules/distributed.yml"}.isdisjoint(
        configuration["rule_files"]
    )
    assert jobs_of(CONFIGURATION) == {
        "prediction": ["127.0.0.1:8000", "127.0.0.1:8001"],
        "api": ["127.0.0.1:8010"],
        "trader": ["127.0.0.1:9091"],
        "exporter": ["127.0.0.1:9092"],
        "prometheus": ["127.0.0.1:9090"],
        "alertmanager": ["127.0.0.1:9093"],
        "node": ["127.0.0.1:9100"],
    }


def test_ports_profiles_and_pages_are_those_of_the_settings(tmp_path: Path) -> None:
    settings = Settings(
        api={"port": 18010},  # type: ignore[arg-type]
        monitoring={  # type: ignore[arg-type]
            "profiles": ("postgres", "redis", "distributed"),
            "runbook_url": "https://docs.example.com/runbooks",
        },
    )
    folder = written(tmp_path, settings)

    jobs = jobs_of(folder)
    assert jobs["api"] == ["127.0.0.1:18010"]
    assert {"postgres", "redis"} <= set(jobs)
    rule = read(folder / "prometheus" / "rules" / "distributed.yml")["groups"][0]["rules"][0]
    page = "https://docs.example.com/runbooks/alerts/NoWorkersAvailable.md"
    assert rule["annotations"]["runbook_url"] == page
    assert "rules/distributed.yml" in read(folder / "prometheus" / "prometheus.yml")["rule_files"]


def test_under_compose_parts_know_each_other_by_name_and_show_a_token(tmp_path: Path) -> None:
    folder = written(tmp_path, Settings(), hosts=Hosts.COMPOSE, secrets=Path("/run/secrets"))

    assert jobs_of(folder)["prediction"] == ["prediction-blue:8000", "prediction-green:8001"]
    job = next(
        job
        for job in read(folder / "prometheus" / "prometheus.yml")["scrape_configs"]
        if job["job_name"] == "api"
    )
    assert job["authorization"] == {"credentials_file": "/run/secrets/platform-token"}


def test_no_secret_stands_in_a_file_that_was_generated(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in ("pagerduty-routing-key", "slack-webhook-url", "smtp-password"):
        (secrets / name).write_text(f"very-secret-{name}")
    mail = {
        "host": "mail.example.com",
        "user": "u",
        "password": "very-secret",
        "recipients": ("a@example.com",),
    }
    folder = written(tmp_path, Settings(mail=mail))  # type: ignore[arg-type]

    assert not any("very-secret" in path.read_text() for path in folder.rglob("*.yml"))
    receivers = {
        each["name"]: each for each in read(folder / "alertmanager" / "alertmanager.yml")["receivers"]
    }
    assert {name for name, each in receivers.items() if len(each) > 1} == {
        "platform",
        "pagerduty",
        "slack",
        "email",
    }


def test_a_way_without_its_secret_is_left_out_and_the_platform_hears_of_everything(tmp_path: Path) -> None:
    folder = written(tmp_path, Settings())

    receivers = read(folder / "alertmanager" / "alertmanager.yml")["receivers"]
    assert {each["name"] for each in receivers if len(each) > 1} == {"platform"}


# --------------------------------------------------------------------------------- routes


def receivers_of(**labels: str) -> list[str]:
    """Whom Alertmanager tells of an alert with these labels."""
    done = subprocess.run(
        ["amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}"]
        + [f"{name}={value}" for name, value in labels.items()],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.strip().split(",")


@needs_amtool
def test_alertmanager_understands_its_file() -> None:
    subprocess.run(["amtool", "check-config", ALERTMANAGER], check=True, timeout=30)


@needs_amtool
@pytest.mark.parametrize(
    ("severity", "channel"), [("critical", "pagerduty"), ("warning", "slack"), ("info", "email")]
)
def test_a_severity_goes_to_its_people_and_to_the_platform(severity: str, channel: str) -> None:
    for rule in RULES:
        if rule.severity == severity:
            assert receivers_of(alertname=rule.name, severity=severity) == ["platform", channel]


def test_no_request_to_the_platform_is_larger_than_it_takes() -> None:
    receivers = yaml.safe_load(ALERTMANAGER.read_text())["receivers"]
    (webhook,) = next(r for r in receivers if r["name"] == "platform")["webhook_configs"]
    told = {"status": "firing", "labels": {}, "startsAt": "2026-03-01T00:00:00Z"}
    Webhook.model_validate({"version": "4", "alerts": [told] * webhook["max_alerts"]})
    with pytest.raises(ValidationError, match="at most"):
        Webhook.model_validate({"version": "4", "alerts": [told] * (webhook["max_alerts"] + 1)})


@needs_amtool
def test_what_has_no_severity_is_paged() -> None:
    assert receivers_of(alertname="Strange") == ["pagerduty"]


def test_notices_are_repeated_as_often_as_agreed() -> None:
    routes = read(ALERTMANAGER)["route"]["routes"]

    assert {route["receiver"]: route["repeat_interval"] for route in routes} == {
        "platform": "5m",  # nobody is told by it
        "pagerduty": "5m",
        "slack": "1h",
        "email": "1d",
    }
    assert ALERTS.critical_repeat.total_seconds() == 300


def test_inhibitions_name_alerts_that_there_are() -> None:
    names = {rule.name for rule in RULES}
    for inhibition in INHIBITIONS:
        for matcher in (*inhibition.source, *inhibition.targets):
            label, _, value = re.match(r'(\w+)(=~?)"(.*)"', matcher).groups()  # type: ignore[union-attr]
            if label == "alertname":
                assert set(value.split("|")) <= names
            if label == "severity":
                assert value in set(Severity)
    assert json.dumps(read(ALERTMANAGER)["inhibit_rules"]).count("source_matchers") == len(INHIBITIONS)
