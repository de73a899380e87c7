"""A step that was asked for as a job tells it how it ended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autotrader.db.engine import open_database
from autotrader.db.jobs import SqlJobs
from autotrader.domain.errors import NotFound, Refused, Unreachable
from autotrader.pipelines.jobs import done_as_job
from autotrader.ports.events import Event, EventType
from autotrader.ports.jobs import Job, JobState, JobType
from tests.fakes.clocks import SettableClock
from tests.services import fresh_database

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture
def jobs(tmp_path: Path) -> SqlJobs:
    made = SqlJobs(open_database(fresh_database("sqlite", tmp_path)), tries=2, retry_seconds=60)
    event = Event("job/a", EventType.AUDIT, "info", "asked", "tests", NOW)
    made.ask(Job("a", JobType.BACKTEST, {}, "olga", NOW), event)
    return made


def failing(error: Exception) -> Callable[[], object]:
    def work() -> object:
        raise error

    return work


def test_the_result_of_a_try_is_the_job_s_in_plain_values(jobs: SqlJobs) -> None:
    result = {"sharpe": float("nan"), "at": NOW}
    assert done_as_job("job-a-1", lambda: result, jobs=jobs, clock=SettableClock(NOW)) is result
    assert jobs.get("a").result == {"sharpe": None, "at": NOW.isoformat()}


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Unreachable("MLflow is away"), JobState.ASKED),
        (RuntimeError("who knows"), JobState.ASKED),
        (NotFound("no such version"), JobState.FAILED),
    ],
    ids=str,
)
def test_what_a_retry_may_mend_is_tried_again(jobs: SqlJobs, error: Exception, state: JobState) -> None:
    with pytest.raises(type(error)):
        done_as_job("job-a-1", failing(error), jobs=jobs, clock=SettableClock(NOW))
    assert jobs.get("a").state is state
    assert jobs.get("a").reason == f"{type(error).__name__}: {error}"


def test_a_run_by_hand_is_done_and_is_no_job(jobs: SqlJobs) -> None:
    assert done_as_job("manual__2026", lambda: 7, jobs=jobs, clock=SettableClock(NOW)) == 7
    assert jobs.get("a").state is JobState.ASKED


def test_a_try_that_is_over_is_not_done_again(jobs: SqlJobs) -> None:
    jobs.fail("job-a-1", "its run is gone", NOW, can_retry=True)
    done: list[int] = []
    with pytest.raises(Refused, match="expected a try that is not over"):
        done_as_job("job-a-1", lambda: done.append(1), jobs=jobs, clock=SettableClock(NOW))
    assert done == []


def test_a_result_that_comes_after_the_try_was_given_up_is_not_taken(jobs: SqlJobs) -> None:
    def slow() -> dict[str, int]:
        jobs.fail("job-a-1", "its run is gone", NOW, can_retry=True)
        return {"trades": 1}

    with pytest.raises(Refused, match="was given up meanwhile"):
        done_as_job("job-a-1", slow, jobs=jobs, clock=SettableClock(NOW))
    assert jobs.get("a").result is None
