"""The configuration for engines of several machines: names that Airflow knows, forms that Kubernetes has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ENGINES = Path(__file__).resolve().parents[2] / "deploy/airflow"


def options() -> dict[str, str]:
    lines = (ENGINES / "celery/airflow.env").read_text().splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def test_every_option_of_the_environment_file_is_one_that_airflow_knows() -> None:
    from airflow.configuration import conf

    unknown = []
    for name in options():
        if name.startswith("AIRFLOW__"):
            _, section, option = name.lower().removesuffix("_cmd").split("__")
            if option == "visibility_timeout":  # of the broker, which Airflow hands on
                continue
            if conf.configuration_description.get(section, {}).get("options", {}).get(option) is None:
                unknown.append(name)
    assert unknown == []


def test_no_secret_is_in_it_and_no_secret_option_is_left_to_chance() -> None:
    commands = {name for name in options() if name.endswith("_CMD")}
    assert all(options()[name].startswith("cat /etc/autotrader/secrets/") for name in commands)
    assert not any("://" in value and "@" in value for value in options().values())
    assert {"AIRFLOW__CORE__FERNET_KEY_CMD", "AIRFLOW__API_AUTH__JWT_SECRET_CMD"} <= commands


def test_a_long_task_is_not_handed_out_a_second_time() -> None:
    training_deadline_seconds = 6 * 3600
    timeout = options()["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"]
    assert int(timeout) > training_deadline_seconds


@pytest.mark.parametrize("name", ["autotrader-airflow@.service", "autotrader-airflow-worker.service"])
def test_a_unit_reads_both_environment_files(name: str) -> None:
    unit = (ENGINES / "celery" / name).read_text()
    assert unit.count("EnvironmentFile=/etc/autotrader/") == 2


def pod() -> dict[str, Any]:
    template: dict[str, Any] = yaml.safe_load((ENGINES / "kubernetes/pod_template.yaml").read_text())
    return template


def test_the_pod_has_what_airflow_overwrites_and_keeps_what_it_needs() -> None:
    (base,) = pod()["spec"]["containers"]
    assert (pod()["kind"], base["name"], pod()["spec"]["restartPolicy"]) == ("Pod", "base", "Never")
    assert {m["name"] for m in base["volumeMounts"]} == {v["name"] for v in pod()["spec"]["volumes"]}


def test_a_task_of_kubernetes_has_no_more_rights_than_it_needs() -> None:
    (base,) = pod()["spec"]["containers"]
    assert pod()["spec"]["securityContext"]["runAsNonRoot"]
    assert pod()["spec"]["automountServiceAccountToken"] is False
    assert base["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_chart_is_told_of_no_database_and_no_broker_of_its_own() -> None:
    values = yaml.safe_load((ENGINES / "kubernetes/values.yaml").read_text())
    assert values["executor"] == "KubernetesExecutor"
    assert not values["postgresql"]["enabled"]
    assert not values["redis"]["enabled"]
    claims = {v.get("persistentVolumeClaim", {}).get("claimName") for v in pod()["spec"]["volumes"]}
    assert values["logs"]["persistence"]["existingClaim"] in claims
