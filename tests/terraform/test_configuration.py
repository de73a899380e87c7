"""What watches on AWS is told what it is told anywhere: jobs, labels, rules, routes, dashboards."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotrader.domain.alerts import Severity
from autotrader.monitoring.dashboards.grafana import SOURCE
from tests.terraform.configuration import (
    GENERATED,
    NAMESPACE,
    PORTS,
    Rendered,
    generated,
    of_airflow_alone,
    render,
    without_source,
)

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="needs Terraform: see its own pages"),
]

COMPLETE = "everything is set up"
BARE = "nothing is set up"
# Jobs of which nothing runs here.
ELSEWHERE = {"node", "postgres", "redis"}


@pytest.fixture(scope="module", params=[COMPLETE, BARE])
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return render(tmp_path_factory.mktemp("configuration"), is_complete=request.param == COMPLETE)


@pytest.fixture
def is_complete(request: pytest.FixtureRequest) -> bool:
    return str(request.node.callspec.params["rendered"]) == COMPLETE


def local(path: str) -> Any:
    return yaml.safe_load((GENERATED / path).read_text())


def jobs(configuration: Any) -> dict[str, Any]:
    return {job["job_name"]: job for job in configuration["scrape_configs"]}


def test_jobs_and_their_labels_are_those_of_the_generated_file(rendered: Rendered, is_complete: bool) -> None:
    ours, theirs = jobs(local("prometheus/prometheus.yml")), jobs(rendered.prometheus)
    assert set(ours) - set(theirs) == ELSEWHERE & set(ours) | (set() if is_complete else {"api"})
    for name, job in theirs.items():
        assert [one.get("labels") for one in job["static_configs"]] == [
            one.get("labels") for one in ours[name]["static_configs"]
        ]
        assert job.get("honor_labels") == ours[name].get("honor_labels")
    assert theirs["exporter"]["honor_labels"] is True


def test_each_is_where_its_process_is(rendered: Rendered, is_complete: bool) -> None:
    found = {
        one.get("labels", {}).get("service", name): one["targets"]
        for name, job in jobs(rendered.prometheus).items()
        for one in job["static_configs"]
    }
    wanted = {
        "prediction-blue": "serving-blue:8000", "prediction-green": "serving-green:8000",
        "trader": "trader:9091", "exporter": "exporter:9092", "prometheus": "prometheus:9090",
        "alertmanager": "alertmanager:9093", **({"api": "api:8010"} if is_complete else {}),
    }  # fmt: skip
    assert found == {
        service: [f"{place.partition(':')[0]}.{NAMESPACE}:{place.partition(':')[2]}"]
        for service, place in wanted.items()
    }


def test_each_task_of_a_colour_has_the_labels_of_the_colour(rendered: Rendered) -> None:
    job = jobs(rendered.prometheus)["prediction"]
    assert [(found["type"], found["port"]) for found in job["dns_sd_configs"]] == [("A", PORTS["serving"])]
    labels = [
        relabelled({"__meta_dns_name": name}, job["relabel_configs"])
        for found in job["dns_sd_configs"]
        for name in found["names"]
    ]
    assert labels == [
        one["labels"] for one in jobs(local("prometheus/prometheus.yml"))["prediction"]["static_configs"]
    ]


def test_a_colour_counts_by_its_tasks_and_its_name_says_only_that_it_answers(rendered: Rendered) -> None:
    """`up` is Prometheus' own and is kept whatever is dropped; of a colour without tasks, DNS has none."""
    job = jobs(rendered.prometheus)["prediction"]
    [drop] = job["metric_relabel_configs"]
    assert drop["action"] == "drop"
    assert drop["source_labels"] == ["instance"]
    by_name = [target for one in job["static_configs"] for target in one["targets"]]
    assert all(re.fullmatch(drop["regex"], target) for target in by_name)
    assert not re.fullmatch(drop["regex"], "10.0.16.4:8000")
    assert relabelled({}, job["relabel_configs"]) == {}, "its labels stay"


def relabelled(labels: Mapping[str, str], rules: list[Any]) -> dict[str, str]:
    """What Prometheus' action `replace` adds; its expressions are anchored, and `$1` is a group."""
    added = {}
    for rule in rules:
        value = ";".join(labels.get(name, "") for name in rule["source_labels"])
        if match := re.fullmatch(rule["regex"], value):
            added[rule["target_label"]] = match.expand(rule["replacement"].replace("$", "\\"))
    return added


def test_it_looks_as_often_and_says_which_environment_it_is(rendered: Rendered) -> None:
    told = rendered.prometheus["global"]
    assert told.pop("external_labels") == {"environment": "dev"}
    assert told == local("prometheus/prometheus.yml")["global"]


def test_a_rule_is_there_if_something_measures_what_it_asks_for_and_as_it_was_written(
    rendered: Rendered, is_complete: bool
) -> None:
    ours = {path.stem: yaml.safe_load(path.read_text()) for path in GENERATED.glob("prometheus/rules/*.yml")}
    levels: dict[str, set[str]] = defaultdict(set)
    for _, rule in rules_of(ours):
        if "record" in rule:
            levels[rule["labels"]["slo"]] |= without_source(rule["expr"], is_complete=is_complete)

    def is_measured(rule: Any) -> bool:
        if "record" in rule:  # a level is recorded as a whole
            return not levels[rule["labels"]["slo"]]
        return not without_source(rule["expr"], is_complete=is_complete)

    base = "https://docs.example.com/runbooks"
    found = [(name, plain(rule, base)) for name, rule in rules_of(rendered.rules)]
    assert found == [(name, plain(rule, "runbooks")) for name, rule in rules_of(ours) if is_measured(rule)]
    assert rendered.prometheus["rule_files"] == [f"rules/{name}.yml" for name in sorted(rendered.rules)]
    intervals = {group["name"]: group.get("interval") for file in ours.values() for group in file["groups"]}
    for file in rendered.rules.values():
        assert all(group.get("interval") == intervals[group["name"]] for group in file["groups"])


def rules_of(files: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in sorted(files):
        for group in files[name]["groups"]:
            yield from ((name, rule) for rule in group["rules"])


def plain(rule: Any, base: str) -> Any:
    """The rule with its page, without where pages are."""
    if "annotations" not in rule:
        return rule
    url = rule["annotations"]["runbook_url"]
    assert url.startswith(f"{base}/alerts/")
    return {**rule, "annotations": {**rule["annotations"], "runbook_url": url.removeprefix(base)}}


def test_airflow_is_the_source_of_what_is_left_out_for_its_sake() -> None:
    found = of_airflow_alone()
    assert {"pipeline_consecutive_failures", "pipeline_runs_total"} <= found
    assert "queue_length" not in found, "jobs have a queue in the database, too"
    assert without_source("pipeline_consecutive_failures > 3", is_complete=False)
    assert not without_source("pipeline_consecutive_failures > 3", is_complete=True)
    assert not without_source("sum by (queue) (queue_length) > 100", is_complete=False)
    assert without_source("pg_up == 0", is_complete=True)
    assert without_source('up{service="api"} == 0', is_complete=False)


def test_routes_repetitions_and_inhibitions_are_those_of_the_generated_file(rendered: Rendered) -> None:
    ours, theirs = local("alertmanager/alertmanager.yml"), rendered.alertmanager
    assert {name: part for name, part in theirs.items() if name != "receivers"} == {
        name: part for name, part in ours.items() if name != "receivers"
    }
    matched = [matcher for route in theirs["route"]["routes"] for matcher in route["matchers"]]
    assert {f'severity="{severity}"' for severity in Severity} <= set(matched)


def test_a_way_to_people_is_as_generated_but_for_where_it_leads(
    rendered: Rendered, is_complete: bool
) -> None:
    ours = {one["name"]: one for one in local("alertmanager/alertmanager.yml")["receivers"]}
    theirs = {one["name"]: one for one in rendered.alertmanager["receivers"]}
    assert list(theirs) == list(ours)
    if not is_complete:
        assert theirs == {name: {"name": name} for name in ours}
        return
    own: dict[str, dict[str, Any]] = {
        "platform": {
            "url": f"http://api.{NAMESPACE}:8010/alerts/webhook",
            "http_config": {"authorization": {"credentials_file": "/alertmanager/platform_token"}},
        },
        "pagerduty": {"routing_key_file": "/alertmanager/pagerduty_key"},
        "slack": {"api_url_file": "/alertmanager/slack_url", "channel": "#trading"},
        "email": {
            "to": "b@example.com", "from": "a@example.com", "smarthost": "smtp.example.com:587",
            "auth_username": "reports", "auth_password_file": "/alertmanager/mail_password",
        },
    }  # fmt: skip
    for name, receiver in ours.items():
        (kind,) = set(receiver) - {"name"}
        assert theirs[name] == {"name": name, kind: [{**receiver[kind][0], **own[name]}]}


def test_grafana_shows_the_generated_dashboards_from_the_source_that_they_name(rendered: Rendered) -> None:
    source = yaml.safe_load(rendered.outputs["grafana_source"])["datasources"][0]
    assert (source["uid"], source["url"]) == (SOURCE, f"http://prometheus.{NAMESPACE}:9090")
    provider = yaml.safe_load(rendered.outputs["grafana_provider"])["providers"][0]
    assert provider["options"]["path"] == "/var/dashboards"
    found = rendered.outputs["dashboards"]
    ours = {Path(path).name: text for path, text in generated().items() if path.startswith("dashboards/")}
    assert found.keys() == ours.keys()
    for name, text in ours.items():
        said = text.replace('"runbooks/', '"https://docs.example.com/runbooks/')
        assert json.loads(found[name]) == json.loads(said)
        assert '"runbooks/' not in found[name]


@pytest.mark.skipif(
    not (shutil.which("promtool") and shutil.which("amtool")), reason="needs promtool and amtool"
)
def test_prometheus_and_alertmanager_understand_them(rendered: Rendered, tmp_path: Path) -> None:
    folder = rendered.write(tmp_path)
    for words in (["promtool", "check", "config"], ["amtool", "check-config"]):
        name = "prometheus" if words[0] == "promtool" else "alertmanager"
        done = subprocess.run(
            [*words, folder / f"{name}.yml"], capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, done.stdout + done.stderr
