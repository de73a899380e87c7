"""Jobs on each database: what is written down, each change once, and what it amounts to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.db.jobs import SqlJobs
from autotrader.domain.errors import NotFound, Refused
from autotrader.ports.events import Event, EventType
from autotrader.ports.jobs import DURATION_BOUNDS, UNFINISHED, Job, Jobs, JobState, JobType
from tests.services import fresh_database

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
KIND = JobType.BACKTEST


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    return open_database(fresh_database(request.param, tmp_path))


@pytest.fixture
def jobs(engine: Engine) -> Jobs:
    return SqlJobs(engine, tries=3, retry_seconds=60)


def event(key: str) -> Event:
    return Event(key, EventType.AUDIT, "info", "asked", "tests", NOW)


def asked(jobs: Jobs, name: str = "a", minutes: float = 0) -> Job:
    at = NOW + timedelta(minutes=minutes)
    job = Job(name, KIND, {"model_version": "v1.0.0", "instruments": None}, "olga", at)
    return jobs.ask(job, event(f"job/{name}/asked"))


def given_up(jobs: Jobs, name: str = "a") -> None:
    asked(jobs, name)
    assert jobs.fail(f"job-{name}-1", "NotFound: no such version", NOW, can_retry=False)


def test_what_is_asked_twice_is_there_once_and_audited_once(jobs: Jobs, engine: Engine) -> None:
    first = asked(jobs)
    assert asked(jobs, minutes=5) == first == jobs.get("a")
    (newest,) = jobs.tries("a")
    assert (newest.run_id, newest.state, newest.run_after) == ("job-a-1", JobState.ASKED, None)
    assert len(SqlEventLog(engine).recent(type=EventType.AUDIT)) == 1


def test_a_try_goes_from_asked_to_its_result(jobs: Jobs) -> None:
    asked(jobs)
    jobs.queued("job-a-1")
    assert jobs.get("a").state is JobState.QUEUED
    begun = jobs.begin("job-a-1", NOW)
    assert begun is not None
    assert begun.state is JobState.RUNNING
    jobs.queued("job-a-1")  # the word of whoever triggered it comes late
    assert jobs.get("a").state is JobState.RUNNING
    assert jobs.succeed("job-a-1", {"sharpe": 1.5, "trades": None}, NOW + timedelta(seconds=30))
    job, (tried,) = jobs.get("a"), jobs.tries("a")
    assert (job.state, job.result, job.reason) == (JobState.SUCCEEDED, {"sharpe": 1.5, "trades": None}, "")
    assert (tried.state, tried.seconds) == (JobState.SUCCEEDED, 30)


def test_what_is_over_stays_as_it_is(jobs: Jobs) -> None:
    asked(jobs)
    jobs.begin("job-a-1", NOW)
    assert jobs.succeed("job-a-1", {"sharpe": 1.5}, NOW)
    assert not jobs.fail("job-a-1", "late", NOW, can_retry=True)
    assert not jobs.succeed("job-a-1", {"sharpe": 2.0}, NOW)
    with pytest.raises(Refused, match="expected a try that is not over"):
        jobs.begin("job-a-1", NOW)
    assert jobs.get("a").result == {"sharpe": 1.5}


def test_a_run_that_is_no_job_s_is_left_alone(jobs: Jobs) -> None:
    assert jobs.begin("manual__2026", NOW) is None
    assert not jobs.fail("manual__2026", "failed", NOW, can_retry=True)


def test_tries_are_held_back_longer_each_time_and_the_last_one_is_a_dead_letter(jobs: Jobs) -> None:
    asked(jobs)
    for number, pause in ((1, 60), (2, 120)):
        jobs.begin(f"job-a-{number}", NOW)
        assert jobs.fail(f"job-a-{number}", "Unreachable: MLflow", NOW, can_retry=True)
        newest = jobs.tries("a")[-1]
        assert (newest.number, newest.is_retry) == (number + 1, True)
        assert newest.run_after == NOW + timedelta(seconds=pause)
        assert (jobs.get("a").state, jobs.get("a").reason) == (JobState.ASKED, "Unreachable: MLflow")
        assert jobs.dead_letters() == []
    assert jobs.fail("job-a-3", "Unreachable: still", NOW, can_retry=True)
    assert (jobs.get("a").state, jobs.get("a").ended_at) == (JobState.FAILED, NOW)
    (letter,) = jobs.dead_letters()
    assert (letter.job_id, letter.number, letter.reason) == ("a", 3, "Unreachable: still")


def test_what_a_retry_cannot_mend_is_given_up_at_once(jobs: Jobs) -> None:
    given_up(jobs)
    assert [letter.reason for letter in jobs.dead_letters()] == ["NotFound: no such version"]
    assert jobs.unfinished(states=tuple(JobState)[:3]) == []


def test_a_requeued_job_has_all_its_tries_again(jobs: Jobs, engine: Engine) -> None:
    given_up(jobs)
    job = jobs.requeue("a", actor="olga", now=NOW, event=event("requeued"))
    assert (job.state, job.tries, job.round_start, job.ended_at) == (JobState.ASKED, 2, 2, None)
    assert jobs.dead_letters() == []
    assert not jobs.tries("a")[-1].is_retry
    with pytest.raises(Refused, match="expected a job that was given up, was a, which is asked"):
        jobs.requeue("a", actor="olga", now=NOW, event=event("again"))
    for number in (2, 3, 4):
        assert jobs.get("a").state is JobState.ASKED
        jobs.fail(f"job-a-{number}", "Unreachable", NOW, can_retry=True)
    assert jobs.get("a").state is JobState.FAILED
    assert len(SqlEventLog(engine).recent(type=EventType.AUDIT)) == 2


def test_jobs_are_listed_newest_first_by_state_type_and_time(jobs: Jobs) -> None:
    for k, name in enumerate("abc"):
        asked(jobs, name, minutes=k)
    jobs.queued("job-b-1")
    assert [job.id for job in jobs.list()] == ["c", "b", "a"]
    assert [job.id for job in jobs.list(limit=1, offset=1)] == ["b"]
    assert [job.id for job in jobs.list(states=[JobState.ASKED], type=KIND)] == ["c", "a"]
    assert [
        job.id for job in jobs.list(start=NOW + timedelta(minutes=1), end=NOW + timedelta(minutes=2))
    ] == ["b"]
    assert [job.id for job, _ in jobs.unfinished(states=[JobState.ASKED])] == ["a", "c"]


def test_what_is_not_there_is_not_found(jobs: Jobs) -> None:
    with pytest.raises(NotFound, match="expected the id of a job, was 'x'"):
        jobs.get("x")
    with pytest.raises(NotFound):
        jobs.requeue("x", actor="olga", now=NOW, event=event("x"))


def test_secrets_and_odd_characters_of_a_reason_are_kept_out(jobs: Jobs) -> None:
    asked(jobs)
    jobs.fail("job-a-1", "a\x00b token=hunter2 " + "x" * 5_000, NOW, can_retry=False)
    reason = jobs.get("a").reason
    assert "hunter2" not in reason
    assert "\x00" not in reason
    assert len(reason) == 1_000


def test_totals_count_what_happened_with_zeros(jobs: Jobs) -> None:
    nothing = jobs.totals()
    assert nothing.asked == nothing.given_up == nothing.waiting == {KIND: 0}
    assert nothing.ended == {(KIND, JobState.SUCCEEDED): 0, (KIND, JobState.FAILED): 0}
    assert nothing.durations[KIND].within == dict.fromkeys(DURATION_BOUNDS, 0)
    history(jobs)
    found = jobs.totals()
    assert found.asked == {KIND: 3}
    assert found.ended == {(KIND, JobState.SUCCEEDED): 1, (KIND, JobState.FAILED): 1}
    assert (found.retries, found.failed_tries, found.given_up) == ({KIND: 1}, {KIND: 2}, {KIND: 1})
    assert (found.dead, found.waiting, found.oldest_start) == ({KIND: 0}, {KIND: 1}, {KIND: NOW})
    took = found.durations[KIND]
    assert (took.within[15.0], took.within[60.0], took.within[300.0]) == (0, 1, 2)
    assert (took.count, took.seconds) == (2, 120)


def history(jobs: Jobs) -> None:
    """`a` given up, requeued, tried again and done; `b` asked for; `c` running."""
    given_up(jobs)
    jobs.requeue("a", actor="olga", now=NOW, event=event("requeued"))
    jobs.begin("job-a-2", NOW)
    jobs.fail("job-a-2", "Unreachable", NOW + timedelta(seconds=90), can_retry=True)
    jobs.begin("job-a-3", NOW)
    jobs.succeed("job-a-3", {}, NOW + timedelta(seconds=30))
    asked(jobs, "b")
    asked(jobs, "c")
    jobs.begin("job-c-1", NOW)


# ----------------------------------------------------------------------------------- cancelled


def cancelled(jobs: Jobs, name: str = "a") -> Job:
    return jobs.cancel(name, actor="olga", now=NOW, event=event(f"job/{name}/cancelled"))


def test_a_cancelled_job_takes_nothing_more_of_its_try(jobs: Jobs, engine: Engine) -> None:
    asked(jobs)
    jobs.begin("job-a-1", NOW)
    first = cancelled(jobs)
    assert (first.state, first.ended_at, first.reason) == (JobState.CANCELLED, NOW, "cancelled by olga")
    later = NOW + timedelta(hours=1)
    assert jobs.cancel("a", actor="ivan", now=later, event=event("again")) == first
    assert not jobs.succeed("job-a-1", {"sharpe": 9.0}, later)
    assert not jobs.fail("job-a-1", "killed", later, can_retry=True)
    jobs.queued("job-a-1")
    with pytest.raises(Refused, match="expected a job that is wanted, was a: cancelled by olga"):
        jobs.begin("job-a-1", later)
    assert (jobs.get("a"), jobs.dead_letters()) == (first, [])
    keys = [e.key for e in SqlEventLog(engine).recent(type=EventType.AUDIT)]
    assert sorted(keys) == ["job/a/asked", "job/a/cancelled"]


def test_a_cancelled_try_is_to_stop_until_airflow_has_stopped_it(jobs: Jobs) -> None:
    asked(jobs)
    jobs.begin("job-a-1", NOW)
    assert jobs.to_stop() == []
    cancelled(jobs)
    assert [newest.run_id for _, newest in jobs.to_stop()] == ["job-a-1"]
    assert jobs.unfinished(states=UNFINISHED) == []
    jobs.stopped("job-a-1", NOW + timedelta(seconds=5))
    (stopped,) = jobs.tries("a")
    assert (stopped.state, stopped.seconds) == (JobState.CANCELLED, None)
    assert jobs.to_stop() == []
    assert jobs.totals().ended == {(KIND, JobState.SUCCEEDED): 0, (KIND, JobState.FAILED): 0}


def test_only_what_is_cancelled_is_stopped(jobs: Jobs) -> None:
    asked(jobs)
    jobs.stopped("job-a-1", NOW)
    jobs.stopped("job-of-nobody-1", NOW)
    assert jobs.tries("a")[0].state is JobState.ASKED


def test_what_is_over_cannot_be_cancelled(jobs: Jobs) -> None:
    given_up(jobs)
    with pytest.raises(Refused, match="expected a job that is not over, was a, which failed"):
        cancelled(jobs)
    with pytest.raises(NotFound):
        cancelled(jobs, "b")


def test_a_result_and_a_cancellation_at_once_are_one_or_the_other(jobs: Jobs) -> None:
    for number in range(20):
        name = f"n{number}"
        asked(jobs, name)
        jobs.begin(f"job-{name}-1", NOW)
        with ThreadPoolExecutor(2) as both:
            taken = both.submit(jobs.succeed, f"job-{name}-1", {}, NOW)
            refused = both.submit(_is_refused, jobs, name)
        job, (newest,) = jobs.get(name), jobs.tries(name)
        assert taken.result(30) == refused.result(30)
        if taken.result():
            assert job.state is newest.state is JobState.SUCCEEDED
        else:
            assert (job.state, newest.state) == (JobState.CANCELLED, JobState.RUNNING)


def _is_refused(jobs: Jobs, name: str) -> bool:
    try:
        cancelled(jobs, name)
    except Refused:
        return True
    return False


# ----------------------------------------------------------------------------------- forgotten


def test_old_jobs_are_forgotten_with_all_that_is_theirs_and_stay_counted(jobs: Jobs, engine: Engine) -> None:
    history(jobs)
    given_up(jobs, "d")
    before = jobs.totals()
    assert jobs.forget(NOW) == 0, "nothing ended before"
    assert jobs.forget(NOW + timedelta(days=1)) == 2
    assert [job.id for job in jobs.list()] == ["b", "c"]
    assert jobs.dead_letters() == jobs.tries("a") == []
    assert jobs.totals() == replace(before, dead={KIND: 0}), "a counter that falls is a rise to Prometheus"
    asked(jobs, "e")
    given_up(jobs, "f")
    assert jobs.forget(NOW + timedelta(days=2)) == 1
    found = jobs.totals()
    assert (found.asked, found.given_up) == ({KIND: 6}, {KIND: 3})


def test_what_has_not_ended_in_airflow_is_not_forgotten(jobs: Jobs) -> None:
    asked(jobs)
    cancelled(jobs)
    late = NOW + timedelta(days=1)
    assert jobs.forget(late) == 0
    jobs.stopped("job-a-1", NOW)
    assert jobs.forget(late) == 1
