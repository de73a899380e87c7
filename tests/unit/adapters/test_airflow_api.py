"""What is asked of Airflow, where its answers are not those of a good day."""

from __future__ import annotations

import pytest

from autotrader.adapters import airflow_api
from autotrader.adapters.airflow_api import AirflowApi, Conflict
from autotrader.domain.errors import Unreachable
from tests.fakes.airflow_server import StandInAirflow, serve


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow_api, "PAUSE_SECONDS", 0.01)


def test_what_met_a_lock_is_asked_for_again() -> None:
    airflow = StandInAirflow(stumbles=2)
    with serve(airflow) as url, AirflowApi(url, user="u", password="p") as api:
        run_id = api.trigger("data_pipeline", {})
        assert list(airflow.runs) == [run_id]
        airflow.stumbles = 2
        api.end_run("data_pipeline", run_id)
        assert airflow.runs[run_id]["state"] == "failed"


def test_one_that_stumbles_on_is_unreachable() -> None:
    airflow = StandInAirflow(stumbles=100)
    with serve(airflow) as url, AirflowApi(url, user="u", password="p") as api:
        with pytest.raises(Unreachable, match="HTTP 500"):
            api.run("data_pipeline", "r")
        assert airflow.stumbles == 100 - airflow_api.TRIES


def test_a_run_of_a_given_id_is_told_to_be_there() -> None:
    with serve(StandInAirflow()) as url, AirflowApi(url, user="u", password="p") as api:
        assert api.trigger("backtest", {}, run_id="job-a-1") == "job-a-1"
        with pytest.raises(Conflict):
            api.trigger("backtest", {}, run_id="job-a-1")
