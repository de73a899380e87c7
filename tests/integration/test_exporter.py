"""The exporter as a process: scraped over HTTP beside an Airflow that answers, is slow, and goes away."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from autotrader.domain.metrics import METRICS, Process
from tests.fakes.airflow_history import AirflowHistory
from tests.fakes.airflow_server import serve

pytestmark = pytest.mark.integration

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@contextlib.contextmanager
def exporter(home: Path, airflow_url: str) -> Iterator[httpx.Client]:
    environment = {
        **os.environ,
        "AUTOTRADER_HOME": str(home),
        "AUTOTRADER_AIRFLOW__URL": airflow_url,
        "AUTOTRADER_AIRFLOW__PASSWORD": "x",
    }
    argv = [sys.executable, "-m", "autotrader.apps.exporter", "--port", "0"]
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True, cwd=home.parent)
    try:
        assert process.stdout
        url = json.loads(process.stdout.readline())["url"]
        with httpx.Client(base_url=url, timeout=1.0, trust_env=False) as client:
            yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(10)


def eventually(client: httpx.Client, told: Callable[[str], bool], seconds: float = 30.0) -> str:
    deadline = time.monotonic() + seconds
    while not told(page := client.get("/metrics").text):  # each within a second
        assert time.monotonic() < deadline, page
        time.sleep(0.2)
    return page


def test_a_running_exporter_tells_of_airflow_survives_it_and_names_nothing_unknown(tmp_path: Path) -> None:
    of_series = {series: metric for metric in METRICS for series in metric.series}
    airflow = AirflowHistory()
    airflow.add("data_pipeline", 'a "hostile"\nrun', "failed", NOON, [{"task_id": 'x"\n}y'}])
    with serve(airflow) as airflow_url, exporter(tmp_path / "home", airflow_url) as client:
        page = eventually(client, lambda p: 'exporter_source_up{source="airflow"} 1.0' in p)
        assert 'pipeline_consecutive_failures{dag_id="data_pipeline"} 1.0' in page
        eventually(client, lambda p: "database_query_duration_seconds_count" in p)
        names = set()
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name.endswith("_created"):  # the library's own
                    continue
                metric = of_series[sample.name]
                assert Process.EXPORTER in metric.processes, sample.name
                assert set(sample.labels) - {"le"} == set(metric.labels), sample
                names.add(sample.name)
        assert {"component_health", "process_threads", "deployment_stage", "service_expected"} <= names
        airflow.delay_seconds = 8.0  # longer than the exporter waits for an answer
        page = eventually(client, lambda p: 'exporter_source_up{source="airflow"} 0.0' in p, 60.0)
        assert "pipeline_consecutive_failures{" not in page
        assert 'exporter_source_up{source="deployment"} 1.0' in page
        reason = client.get("/health").json()["sources"]["airflow"]["reason"]
        assert "did not answer" in reason
