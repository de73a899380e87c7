"""What Terraform makes of the generated configuration of what watches, and what has a source on AWS."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autotrader.domain.metrics import EXPORTER_METRICS, METRICS, Metric, Process, Profile
from autotrader.monitoring.expressions import metrics_of

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "monitoring"
MODULE = ROOT / "terraform/modules/compute/configuration"
FOLDERS = {"prometheus": "/prometheus", "alertmanager": "/alertmanager", "dashboards": "/var/dashboards"}
PORTS = {
    "serving": 8000, "trader": 9091, "exporter": 9092, "api": 8010, "prometheus": 9090, "alertmanager": 9093,
}  # fmt: skip
NAMESPACE = "autotrader-dev.internal"

_SERIES: dict[str, Metric] = {
    series: metric for metric in (*METRICS, *EXPORTER_METRICS) for series in metric.series
}
_ON_ECS = frozenset(
    {Process.SERVING, Process.TRADER, Process.EXPORTER, Process.PROMETHEUS, Process.ALERTMANAGER}
)
_ADDED = re.compile(r'reading\.add(?:_histogram)?\(\s*"(\w+)"')


@dataclass(frozen=True)
class Rendered:
    """The module's outputs."""

    outputs: Mapping[str, Any]

    @property
    def prometheus(self) -> Any:
        return yaml.safe_load(self.outputs["prometheus"])

    @property
    def alertmanager(self) -> Any:
        return yaml.safe_load(self.outputs["alertmanager"])

    @property
    def rules(self) -> dict[str, Any]:
        return {name: yaml.safe_load(text) for name, text in self.outputs["rules"].items()}

    def write(self, folder: Path) -> Path:
        """As the tasks see them, with files of secrets in the folder itself."""
        for name in ("prometheus", "alertmanager"):
            text = self.outputs[name].replace(f"{FOLDERS[name]}/", f"{folder}/")
            (folder / f"{name}.yml").write_text(text)
        (folder / "rules").mkdir()
        for name, text in self.outputs["rules"].items():
            (folder / "rules" / f"{name}.yml").write_text(text)
        for secret in ("metrics_token", "platform_token", "pagerduty_key", "slack_url", "mail_password"):
            (folder / secret).write_text("https://example.com/x")
        return folder


def generated() -> dict[str, str]:
    """The files by path, as the root passes them on."""
    folders = ("prometheus", "alertmanager", "grafana", "dashboards")
    paths = (path for name in folders for path in (GENERATED / name).rglob("*") if path.is_file())
    return {str(path.relative_to(GENERATED)): path.read_text() for path in paths}


def render(folder: Path, *, is_complete: bool) -> Rendered:
    """Have Terraform do it; complete is with every way to people, an Airflow and a token for the API."""
    shutil.copytree(MODULE, folder, ignore=shutil.ignore_patterns(".terraform*"), dirs_exist_ok=True)
    mail = {"host": "smtp.example.com", "user": "reports", "sender": "a@example.com"} if is_complete else {}
    values = {
        "files": generated(),
        "environment": "dev",
        "namespace": NAMESPACE,
        "ports": PORTS,
        "folders": FOLDERS,
        "api_metrics": is_complete,
        "airflow": is_complete,
        "alerts": {"pagerduty": is_complete, "slack": is_complete, "slack_channel": "#trading"},
        "mail": {"port": 587, "recipients": ["b@example.com"] if is_complete else [], **mail},
        "runbook_url": "https://docs.example.com/runbooks",
    }
    (folder / "values.auto.tfvars.json").write_text(json.dumps(values))
    terraform(folder, "init", "-backend=false")
    terraform(folder, "apply", "-auto-approve")
    told = json.loads(terraform(folder, "output", "-json"))
    return Rendered({name: each["value"] for name, each in told.items()})


def terraform(folder: Path, *words: str) -> str:
    environment = {**os.environ, "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    if not Path(environment.get("TF_CLI_CONFIG_FILE") or os.devnull).exists():
        del environment["TF_CLI_CONFIG_FILE"]
    done = subprocess.run(
        ["terraform", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False,
        timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def of_airflow_alone() -> frozenset[str]:
    """Metrics that the exporter reads from Airflow and from nowhere else, as its code has them."""
    folder = ROOT / "src/autotrader/apps/exporter"
    added = {path.stem: set(_ADDED.findall(path.read_text())) for path in folder.glob("*.py")}
    return frozenset(added.pop("pipelines") - set[str]().union(*added.values()))


def without_source(expression: str, *, is_complete: bool) -> set[str]:
    """Of what it names, what nothing exports there."""
    running = _ON_ECS | ({Process.API} if is_complete else set())
    away = frozenset() if is_complete else of_airflow_alone()
    found = set(_missing(expression, running, away))
    return found if is_complete or 'service="api"' not in expression else found | {"the API's page"}


def _missing(expression: str, running: frozenset[Process], away: frozenset[str]) -> Iterator[str]:
    for name in metrics_of(expression) & _SERIES.keys():  # the others are recorded, each from such ones
        metric = _SERIES[name]
        profiled = metric.profile in {Profile.POSTGRES, Profile.REDIS, Profile.DISTRIBUTED}
        if metric.name in away or profiled or not running & set(metric.processes):
            yield name
