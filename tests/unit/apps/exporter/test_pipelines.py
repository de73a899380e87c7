"""Airflow's state as metrics, from a stand-in that speaks its REST API over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from autotrader.adapters.airflow_api import AirflowApi
from autotrader.apps.exporter.pipelines import Pipelines
from autotrader.apps.exporter.reading import Reading
from autotrader.domain.errors import Unreachable
from tests.fakes.airflow_history import AirflowHistory
from tests.fakes.airflow_server import serve

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def airflow() -> AirflowHistory:
    history = AirflowHistory()
    history.add("data_pipeline", "r1", "success", NOON, [{"task_id": "extract_market_data", "seconds": 30.0}])
    return history


@pytest.fixture
def pipelines(airflow: AirflowHistory) -> Iterator[Pipelines]:
    with serve(airflow) as url:
        yield Pipelines(lambda: AirflowApi(url, user="admin", password="x", timeout_seconds=60.0))


def read(pipelines: Pipelines) -> dict[tuple[str, ...], float]:
    reading = Reading()
    pipelines.read(reading)
    return {
        (sample.name, *(str(v) for v in sample.labels.values())): sample.value
        for family in reading.families()
        for sample in family.samples
    }


def test_the_newest_success_and_failures_in_a_row_are_told(
    pipelines: Pipelines, airflow: AirflowHistory
) -> None:
    found = read(pipelines)
    assert found["pipeline_last_success_timestamp_seconds", "data_pipeline"] == NOON.timestamp()
    assert found["pipeline_consecutive_failures", "data_pipeline"] == 0
    for number in (1, 2, 3):
        airflow.add("data_pipeline", f"f{number}", "failed", NOON + number * HOUR)
    found = read(pipelines)
    assert found["pipeline_consecutive_failures", "data_pipeline"] == 3
    assert found["pipeline_runs_total", "data_pipeline", "failed"] == 3
    airflow.add("data_pipeline", "r2", "success", NOON + 4 * HOUR)
    found = read(pipelines)
    assert found["pipeline_consecutive_failures", "data_pipeline"] == 0
    assert found["pipeline_last_success_timestamp_seconds", "data_pipeline"] == (NOON + 4 * HOUR).timestamp()


def test_a_pipeline_that_never_ran_has_no_last_success(pipelines: Pipelines) -> None:
    found = read(pipelines)
    assert ("pipeline_last_success_timestamp_seconds", "deployment_pipeline") not in found
    assert found["pipeline_consecutive_failures", "deployment_pipeline"] == 0
    assert pipelines.last_failed_deployment is None


def test_failed_tries_and_the_venues_that_failed_are_counted_once_each(
    pipelines: Pipelines, airflow: AirflowHistory
) -> None:
    read(pipelines)
    airflow.add(
        "data_pipeline",
        "r2",
        "failed",
        NOON + HOUR,
        [
            {"task_id": "extract_market_data", "try_number": 3, "state": "failed", "label": "oanda:EUR_USD"},
            {"task_id": "extract_market_data", "try_number": 2, "label": "binance: 3 instruments"},
            {"task_id": "extract_market_data", "try_number": 2, "label": "made-up: venue"},
        ],
    )
    for _ in range(3):
        found = read(pipelines)
    assert found["pipeline_task_failures_total", "data_pipeline", "extract_market_data"] == 5
    assert found["connector_errors_total", "oanda"] == 3
    assert found["connector_errors_total", "binance"] == 1
    assert found["connector_errors_total", "ibkr"] == 0
    assert found["pipeline_task_duration_seconds", "data_pipeline", "extract_market_data"] == 1.0


def test_runs_under_way_and_tasks_that_wait_are_told(pipelines: Pipelines, airflow: AirflowHistory) -> None:
    airflow.add("data_pipeline", "now", "running", None)
    airflow.queues = ["default", "default", "heavy"]
    found = read(pipelines)
    assert found["pipeline_runs_active", "data_pipeline", "running"] == 1
    assert found["pipeline_runs_active", "data_pipeline", "queued"] == 0
    assert found["queue_length", "default"] == 2
    assert found["queue_length", "heavy"] == 1


def test_little_is_asked_while_nothing_ends(pipelines: Pipelines, airflow: AirflowHistory) -> None:
    read(pipelines)
    airflow.requests.clear()
    read(pipelines)
    assert len(airflow.requests) <= 5, airflow.requests


def test_what_airflow_forgets_makes_no_counter_fall(pipelines: Pipelines, airflow: AirflowHistory) -> None:
    airflow.add("data_pipeline", "f1", "failed", NOON + HOUR)
    assert read(pipelines)["pipeline_runs_total", "data_pipeline", "success"] == 1
    airflow.ended = [run for run in airflow.ended if run["dag_run_id"] != "r1"]
    airflow.add("data_pipeline", "f2", "failed", NOON + 2 * HOUR)
    found = read(pipelines)
    assert found["pipeline_runs_total", "data_pipeline", "success"] == 1
    assert found["pipeline_runs_total", "data_pipeline", "failed"] == 2


def test_a_failed_deployment_is_remembered(pipelines: Pipelines, airflow: AirflowHistory) -> None:
    read(pipelines)
    airflow.add("deployment_pipeline", "d1", "failed", NOON + HOUR)
    read(pipelines)
    assert pipelines.last_failed_deployment == NOON + HOUR


def test_an_airflow_that_is_down_is_an_outage(pipelines: Pipelines, airflow: AirflowHistory) -> None:
    airflow.down = True
    with pytest.raises(Unreachable):
        read(pipelines)
