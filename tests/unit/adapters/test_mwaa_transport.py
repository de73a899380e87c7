"""Airflow on MWAA, asked through a stand-in for AWS over a socket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from autotrader.adapters.airflow_api import AirflowApi, Conflict, Invalid
from autotrader.adapters.airflow_client import airflow_of
from autotrader.apps.exporter.pipelines import Pipelines
from autotrader.apps.exporter.reading import Reading
from autotrader.config.settings import Settings
from autotrader.domain.errors import ConfigurationError, NotFound, Rejected, Unreachable
from tests.fakes.airflow_history import AirflowHistory
from tests.fakes.airflow_server import StandInAirflow, serve
from tests.fakes.mwaa import StandInMwaa
from tests.services import free_port

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RUN = "scheduled__2026-03-01T02:00:00.000000+00:00"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")


@pytest.fixture
def mwaa() -> StandInMwaa:
    return StandInMwaa()


def settings_of(url: str, environment: str = "autotrader-dev") -> Settings:
    return Settings(
        _env_file=None,
        aws={"region": "eu-west-1", "endpoint_url": url},
        airflow={"mwaa_environment": environment},
    )


@pytest.fixture
def api(mwaa: StandInMwaa) -> Iterator[AirflowApi]:
    with serve(mwaa) as url, airflow_of(settings_of(url), timeout_seconds=60) as client:
        yield client


def test_a_run_is_triggered_followed_and_ended(api: AirflowApi, mwaa: StandInMwaa) -> None:
    assert api.trigger("backtest", {"model_version": None}, run_id="job-a-1") == "job-a-1"
    assert api.run("backtest", "job-a-1").state == "queued"
    api.end_run("backtest", "job-a-1")
    assert mwaa.airflow.runs["job-a-1"] == {"conf": {"model_version": None}, "state": "failed"}
    assert [asked["Method"] for asked in mwaa.asked_for] == ["POST", "GET", "PATCH"]
    assert {asked["Path"].partition("/dagRuns")[0] for asked in mwaa.asked_for} == {"/dags/backtest"}


def test_what_airflow_refuses_is_told_as_airflow_told_it(api: AirflowApi, mwaa: StandInMwaa) -> None:
    with pytest.raises(NotFound):
        api.run("backtest", "job-b-1")
    api.trigger("backtest", {}, run_id="job-a-1")
    with pytest.raises(Conflict, match="there is such a run"):
        api.trigger("backtest", {}, run_id="job-a-1")
    mwaa.airflow.refuses = "'x' is not of type 'integer'"
    with pytest.raises(Invalid, match="not of type"):
        api.trigger("backtest", {}, run_id="job-c-1")
    mwaa.airflow.down = True
    with pytest.raises(Unreachable, match="503"):
        api.run("backtest", "job-a-1")


@pytest.mark.parametrize(
    ("refusal", "error"),
    [("AccessDeniedException", Rejected), ("ExpiredTokenException", ConfigurationError)],
)
def test_what_aws_refuses_is_no_answer_of_airflow(
    api: AirflowApi, mwaa: StandInMwaa, refusal: str, error: type[Exception]
) -> None:
    mwaa.refusal = refusal
    with pytest.raises(error, match="ask MWAA for GET /dags"):
        api.dag_ids()


def test_an_environment_that_is_not_there_and_an_aws_that_is_away_are_told(mwaa: StandInMwaa) -> None:
    with serve(mwaa) as url, airflow_of(settings_of(url, "another")) as api, pytest.raises(NotFound):
        api.dag_ids()
    away = settings_of(f"http://127.0.0.1:{free_port()}")
    with airflow_of(away, timeout_seconds=1) as api, pytest.raises(Unreachable):
        api.dag_ids()


def test_a_path_that_mwaa_does_not_take_is_refused_here(api: AirflowApi, mwaa: StandInMwaa) -> None:
    with pytest.raises(Rejected, match="expected a path of at most 64 characters"):
        api.run("feature_health_check", RUN)
    assert mwaa.asked_for == []


def test_the_exporter_reads_mwaa_as_it_reads_airflow() -> None:
    history = AirflowHistory()
    history.add("data_pipeline", RUN, "success", NOON, [{"task_id": "extract_market_data", "seconds": 30.0}])
    history.queues.append("default")
    told = []
    mwaa = StandInMwaa(airflow=history)
    with serve(mwaa) as through_aws, serve(history) as directly:
        for connect in (
            lambda: airflow_of(settings_of(through_aws)),
            lambda: AirflowApi(directly, user="u", password="p"),
        ):
            reading = Reading()
            Pipelines(connect).read(reading)
            told.append(
                {(s.name, *s.labels.values()): s.value for f in reading.families() for s in f.samples}
            )
    assert told[0] == told[1]
    assert told[0]["pipeline_consecutive_failures", "data_pipeline"] == 0
    assert told[0]["pipeline_task_duration_seconds", "data_pipeline", "extract_market_data"] == 30
    states = [asked["QueryParameters"]["state"] for asked in mwaa.asked_for if "QueryParameters" in asked
              and "state" in asked["QueryParameters"]]  # fmt: skip
    assert ["queued", "running"] in states, "several values of a parameter are a list"


def test_without_the_setting_airflow_is_asked_itself() -> None:
    airflow = StandInAirflow(runs={"r": {"conf": {}, "state": "success"}})
    with serve(airflow) as url:
        settings = Settings(_env_file=None, airflow={"url": url, "password": "x"})
        with airflow_of(settings) as api:
            assert api.run("backtest", "r").state == "success"
