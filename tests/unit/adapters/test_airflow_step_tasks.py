"""A step as a task of ECS: one at a time, told truly, against tasks that really run."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from autotrader.adapters.airflow_step_tasks import (
    Asker,
    StartedStep,
    StepCluster,
    StepCrashed,
    StepTasks,
    Watch,
    returned,
    why_it_ended,
)
from autotrader.config.aws_names import AwsNames
from autotrader.domain.errors import (
    ConfigurationError,
    NotFound,
    Refused,
    Rejected,
    Throttled,
    Unreachable,
)
from tests.services import AWS_ENVIRONMENT, local_aws, set_faults

pytestmark = pytest.mark.integration

CLUSTER = StepCluster(
    names=AwsNames("dev", "acme"),
    subnets=("subnet-1", "subnet-2"),
    security_groups=("sg-1",),
    capacity_provider="",
    sizes={"training.": ("4096", "16384"), "training.train": ("8192", "32768")},
)
ASKER = Asker("backtest", "manual__2024-03-01T00:00:00+00:00", "run_backtest", -1, 1)
ALERT = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "error": "no answer"}
STEP = "alerts.task_failed"
PLAIN = {"timeout": 60, "trust_env": False, "verify": False}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("aws")
    environment = {"AUTOTRADER_HOME": str(folder / "home"), "AUTOTRADER_AWS__REGION": "eu-west-1"}
    with local_aws(folder, program="tests.fakes.aws.step_tasks", environment=environment) as url:
        yield url


@pytest.fixture
def tasks(url: str, monkeypatch: pytest.MonkeyPatch) -> StepTasks:
    for name, value in {**AWS_ENVIRONMENT, "AWS_ENDPOINT_URL": url}.items():
        monkeypatch.setenv(name, value)
    set_faults(url)
    plan(url)
    where = {"LocationConstraint": "eu-west-1"}
    s3 = boto3.client("s3")
    if not s3.list_buckets()["Buckets"]:
        s3.create_bucket(Bucket="acme-airflow", CreateBucketConfiguration=where)
    return StepTasks(CLUSTER, timeout_seconds=30)


def plan(url: str, *plans: Mapping[str, object]) -> None:
    httpx.post(f"{url}/_step_tasks", json=list(plans), **PLAIN).raise_for_status()


def seen(url: str, started_by: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = httpx.get(f"{url}/_step_tasks", **PLAIN).json()
    return [task for task in told if started_by in task["startedBy"]]


def asker(request: pytest.FixtureRequest) -> Asker:
    """One of this test's own."""
    return replace(ASKER, task_id=f"test_{zlib.crc32(request.node.name.encode())}")


def outcome_of(tasks: StepTasks, started: StartedStep, *, start_seconds: float = 250) -> dict[str, Any]:
    watch = Watch(tasks, started, start_seconds=start_seconds)
    deadline = time.monotonic() + 240
    while (outcome := watch.look()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return outcome


def test_what_the_step_returned_comes_back(tasks: StepTasks) -> None:
    started = tasks.start(STEP, ALERT, ASKER)
    assert returned(outcome_of(tasks, started)) is True
    assert started.arn.rpartition("/")[2] in tasks.page(started)


def test_and_so_does_its_error_as_the_kind_that_it_was(
    tasks: StepTasks, request: pytest.FixtureRequest
) -> None:
    started = tasks.start("data.conquer", {}, asker(request))
    with pytest.raises(ConfigurationError, match=r"expected a step of .*was 'data\.conquer'"):
        returned(outcome_of(tasks, started))


def test_a_task_that_runs_already_is_found_by_the_next_try(
    tasks: StepTasks, url: str, request: pytest.FixtureRequest
) -> None:
    plan(url, {"end": "never_begins"})
    first = tasks.start(STEP, ALERT, asker(request))
    second = tasks.start(STEP, ALERT, replace(asker(request), try_number=2))
    assert second == first
    assert tasks.start(STEP, {**ALERT, "map_index": 3}, replace(asker(request), map_index=3)) != first
    tasks.stop(first, "enough")
    assert tasks.start(STEP, ALERT, replace(asker(request), try_number=2)) != first


def test_an_answer_that_is_lost_starts_no_second_task(
    tasks: StepTasks, url: str, request: pytest.FixtureRequest
) -> None:
    set_faults(url, {"action": "RunTask", "kind": "lost"})
    started = tasks.start(STEP, ALERT, asker(request))  # botocore asks again, with the same token
    assert [task["taskArn"] for task in seen(url, asker(request).task_id)] == [started.arn]
    assert returned(outcome_of(tasks, started)) in (True, False)


def test_a_try_that_asks_again_after_the_end_is_told_the_same_and_the_next_try_runs_anew(
    tasks: StepTasks, request: pytest.FixtureRequest
) -> None:
    started = tasks.start(STEP, {**ALERT, "run_id": "again"}, asker(request))
    assert returned(outcome_of(tasks, started)) is True
    again = tasks.start(STEP, {**ALERT, "run_id": "again"}, asker(request))
    assert again == started
    anew = tasks.start(STEP, {**ALERT, "run_id": "again"}, replace(asker(request), try_number=2))
    assert anew.arn != started.arn
    assert returned(outcome_of(tasks, anew)) is False  # it is in the log already


def test_a_key_longer_than_overrides_may_be_is_no_matter(
    tasks: StepTasks, request: pytest.FixtureRequest
) -> None:
    started = tasks.start(STEP, {**ALERT, "run_id": "long", "error": "x" * 20_000}, asker(request))
    assert returned(outcome_of(tasks, started)) is True


def test_the_longest_fitting_name_decides_the_size(
    tasks: StepTasks, url: str, request: pytest.FixtureRequest
) -> None:
    plan(url, {"end": "never_begins", "times": 3})
    for name in ("training.train_models", "training.evaluate_models", "backtest.run"):
        tasks.stop(tasks.start(name, {}, asker(request)), "enough")
    sizes = [task["overrides"].get("memory") for task in seen(url, asker(request).task_id)]
    assert sizes == ["32768", "16384", None]


@pytest.mark.parametrize(
    ("plans", "kind", "words"),
    [
        ({"end": "spot", "seconds": 0}, Unreachable, "took the capacity .* back: Your Spot Task"),
        ({"end": "out_of_memory", "seconds": 0}, ConfigurationError, "more memory than its task's 2048 MiB"),
        (
            {"end": "stopped", "seconds": 0},
            Rejected,
            "somebody stopped the step's task: Task stopped by user",
        ),
        (
            {"end": "cannot_start", "reason": "CannotPullContainerError: image not found"},
            ConfigurationError,
            "could not start: CannotPullContainerError",
        ),
        (
            {"end": "cannot_start", "reason": "Timeout waiting for network interface provisioning"},
            Unreachable,
            "could not start: Timeout",
        ),
    ],
    ids=["spot", "memory", "stopped", "image", "network"],
)
def test_an_end_that_the_step_did_not_choose_is_told_in_plain_words(
    tasks: StepTasks,
    url: str,
    request: pytest.FixtureRequest,
    plans: dict[str, object],
    kind: type[Exception],
    words: str,
) -> None:
    plan(url, plans)
    started = tasks.start(STEP, ALERT, asker(request))
    with pytest.raises(kind, match=words):
        returned(outcome_of(tasks, started))


def test_a_task_that_never_begins_is_stopped(
    tasks: StepTasks, url: str, request: pytest.FixtureRequest
) -> None:
    plan(url, {"end": "never_begins"})
    started = tasks.start(STEP, ALERT, asker(request))
    with pytest.raises(Unreachable, match=r"has not begun within 0\.2 s"):
        returned(outcome_of(tasks, started, start_seconds=0.2))
    assert seen(url, asker(request).task_id)[0]["lastStatus"] == "STOPPED"


def test_no_room_is_told_and_starts_nothing(
    tasks: StepTasks, url: str, request: pytest.FixtureRequest
) -> None:
    plan(url, {"end": "no_room"})
    with pytest.raises(Unreachable, match=r"no room .* Capacity is unavailable"):
        tasks.start(STEP, ALERT, asker(request))
    assert not seen(url, asker(request).task_id)


def test_silence_of_aws_is_waited_through(tasks: StepTasks, url: str, request: pytest.FixtureRequest) -> None:
    started = tasks.start(STEP, {**ALERT, "run_id": "silence"}, asker(request))
    set_faults(url, {"action": "DescribeTasks", "kind": "error", "code": "ServerException", "status": 500})
    assert returned(outcome_of(tasks, started)) is True


def test_a_cluster_that_is_not_there_is_for_people(
    tasks: StepTasks, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    class Elsewhere(AwsNames):
        @property
        def cluster(self) -> str:
            return "nowhere"

    elsewhere = StepTasks(replace(CLUSTER, names=Elsewhere("dev", "acme")))
    with pytest.raises(NotFound, match="Cluster not found"):
        elsewhere.start(STEP, ALERT, asker(request))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ({"type": "Refused", "message": "no"}, Refused, "^no$"),
        ({"type": "Throttled", "message": "patience"}, Unreachable, "^patience$"),
        ({"type": "KeyError", "message": "'x'"}, StepCrashed, "KeyError: 'x'"),
        ({"type": "ExitCode", "message": "odd"}, StepCrashed, "ExitCode: odd"),
    ],
)
def test_kinds_of_errors_cross_the_border(error: dict[str, str], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as raised:
        returned({"error": error})
    assert not isinstance(raised.value, Throttled)


@pytest.mark.parametrize(
    ("exit_code", "kind"),
    [(2, "ConfigurationError"), (3, "Unreachable"), (139, "StepCrashed"), (None, "StepCrashed")],
)
def test_an_exit_code_without_an_outcome_says_what_it_can(exit_code: int | None, kind: str) -> None:
    container = {"name": "step"} | ({} if exit_code is None else {"exitCode": exit_code})
    told = why_it_ended({"stopCode": "EssentialContainerExited", "containers": [container]})
    assert told["error"]["type"] == kind
    assert json.dumps(told)


def test_no_credential_and_no_key_is_on_the_command_line(
    tasks: StepTasks, url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    plan(url, {"end": "never_begins"})
    started = tasks.start(STEP, {**ALERT, "error": "secret words"}, asker(request))
    assert "secret words" not in json.dumps(seen(url, asker(request).task_id))
    tasks.stop(started, "enough")
