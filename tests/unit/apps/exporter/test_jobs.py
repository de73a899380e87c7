"""Jobs and workers as metrics, and who delivers alerts as a component."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from autotrader.adapters.celery_workers import CeleryWorkers, Worker
from autotrader.alerts.routing import Routing
from autotrader.apps.alerts.deliver import DELIVERY
from autotrader.apps.exporter.components import alert_delivery
from autotrader.apps.exporter.jobs import JobCounts
from autotrader.apps.exporter.reading import Reading
from autotrader.apps.exporter.workers import Workers
from autotrader.db.alerts import SqlAlerts
from autotrader.db.deployment_records import SqlDeploymentRecords
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.db.jobs import SqlJobs
from autotrader.domain.errors import Unreachable
from autotrader.domain.metrics import METRICS
from autotrader.ports.events import Event, EventType
from autotrader.ports.jobs import Job, JobType
from tests.fakes.clocks import SettableClock
from tests.services import free_port, fresh_database

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_database(fresh_database("sqlite", tmp_path))


def told(reader: Any, *readers: Any) -> dict[tuple[str, ...], float]:
    reading = Reading()
    for each in (reader, *readers):
        other = Reading()
        each.read(other)
        reading.include(other)
    return {
        (sample.name, *(str(v) for v in sample.labels.values())): sample.value
        for family in reading.families()
        for sample in family.samples
    }


# ---------------------------------------------------------------------------------------- jobs


def test_counters_of_jobs_begin_at_zero(engine: Engine) -> None:
    found = told(JobCounts(SqlJobs(engine, tries=2, retry_seconds=60), SettableClock(NOW)))
    for metric in METRICS:
        if metric.name.startswith("job_"):
            assert found[metric.name, "backtest"] == 0
    for status in ("succeeded", "failed"):
        assert found["worker_jobs_processed_total", "backtest", status] == 0
    assert found["worker_job_duration_seconds_bucket", "backtest", "+Inf"] == 0
    assert found["queue_length", "jobs"] == 0


def test_jobs_are_told_by_what_became_of_them(engine: Engine) -> None:
    jobs, clock = SqlJobs(engine, tries=2, retry_seconds=60), SettableClock(NOW)
    for name in "abc":
        event = Event(f"job/{name}", EventType.AUDIT, "info", "asked", "tests", NOW)
        jobs.ask(Job(name, JobType.BACKTEST, {}, "olga", NOW), event)
        jobs.begin(f"job-{name}-1", NOW)
    jobs.succeed("job-a-1", {}, NOW + timedelta(seconds=30))
    for number in (1, 2):
        jobs.fail(f"job-b-{number}", "Unreachable", NOW + timedelta(seconds=30), can_retry=True)
    clock.advance(timedelta(minutes=61))
    found = told(JobCounts(jobs, clock))
    assert found["job_submissions_total", "backtest"] == 3
    assert found["job_retries_total", "backtest"] == 1
    assert found["job_dlq_moves_total", "backtest"] == found["job_dlq_length", "backtest"] == 1
    assert found["worker_errors_total", "backtest"] == 2
    assert found["worker_jobs_processed_total", "backtest", "succeeded"] == 1
    assert found["worker_jobs_processed_total", "backtest", "failed"] == 1
    assert found["worker_job_duration_seconds_bucket", "backtest", "15"] == 0
    assert found["worker_job_duration_seconds_bucket", "backtest", "60"] == 2
    assert found["worker_job_duration_seconds_count", "backtest"] == 2
    assert found["worker_job_duration_seconds_sum", "backtest"] == 60
    assert found["job_oldest_running_seconds", "backtest"] == 3_660


def test_a_metric_may_be_of_two_sources(engine: Engine) -> None:
    class Airflow:
        def read(self, reading: Reading) -> None:
            reading.add("queue_length", 2, queue="default")

    found = told(JobCounts(SqlJobs(engine, tries=2, retry_seconds=60), SettableClock(NOW)), Airflow())
    assert (found["queue_length", "default"], found["queue_length", "jobs"]) == (2, 0)


# ------------------------------------------------------------------------------------- workers


def test_a_worker_that_falls_silent_shows_when_it_was_heard_of_and_is_forgotten_at_last() -> None:
    there = [Worker("celery@a", 2, 1e8, None), Worker("celery@far", 0, None, None)]
    clock = SettableClock(NOW)

    def ask() -> Sequence[Worker]:
        return there

    workers = Workers(ask, clock)
    found = told(workers)
    assert found["worker_active", "celery@a"] == 2
    assert found["worker_memory_bytes", "celery@a"] == 1e8
    assert ("worker_cpu_percent", "celery@a") not in found
    assert ("worker_memory_bytes", "celery@far") not in found
    assert found["redis_operations_total", "ask_workers", "succeeded"] == 1
    there.pop(0)
    clock.advance(timedelta(minutes=5))
    found = told(workers)
    assert found["worker_heartbeat_timestamp", "celery@a"] == NOW.timestamp()
    assert found["worker_heartbeat_timestamp", "celery@far"] == clock.now().timestamp()
    assert ("worker_active", "celery@a") not in found
    clock.advance(timedelta(hours=1))
    assert ("worker_heartbeat_timestamp", "celery@a") not in told(workers)


def test_a_broker_that_is_away_is_an_outage_within_seconds_and_is_counted() -> None:
    workers = Workers(CeleryWorkers(f"redis://127.0.0.1:{free_port()}/0"), SettableClock(NOW))
    with pytest.raises(Unreachable, match="expected the broker of Celery's workers to answer"):
        told(workers)


# ----------------------------------------------------------------------------- alert delivery


def test_a_silent_delivery_of_alerts_is_unhealthy_and_a_backlog_degrades_it(engine: Engine) -> None:
    deployment, clock = SqlDeploymentRecords(engine, "autotrader-strategy"), SettableClock(NOW)
    alerts = SqlAlerts(engine, Routing(), runbooks="runbooks")
    assert alert_delivery(alerts, deployment, clock).status == "UNKNOWN"
    deployment.beat(DELIVERY, clock.now())
    assert alert_delivery(alerts, deployment, clock).status == "HEALTHY"
    clock.advance(timedelta(minutes=2))
    found = alert_delivery(alerts, deployment, clock)
    assert (found.status, found.reason) == ("UNHEALTHY", "the delivery of alerts has been silent for 120 s")
    SqlEventLog(engine).record(Event("e", EventType.ALERT, "critical", "broken", "tests", clock.now()))
    alerts.take_up(clock.now())
    alerts.compose(clock.now())
    clock.advance(timedelta(minutes=11))
    deployment.beat(DELIVERY, clock.now())
    found = alert_delivery(alerts, deployment, clock)
    assert (found.status, found.reason.startswith("a message has waited since")) == ("DEGRADED", True)
