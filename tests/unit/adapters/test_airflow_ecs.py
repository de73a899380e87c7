"""A task that waits for its step on ECS: options, ends of a wait, a trigger; with tasks that really run."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import httpx
import pytest
from airflow.exceptions import AirflowFailException

from autotrader.adapters import airflow_dag, airflow_ecs
from autotrader.adapters.airflow_step_tasks import StepTasks
from autotrader.domain.errors import ConfigurationError, Unreachable
from tests.services import AWS_ENVIRONMENT, local_aws

pytestmark = pytest.mark.integration

ALERT = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "error": "no answer"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("aws")
    environment = {"AUTOTRADER_HOME": str(folder / "home"), "AUTOTRADER_AWS__REGION": "eu-west-1"}
    with local_aws(folder, program="tests.fakes.aws.step_tasks", environment=environment) as url:
        s3 = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="eu-west-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        where = {"LocationConstraint": "eu-west-1"}
        s3.create_bucket(Bucket="acme-airflow", CreateBucketConfiguration=where)
        yield url


@pytest.fixture
def on_ecs(url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Options as MWAA gives them, and a task instance that runs; returns it."""
    options = {"steps": "ecs", "environment": "dev", "prefix": "acme", "subnets": "subnet-1, subnet-2"}
    options |= {"security_groups": "sg-1", "poll_seconds": "0.1", "start_seconds": "250"}
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__AUTOTRADER__{name.upper()}", value)
    for name, value in {**AWS_ENVIRONMENT, "AWS_ENDPOINT_URL": url}.items():
        monkeypatch.setenv(name, value)
    plan(url)
    ti = SimpleNamespace(
        dag_id="data_pipeline", run_id=request.node.name, task_id="t", map_index=-1, try_number=1
    )
    monkeypatch.setattr(airflow_ecs, "get_current_context", lambda: {"ti": ti})
    return ti


PLAIN = {"timeout": 60, "trust_env": False, "verify": False}


def plan(url: str, *plans: dict[str, object]) -> None:
    httpx.post(f"{url}/_step_tasks", json=list(plans), **PLAIN).raise_for_status()


def tasks(url: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = httpx.get(f"{url}/_step_tasks", **PLAIN).json()
    return told


def last_task(url: str) -> dict[str, Any]:
    return tasks(url)[-1]


@contextlib.contextmanager
def signalled_while_it_waits(
    url: str, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Send us the signal a little after a new task was looked at: its next look is far away."""
    monkeypatch.setenv("AIRFLOW__AUTOTRADER__POLL_SECONDS", "250")
    known, is_over = len(tasks(url)), threading.Event()

    def wait() -> None:
        while not any(task["looks"] for task in tasks(url)[known:]):
            if is_over.wait(0.1):
                return
        if not is_over.wait(0.5):
            os.kill(os.getpid(), number)

    waiting = threading.Thread(target=wait)
    waiting.start()
    try:
        yield
    finally:
        is_over.set()
        waiting.join()


def test_a_task_gets_what_its_step_returned(on_ecs: Any) -> None:
    assert airflow_dag.run("alerts.task_failed", **ALERT) is True


def test_what_a_retry_cannot_mend_fails_it_for_good(on_ecs: Any) -> None:
    with pytest.raises(AirflowFailException, match=r"ConfigurationError: expected a step of"):
        airflow_dag.run("data.conquer")


def test_what_a_retry_may_mend_is_left_to_airflow(on_ecs: Any, url: str) -> None:
    plan(url, {"end": "spot"})
    with pytest.raises(Unreachable, match="took the capacity"):
        airflow_dag.run("alerts.task_failed", **ALERT)


def test_a_minute_without_room_is_waited_through(on_ecs: Any, url: str) -> None:
    plan(url, {"end": "no_room", "times": 3})
    assert airflow_dag.run("alerts.task_failed", **{**ALERT, "run_id": "room"}) is True


def test_a_task_that_is_killed_stops_its_step(on_ecs: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(url, {"end": "never_begins"})
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    try:
        with signalled_while_it_waits(url, signal.SIGTERM, monkeypatch), pytest.raises(SystemExit):
            airflow_dag.run("alerts.task_failed", **ALERT)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told == [signal.SIGTERM]  # Airflow's own handler heard it too
    assert last_task(url)["lastStatus"] == "STOPPED"
    assert last_task(url)["stoppedReason"] == "its Airflow task ended by SystemExit"


def test_a_task_that_is_killed_before_it_hears_of_its_step_stops_it(
    on_ecs: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(url, {"end": "never_begins"})
    run = StepTasks._run

    def run_and_be_killed(*request: Any) -> str:
        arn = run(*request)
        os.kill(os.getpid(), signal.SIGTERM)
        return arn

    monkeypatch.setattr(StepTasks, "_run", run_and_be_killed)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with pytest.raises(SystemExit):
            airflow_dag.run("alerts.task_failed", **ALERT)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert last_task(url)["stoppedReason"] == "its Airflow task ended by SystemExit"


def test_a_task_that_is_out_of_time_stops_its_step(
    on_ecs: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowTaskTimeout

    plan(url, {"end": "never_begins"})

    def out_of_time(*_: object) -> None:
        raise AirflowTaskTimeout

    before = signal.signal(signal.SIGALRM, out_of_time)
    try:
        with (
            signalled_while_it_waits(url, signal.SIGALRM, monkeypatch),
            pytest.raises(AirflowTaskTimeout),
        ):
            airflow_dag.run("alerts.task_failed", **ALERT)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert last_task(url)["stoppedReason"] == "its Airflow task ended by AirflowTaskTimeout"


def test_the_alert_of_a_failed_task_is_not_waited_for(on_ecs: Any, url: str) -> None:
    plan(url, {"end": "never_begins"})
    begun = time.monotonic()
    airflow_dag.task_failed({"task_instance": on_ecs, "exception": ValueError("no")})
    assert time.monotonic() - begun < 120
    assert "alerts.task_failed" in last_task(url)["overrides"]["containerOverrides"][0]["command"]


async def test_a_trigger_fires_with_the_outcome_and_survives_being_written_down(on_ecs: Any) -> None:
    started = airflow_ecs.start_step("data.conquer", {}, on_ecs)
    path, arguments = airflow_ecs.StepEnded.of(started).serialize()
    assert path == "autotrader.adapters.airflow_ecs.StepEnded"
    (event,) = [event async for event in airflow_ecs.StepEnded(**arguments).run()]
    assert event.payload["error"]["type"] == "ConfigurationError"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("STEPS", "moon", "AIRFLOW__AUTOTRADER__STEPS: expected here or ecs, was 'moon'"),
        ("SUBNETS", None, "AIRFLOW__AUTOTRADER__SUBNETS: expected a value where steps run on ECS"),
        ("POLL_SECONDS", "soon", "AIRFLOW__AUTOTRADER__POLL_SECONDS: expected seconds, was 'soon'"),
        ("STEP_SIZES", "big", "AIRFLOW__AUTOTRADER__STEP_SIZES: expected JSON"),
    ],
)
def test_a_wrong_option_is_told_by_name(
    on_ecs: Any, option: str, value: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv(f"AIRFLOW__AUTOTRADER__{option}")
    else:
        monkeypatch.setenv(f"AIRFLOW__AUTOTRADER__{option}", value)
    with pytest.raises((AirflowFailException, ConfigurationError), match=message):
        airflow_dag.run("alerts.task_failed", **ALERT)
