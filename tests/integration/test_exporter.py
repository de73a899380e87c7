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

from autotrader.apps.exporter.serve import AIRFLOW_SECONDS
from autotrader.domain.metrics import METRICS, Process
from tests.fakes.airflow_history import AirflowHistory
from tests.fakes.airflow_server import serve

pytestmark = pytest.mark.integration

SCRAPE_SECONDS = AIRFLOW_SECONDS - 1.0  # a scrape waits for no source
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OF_EVERY_SOURCE = {
    "component_health",
    "database_query_duration_seconds_count",
    "deployment_stage",
    "pipeline_consecutive_failures",
    "process_threads",
    "service_expected",
}


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
        with httpx.Client(base_url=url, timeout=SCRAPE_SECONDS, trust_env=False) as client:
            yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(10)


def eventually(client: httpx.Client, told: Callable[[str], bool], seconds: float = 120.0) -> str:
    deadline = time.monotonic() + seconds
    while not told(page := client.get("/metrics").text):
        assert time.monotonic() < deadline, page
        time.sleep(0.2)
    return page


def test_a_running_exporter_tells_of_airflow_survives_it_and_names_nothing_unknown(tmp_path: Path) -> None:
    of_series = {series: metric for metric in METRICS for series in metric.series}
    airflow = AirflowHistory()
    airflow.add("data_pipeline", 'a "hostile"\nrun', "failed", NOON, [{"task_id": 'x"\n}y'}])
    with serve(airflow) as airflow_url, exporter(tmp_path / "home", airflow_url) as client:
        # Each source is looked at by itself.
        page = eventually(client, lambda p: all(f"\n{name}" in p for name in OF_EVERY_SOURCE))
        assert 'exporter_source_up{source="airflow"} 1.0' in page
        assert 'pipeline_consecutive_failures{dag_id="data_pipeline"} 1.0' in page
        names = set()
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name.endswith("_created"):  # the library's own
                    continue
                metric = of_series[sample.name]
                assert Process.EXPORTER in metric.processes, sample.name
                assert set(sample.labels) - {"le"} == set(metric.labels), sample
                names.add(sample.name)
        assert names >= OF_EVERY_SOURCE
        airflow.delay_seconds = AIRFLOW_SECONDS + 3.0
        page = eventually(client, lambda p: 'exporter_source_up{source="airflow"} 0.0' in p)
        assert "pipeline_consecutive_failures{" not in page
        assert 'exporter_source_up{source="deployment"} 1.0' in page
        reason = client.get("/health").json()["sources"]["airflow"]["reason"]
        assert "did not answer" in reason
