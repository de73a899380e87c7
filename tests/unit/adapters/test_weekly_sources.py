"""Where the weekly report reads runs and service levels: Airflow's API, Prometheus's API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from autotrader.adapters.airflow_runs import AirflowRuns
from autotrader.adapters.prometheus_levels import PrometheusLevels
from autotrader.config.settings import Settings
from autotrader.domain.errors import Rejected, Unreachable
from autotrader.domain.service_levels import LEVELS
from tests.fakes.airflow_history import AirflowHistory
from tests.fakes.airflow_server import serve
from tests.fakes.http_server import Handler, listening
from tests.services import free_port

END = datetime(2024, 3, 3, 18, tzinfo=UTC)
START = END - timedelta(days=7)


def runs_of(url: str, home: Path) -> AirflowRuns:
    settings = Settings(_env_file=None, home=home, airflow={"url": url, "password": "secret"})
    return AirflowRuns(settings)


def test_more_runs_than_a_page_holds_are_all_read_each_once(tmp_path: Path) -> None:
    airflow = AirflowHistory()
    for number in range(250):
        end = START + timedelta(minutes=number // 3)  # three ended in each minute
        airflow.add("data_pipeline", f"r{number}", "failed" if number % 50 == 0 else "success", end)
    airflow.add("data_pipeline", "before", "failed", START - timedelta(seconds=1))
    airflow.add("data_pipeline", "after", "failed", END)
    with serve(airflow) as url:
        found = runs_of(url, tmp_path).ended(START, END)
    assert {run.run_id for run in found} == {f"r{number}" for number in range(250)}
    assert len(found) == 250
    assert sum(not run.succeeded for run in found) == 5
    assert [run.ended_at for run in found] == sorted(run.ended_at for run in found)


def test_more_runs_in_one_instant_than_a_page_holds_are_refused_not_lost(tmp_path: Path) -> None:
    airflow = AirflowHistory()
    for number in range(150):
        airflow.add("data_pipeline", f"r{number}", "success", START)
    with serve(airflow) as url, pytest.raises(Rejected, match="fewer than 100 runs"):
        runs_of(url, tmp_path).ended(START, END)


def test_an_airflow_that_is_away_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="did not answer"):
        runs_of(f"http://127.0.0.1:{free_port()}", tmp_path).ended(START, END)


# --------------------------------------------------------------------------------- Prometheus


@contextlib.contextmanager
def prometheus(result: Any, status: int = 200) -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """Answers each query the same, and keeps what it was asked."""
    asked: list[dict[str, list[str]]] = []

    class Page(Handler):
        def respond(self) -> None:
            asked.append(parse_qs(urlsplit(self.path).query))
            data = {"resultType": "vector", "result": result}
            self.answer_json(status, {"status": "success", "data": data})

    with listening(Page) as url:
        yield url, asked


@pytest.mark.parametrize(
    ("result", "ratio"),
    [
        ([{"metric": {}, "value": [0, "0.0125"]}], 0.0125),
        ([{"metric": {}, "value": [0, "NaN"]}], None),  # nothing was asked for in the window
        ([], None),
    ],
)
def test_a_ratio_is_of_thirty_days_and_none_where_nothing_was_measured(
    result: list[Any], ratio: float | None
) -> None:
    with prometheus(result) as (url, asked):
        assert PrometheusLevels(url).error_ratio(LEVELS[0], END) == ratio
    assert asked[0]["query"] == [LEVELS[0].errors.replace("{window}", "30d")]
    assert float(asked[0]["time"][0]) == END.timestamp()


@pytest.mark.parametrize(("status", "error"), [(503, Unreachable), (400, Rejected)])
def test_a_prometheus_that_refuses_is_told_from_one_that_is_ill(status: int, error: type[Exception]) -> None:
    with prometheus([], status) as (url, _), pytest.raises(error):
        PrometheusLevels(url).error_ratio(LEVELS[0], END)


def test_a_prometheus_that_is_away_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="did not answer"):
        PrometheusLevels(f"http://127.0.0.1:{free_port()}").error_ratio(LEVELS[0], END)


def test_a_password_in_the_address_of_prometheus_is_in_no_report() -> None:
    url = f"http://ann:hunter2@127.0.0.1:{free_port()}/base"  # pragma: allowlist secret
    with pytest.raises(Unreachable) as raised:
        PrometheusLevels(url).error_ratio(LEVELS[0], END)
    assert "hunter2" not in str(raised.value)
    assert "/base did not answer" in str(raised.value)


@pytest.mark.parametrize("result", [[{}], [{"value": [0, "many"]}], {"a": 1}], ids=str)
def test_an_answer_of_something_else_is_no_measurement(result: Any) -> None:
    with prometheus(result) as (url, _), pytest.raises(Rejected, match="was something else"):
        PrometheusLevels(url).error_ratio(LEVELS[0], END)
