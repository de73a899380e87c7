"""Jobs and Airflow made to agree: it is told of what it does not know, and what ended there unsaid ends here.

Every step may be done twice, and by several processes at once: a run's id is made of its job and try.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import structlog

from autotrader.adapters.airflow_api import FINAL_RUN_STATES, AirflowApi, Conflict, Invalid
from autotrader.domain.errors import NotFound, Rejected
from autotrader.ports.clock import WallClock
from autotrader.ports.jobs import Job, Jobs, JobState, Try

# Airflow runs them in order: of those that wait, only the oldest can have ended.
MOST_FOLLOWED = 20
AIRFLOW_SECONDS = 10.0

log = structlog.get_logger(__name__)

Connect = Callable[[], AbstractContextManager[AirflowApi]]


def follow(jobs: Jobs, connect: Connect, clock: WallClock) -> bool:
    """Make both agree once; whether anything was left to do. Airflow is asked only then.

    Raises
    ------
    Unreachable, Rejected
        If Airflow does not answer, or not to us.
    """
    asked = jobs.unfinished(states=(JobState.ASKED,))
    under_way = jobs.unfinished(states=(JobState.QUEUED, JobState.RUNNING), limit=MOST_FOLLOWED)
    to_stop = jobs.to_stop()
    if not asked and not under_way and not to_stop:
        return False
    with connect() as airflow:
        for job, newest in to_stop:
            _stop(jobs, airflow, job, newest, clock)
        for job, newest in under_way:
            _end_if_over(jobs, airflow, job, newest, clock)
        for job, newest in asked:
            _hand_over(jobs, airflow, job, newest, clock)
    return True


def _hand_over(jobs: Jobs, airflow: AirflowApi, job: Job, newest: Try, clock: WallClock) -> None:
    try:
        airflow.trigger(job.type.value, job.params, run_id=newest.run_id, run_after=newest.run_after)
    except Conflict:
        log.info("Airflow had the job already", job=job.id, run_id=newest.run_id)
    except Invalid as error:
        jobs.fail(newest.run_id, str(error), clock.now(), can_retry=False)
        return
    except NotFound:
        log.warning("Airflow does not know the DAG yet", job=job.id, dag_id=job.type.value)
        return
    jobs.queued(newest.run_id)


def _stop(jobs: Jobs, airflow: AirflowApi, job: Job, newest: Try, clock: WallClock) -> None:
    dag_id, run_id = job.type.value, newest.run_id
    try:
        if airflow.run(dag_id, run_id).state not in FINAL_RUN_STATES:
            airflow.end_run(dag_id, run_id)
    except NotFound:
        # Never handed over. Should another process do so now, the run is refused when it begins.
        log.info("Airflow has no run of the cancelled job", job=job.id, run_id=run_id)
    jobs.stopped(run_id, clock.now())


def _end_if_over(jobs: Jobs, airflow: AirflowApi, job: Job, newest: Try, clock: WallClock) -> None:
    dag_id, run_id = job.type.value, newest.run_id
    try:
        state = airflow.run(dag_id, run_id).state
    except NotFound:
        jobs.fail(run_id, "its run is gone from Airflow", clock.now(), can_retry=True)
        return
    if state not in FINAL_RUN_STATES:
        return
    # The step says how it ended before its run does: who is still open by now was killed, or never ran.
    if state == "success":
        reason = "its run is marked a success and left no result: somebody marked it by hand"
        jobs.fail(run_id, reason, clock.now(), can_retry=False)
    else:
        jobs.fail(run_id, _why(airflow, dag_id, run_id), clock.now(), can_retry=True)


def _why(airflow: AirflowApi, dag_id: str, run_id: str) -> str:
    try:
        failed = [task for task in airflow.tasks(dag_id, run_id) if task.state == "failed"]
        return "; ".join(airflow.failure(task, dag_id, run_id) for task in failed) or "its run failed"
    except NotFound:
        return "its run failed, and its log is gone"
    except Rejected as error:  # that we may not read it makes it no less failed
        return f"its run failed, and its log is not to be had: {error}"
