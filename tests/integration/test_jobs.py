"""Jobs: killed between row and run, done by a real Airflow, given up, and requeued; real workers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from autotrader.access.authentication import issue
from autotrader.adapters.airflow_api import AirflowApi
from autotrader.adapters.celery_workers import CeleryWorkers
from autotrader.adapters.clocks import SystemWallClock
from autotrader.apps.exporter.reading import Reading
from autotrader.apps.exporter.workers import Workers
from autotrader.apps.jobs.follow import follow
from autotrader.db.engine import connect, open_database
from autotrader.db.jobs import SqlJobs
from autotrader.db.tokens import SqlTokens
from autotrader.domain.errors import Unreachable
from autotrader.ports.events import Event, EventType
from autotrader.ports.jobs import Job, JobState, JobType
from autotrader.ports.tokens import Scope
from tests.fakes.airflow_server import StandInAirflow, serve
from tests.integration.conftest import Platform
from tests.killing import Steps, run_killed
from tests.services import empty_database, redis

pytestmark = pytest.mark.integration

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
LONGEST_STEPS = 40
END_SECONDS = 240.0

# ------------------------------------------------------------------------------------- killed


def _jobs(url: str, steps: Steps | None = None) -> SqlJobs:
    engine = connect(url)
    return SqlJobs(steps.watch(engine) if steps else engine, tries=2, retry_seconds=0)


def _ask_and_follow(url: str, airflow_url: str, until: int | None) -> None:
    """A request and what comes after it; each commit, request and answer is a step, the last one deadly."""
    steps = Steps(until)
    jobs = _jobs(url, steps)
    event = Event("job/a", EventType.AUDIT, "info", "asked", "tests", NOW)
    jobs.ask(Job("a", JobType.BACKTEST, {"model_version": None}, "olga", NOW), event)

    def stepping() -> AirflowApi:
        client = AirflowApi(airflow_url, user="u", password="p")
        client._http._transport = steps.transport()
        return client

    follow(jobs, stepping, SystemWallClock())


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_killed_at_any_step_a_job_that_was_written_down_becomes_one_run(
    database: str, tmp_path: Path
) -> None:
    killed, step = True, 0
    while killed:
        step += 1
        assert step < LONGEST_STEPS
        folder = tmp_path / str(step)
        folder.mkdir()
        url = empty_database(database, folder)
        open_database(url).dispose()
        airflow = StandInAirflow()
        with serve(airflow) as airflow_url:
            killed = run_killed(_ask_and_follow, url, airflow_url, step)
            if _jobs(url).list():
                follow(
                    _jobs(url), lambda u=airflow_url: AirflowApi(u, user="u", password="p"), SystemWallClock()
                )  # type: ignore[misc]
            else:  # killed before it was written down: the caller got no answer, and asks again
                _ask_and_follow(url, airflow_url, None)
        assert list(airflow.runs) == ["job-a-1"], step
        assert _jobs(url).get("a").state is JobState.QUEUED
    assert step > 6


def _cancel_and_follow(url: str, airflow_url: str, until: int | None) -> None:
    steps = Steps(until)
    jobs = _jobs(url, steps)
    jobs.cancel("a", actor="olga", now=NOW, event=Event("c", EventType.AUDIT, "info", "c", "tests", NOW))

    def stepping() -> AirflowApi:
        client = AirflowApi(airflow_url, user="u", password="p")
        client._http._transport = steps.transport()
        return client

    follow(jobs, stepping, SystemWallClock())


def test_killed_at_any_step_a_job_that_is_cancelled_is_stopped_once_it_is_written_down(
    tmp_path: Path,
) -> None:
    killed, step = True, 0
    while killed:
        step += 1
        assert step < LONGEST_STEPS
        folder = tmp_path / str(step)
        folder.mkdir()
        url = empty_database("sqlite", folder)
        open_database(url).dispose()
        with serve(airflow := StandInAirflow()) as airflow_url:
            _ask_and_follow(url, airflow_url, None)
            killed = run_killed(_cancel_and_follow, url, airflow_url, step)
            if _jobs(url).get("a").state is not JobState.CANCELLED:  # no answer: the caller asks again
                _cancel_and_follow(url, airflow_url, None)
            else:
                follow(
                    _jobs(url), lambda u=airflow_url: AirflowApi(u, user="u", password="p"), SystemWallClock()
                )  # type: ignore[misc]
        assert airflow.runs["job-a-1"]["state"] == "failed", step
        assert _jobs(url).tries("a")[0].state is JobState.CANCELLED
    assert step > 6


# ------------------------------------------------------------------------------ a real Airflow


@pytest.fixture(scope="module")
def loaded(platform: Platform) -> Platform:
    """With bars and features of the first days."""
    run, _ = platform.trigger("data_pipeline", {"mode": "backfill", "start_date": "2024-02-18"})
    assert run.state == "success", platform.why(run)
    return platform


@pytest.fixture
def api(loaded: Platform) -> Iterator[httpx.Client]:
    """The platform's own API, with the token of an operator."""
    engine = loaded.container().engine
    token, stored = issue("olga", [Scope.OPERATE], (), days=1, actor="tests", now=datetime.now(UTC))
    made = Event(f"token:{stored.id}", EventType.AUDIT, "info", "made", "tests", datetime.now(UTC))
    SqlTokens(engine).add(stored, made)
    url = f"http://127.0.0.1:{loaded.settings.api.port}"
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


def ended(api: httpx.Client, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + END_SECONDS
    while (job := api.get(f"/jobs/{job_id}").json())["state"] not in ("succeeded", "failed"):
        assert time.monotonic() < deadline, job
        time.sleep(0.5)
    return dict(job)


def test_a_backtest_is_asked_for_run_by_airflow_and_its_result_told(
    loaded: Platform, api: httpx.Client
) -> None:
    body = {"instruments": ["BTCUSDT"], "start_date": "2024-02-26", "strategy": "buy_and_hold"}
    key = {"Idempotency-Key": "once"}
    asked = api.post("/jobs/backtest", json=body, headers=key)
    assert asked.status_code == 202, asked.text
    assert api.post("/jobs/backtest", json=body, headers=key).json()["id"] == asked.json()["id"]
    job = ended(api, asked.json()["id"])
    assert job["state"] == "succeeded", job
    result = job["result"]
    assert (result["traded"], result["model"]) == ("buy_and_hold", None)
    assert result["seconds"] > 0
    assert result["net_pnl"] == result["metrics"]["buy_and_hold"]["net_pnl"] != 0
    assert Path(result["report_path"]).read_text().startswith("<!doctype html>")
    assert [(t["state"], t["run_id"]) for t in job["history"]] == [("succeeded", f"job-{job['id']}-1")]
    assert loaded.ended("backtest", f"job-{job['id']}-1").state == "success"


def test_a_backtest_that_cannot_be_is_given_up_and_requeued_by_an_operator(
    loaded: Platform, api: httpx.Client
) -> None:
    asked = api.post("/jobs/backtest", json={"model_version": "v9.9.9", "instruments": ["BTCUSDT"]})
    job = ended(api, asked.json()["id"])
    assert (job["state"], len(job["history"])) == ("failed", 1)
    assert "v9.9.9" in job["reason"]
    code, found, _ = loaded.command("autotrader.apps.jobs", "dlq")
    assert (code, [letter["job_id"] for letter in found["dead_letters"]]) == (0, [job["id"]])
    code, requeued, _ = loaded.command("autotrader.apps.jobs", "requeue", "--id", job["id"])
    assert (code, requeued["state"], requeued["tries"]) == (0, "asked", 2)
    again = ended(api, job["id"])
    assert [(t["number"], t["state"]) for t in again["history"]] == [(1, "failed"), (2, "failed")]
    code, shown, _ = loaded.command("autotrader.apps.jobs", "show", "--id", job["id"])
    assert (code, shown["job"]["state"], len(shown["tries"])) == (0, "failed", 2)


def test_a_backtest_that_is_cancelled_ends_in_airflow_and_has_no_result(
    loaded: Platform, api: httpx.Client
) -> None:
    # Of a DAG that is paused nothing begins: it is sure to be there when it is cancelled.
    pause(loaded, True)
    try:
        job_id = api.post("/jobs/backtest", json={"instruments": ["BTCUSDT"]}).json()["id"]
        wait_for(lambda: api.get(f"/jobs/{job_id}").json()["state"] == "queued")
        code, told, _ = loaded.command("autotrader.apps.jobs", "cancel", "--id", job_id)
        assert (code, told["state"]) == (0, "cancelled")
        wait_for(lambda: api.get(f"/jobs/{job_id}").json()["history"][0]["state"] == "cancelled")
        assert loaded.api.run("backtest", f"job-{job_id}-1").state == "failed"
    finally:
        pause(loaded, False)
    assert api.get(f"/jobs/{job_id}").json()["result"] is None


def pause(platform: Platform, is_paused: bool) -> None:
    platform.api._send("PATCH", "/api/v2/dags/backtest", json={"is_paused": is_paused})


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + END_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.3)


# --------------------------------------------------------------------------------- real workers


@contextlib.contextmanager
def celery_worker(broker: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "celery", "-b", broker, "worker", "--concurrency", "1", "-l", "WARNING"]
    command += ["--include", "autotrader.adapters.celery_usage"]
    with (folder / "worker.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, start_new_session=True)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def told(workers: Workers) -> Mapping[tuple[str, ...], float]:
    reading = Reading()
    workers.read(reading)
    return {
        (sample.name, *(str(v) for v in sample.labels.values())): sample.value
        for family in reading.families()
        for sample in family.samples
    }


def eventually(workers: Workers, is_so: Callable[[Mapping[tuple[str, ...], float]], bool]) -> Any:
    found: Mapping[tuple[str, ...], float] = {}
    deadline = time.monotonic() + 120
    while not is_so(found):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
        with contextlib.suppress(Unreachable):
            found = told(workers)
    return found


def test_a_real_worker_is_heard_of_measured_and_missed_when_it_is_killed(tmp_path: Path) -> None:
    name = f"celery@{socket.gethostname()}"
    heartbeat = ("worker_heartbeat_timestamp", name)
    with redis(tmp_path) as broker:
        workers = Workers(CeleryWorkers(broker), SystemWallClock())
        assert heartbeat not in told(workers)
        with celery_worker(broker, tmp_path) as process:
            begun = time.time()
            found = eventually(workers, lambda f: ("worker_cpu_percent", name) in f)
            assert begun < found[heartbeat] <= time.time()
            assert found["worker_active", name] == 0
            assert 10e6 < found["worker_memory_bytes", name] < 2e9
            assert found["worker_cpu_percent", name] >= 0
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            found = eventually(workers, lambda f: heartbeat in f and ("worker_active", name) not in f)
            last = found[heartbeat]
            time.sleep(1.1)
            assert told(workers)[heartbeat] == last, "a worker that is gone is not heard of again"
    with pytest.raises(Unreachable):
        told(workers)


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs Redis")
def test_the_exporter_of_the_distributed_profile_shows_workers(tmp_path: Path) -> None:
    with redis(tmp_path) as broker, celery_worker(broker, tmp_path):
        environment = {
            **os.environ,
            "AUTOTRADER_HOME": str(tmp_path / "home"),
            "AUTOTRADER_MONITORING__PROFILES": "distributed",
            "AUTOTRADER_AIRFLOW__BROKER_URL": broker,
        }
        argv = [sys.executable, "-m", "autotrader.apps.exporter", "--port", "0"]
        process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        try:
            assert process.stdout
            url = json.loads(process.stdout.readline())["url"]
            deadline = time.monotonic() + 120
            while "worker_heartbeat_timestamp{" not in (
                page := httpx.get(f"{url}/metrics", timeout=60, trust_env=False).text
            ):
                assert time.monotonic() < deadline, page
                time.sleep(0.3)
            assert 'redis_operations_total{operation="ask_workers",status="succeeded"}' in page
            assert 'job_dlq_moves_total{type="backtest"} 0.0' in page
            assert 'worker_job_duration_seconds_bucket{le="+Inf",type="backtest"} 0.0' in page
        finally:
            process.terminate()
            process.wait(60)
