"""Jobs and an Airflow that is away, forgets, refuses, and says things late."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autotrader.adapters.airflow_api import AirflowApi
from autotrader.apps.jobs.follow import follow
from autotrader.db.engine import open_database
from autotrader.db.jobs import SqlJobs
from autotrader.domain.errors import Unreachable
from autotrader.ports.events import Event, EventType
from autotrader.ports.jobs import Job, JobState, JobType
from tests.fakes.airflow_server import StandInAirflow, serve
from tests.fakes.clocks import SettableClock
from tests.services import fresh_database

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
Follow = Callable[[], bool]


@pytest.fixture
def jobs(tmp_path: Path) -> SqlJobs:
    return SqlJobs(open_database(fresh_database("sqlite", tmp_path)), tries=2, retry_seconds=60)


@pytest.fixture
def airflow() -> StandInAirflow:
    return StandInAirflow()


@pytest.fixture
def once(jobs: SqlJobs, airflow: StandInAirflow) -> Iterator[Follow]:
    with serve(airflow) as url:
        clock = SettableClock(NOW)
        yield lambda: follow(jobs, lambda: AirflowApi(url, user="u", password="p"), clock)


def ask(jobs: SqlJobs, name: str = "a") -> None:
    event = Event(f"job/{name}", EventType.AUDIT, "info", "asked", "tests", NOW)
    jobs.ask(Job(name, JobType.BACKTEST, {"model_version": "v1.0.0"}, "olga", NOW), event)


def test_with_nothing_to_do_airflow_is_not_asked(once: Follow, airflow: StandInAirflow) -> None:
    airflow.down = True
    assert once() is False


def test_a_job_becomes_one_run_with_its_parameters(
    jobs: SqlJobs, once: Follow, airflow: StandInAirflow
) -> None:
    ask(jobs)
    for _ in range(3):
        assert once()
    assert airflow.runs == {"job-a-1": {"conf": {"model_version": "v1.0.0"}, "state": "queued"}}
    assert jobs.get("a").state is JobState.QUEUED


def test_an_answer_that_is_lost_makes_no_second_run(
    jobs: SqlJobs, once: Follow, airflow: StandInAirflow
) -> None:
    airflow.lost = 1
    ask(jobs)
    with pytest.raises(Unreachable):
        once()
    assert jobs.get("a").state is JobState.ASKED
    once()
    assert list(airflow.runs) == ["job-a-1"]
    assert jobs.get("a").state is JobState.QUEUED


def test_while_airflow_is_away_a_job_waits(jobs: SqlJobs, once: Follow, airflow: StandInAirflow) -> None:
    airflow.down = True
    ask(jobs)
    with pytest.raises(Unreachable):
        once()
    airflow.down = False
    once()
    assert jobs.get("a").state is JobState.QUEUED


def test_a_run_that_was_killed_is_tried_again_and_given_up_at_last(
    jobs: SqlJobs, once: Follow, airflow: StandInAirflow
) -> None:
    ask(jobs)
    once()
    jobs.begin("job-a-1", NOW)
    airflow.runs["job-a-1"]["state"] = "failed"
    once()
    once()
    assert set(airflow.runs) == {"job-a-1", "job-a-2"}
    assert airflow.after["job-a-2"] == "2026-03-01T09:01:00+00:00"
    airflow.runs["job-a-2"]["state"] = "failed"
    once()
    assert jobs.get("a").state is JobState.FAILED
    assert [letter.number for letter in jobs.dead_letters()] == [2]


def test_a_run_that_is_gone_from_airflow_is_tried_again(
    jobs: SqlJobs, once: Follow, airflow: StandInAirflow
) -> None:
    ask(jobs)
    once()
    airflow.runs.clear()
    once()
    once()
    assert set(airflow.runs) == {"job-a-2"}
    assert jobs.get("a").reason == "its run is gone from Airflow"


def cancel(jobs: SqlJobs, name: str = "a") -> None:
    event = Event(f"job/{name}/cancelled", EventType.AUDIT, "info", "cancelled", "tests", NOW)
    jobs.cancel(name, actor="olga", now=NOW, event=event)


@pytest.mark.parametrize("state", ["queued", "running"])
def test_the_run_of_a_cancelled_job_is_stopped_and_no_other_one_follows(
    jobs: SqlJobs, once: Follow, airflow: StandInAirflow, state: str
) -> None:
    ask(jobs)
    once()
    airflow.runs["job-a-1"]["state"] = state
    cancel(jobs)
    assert once()
    assert airflow.runs["job-a-1"]["state"] == "failed"
    assert jobs.tries("a")[0].state is JobState.CANCELLED
    assert once() is False
    assert list(airflow.runs) == ["job-a-1"]


def test_a_job_that_is_cancelled_before_airflow_knows_it_never_runs(
    jobs: SqlJobs, once: Follow, airflow: StandInAirflow
) -> None:
    ask(jobs)
    cancel(jobs)
    once()
    assert airflow.runs == {}
    assert jobs.tries("a")[0].state is JobState.CANCELLED


def test_while_airflow_is_away_a_cancelled_run_is_still_to_stop(
    jobs: SqlJobs, once: Follow, airflow: StandInAirflow
) -> None:
    ask(jobs)
    once()
    cancel(jobs)
    airflow.down = True
    with pytest.raises(Unreachable):
        once()
    airflow.down = False
    once()
    assert airflow.runs["job-a-1"]["state"] == "failed"


def test_a_run_that_ended_before_it_could_be_stopped_stays_as_it_is(
    jobs: SqlJobs, once: Follow, airflow: StandInAirflow
) -> None:
    ask(jobs)
    once()
    cancel(jobs)
    airflow.runs["job-a-1"]["state"] = "success"
    once()
    assert airflow.runs["job-a-1"]["state"] == "success"
    assert jobs.get("a").state is JobState.CANCELLED


def test_a_success_without_a_result_is_none(jobs: SqlJobs, once: Follow, airflow: StandInAirflow) -> None:
    ask(jobs)
    once()
    airflow.runs["job-a-1"]["state"] = "success"
    once()
    assert jobs.get("a").state is JobState.FAILED
    assert "marked it by hand" in jobs.get("a").reason


def test_what_the_step_said_stands(jobs: SqlJobs, once: Follow, airflow: StandInAirflow) -> None:
    ask(jobs)
    once()
    jobs.begin("job-a-1", NOW)
    jobs.succeed("job-a-1", {"sharpe": 1.0}, NOW)
    airflow.runs["job-a-1"]["state"] = "failed"  # marked so afterwards
    assert once() is False
    assert jobs.get("a").state is JobState.SUCCEEDED


def test_parameters_that_airflow_refuses_are_given_up_with_its_words(
    jobs: SqlJobs, once: Follow, airflow: StandInAirflow
) -> None:
    airflow.refuses = "'v1.0.0' is not of type 'integer'"
    ask(jobs)
    once()
    assert jobs.get("a").state is JobState.FAILED
    assert airflow.refuses in jobs.get("a").reason


def test_a_dag_that_airflow_has_not_parsed_yet_is_waited_for(
    jobs: SqlJobs, once: Follow, airflow: StandInAirflow
) -> None:
    airflow.knows_dag = False
    ask(jobs)
    once()
    assert jobs.get("a").state is JobState.ASKED
    airflow.knows_dag = True
    once()
    assert jobs.get("a").state is JobState.QUEUED
