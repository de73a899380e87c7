"""A step of a pipeline as a task of ECS: started once, looked at, stopped, and what its end means.

Imported by Airflow on MWAA, where of our dependencies only boto3 is sure to be there. The step's key
and its outcome are objects of the bucket `<prefix>-airflow`: `steps/<id>/key.json` and `result.json`.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from autotrader.adapters.aws import aws_errors
from autotrader.config.aws_names import AwsNames, Bucket, Process
from autotrader.domain import errors
from autotrader.domain.errors import AutotraderError, ExitCode, NotFound, Throttled, Unreachable

CONTAINER = "step"
# Words of ECS for what no second try mends; it says so in prose alone.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
_MENDED_BY_PEOPLE = (
    "not found",
    "does not exist",
    "AccessDenied",
    "not authorized",
    "ResourceNotFoundException",
)
_SILENCE_SECONDS = 600.0  # of AWS, before a wait is given up; the task runs on, and the next try finds it

Outcome = dict[str, Any]


class StepCrashed(RuntimeError):
    """A step ended by an error that this package does not raise on purpose; another try may help."""


@dataclass(frozen=True, slots=True)
class Asker:
    """The task instance that asks for steps, and which of its tries this is."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int


@dataclass(frozen=True, slots=True)
class StepCluster:
    """Where steps run.

    Attributes
    ----------
    names : AwsNames
    subnets, security_groups : tuple of str
        Ids.
    capacity_provider : str
        `FARGATE_SPOT`, say; empty is Fargate on demand.
    sizes : Mapping[str, tuple[str, str]]
        Beginning of a step's name to CPU units and MiB of memory; others get the task definition's.
    """

    names: AwsNames
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    capacity_provider: str
    sizes: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class StartedStep:
    """A step under way; `place` is where its key and outcome lie in the bucket."""

    name: str
    arn: str
    place: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look showed: whether its container has begun, and the outcome once it has ended."""

    has_begun: bool
    outcome: Outcome | None


class StepTasks:
    """The steps of one cluster.

    Parameters
    ----------
    cluster : StepCluster
    timeout_seconds : float
        Patience with one answer of AWS.
    """

    def __init__(self, cluster: StepCluster, *, timeout_seconds: float = 10.0) -> None:
        self._cluster = cluster
        self._family = cluster.names.task_family(Process.STEP)
        self._bucket = cluster.names.bucket(Bucket.AIRFLOW)
        session = boto3.session.Session()
        patience = Config(
            connect_timeout=timeout_seconds,
            read_timeout=timeout_seconds,
            retries={"total_max_attempts": 4, "mode": "standard"},
        )
        with aws_errors("make clients of ECS and S3"):
            self._ecs = session.client("ecs", config=patience)
            self._s3 = session.client("s3", config=patience)
        self._region = session.region_name

    def start(self, name: str, key: Mapping[str, Any], asker: Asker, *, turn: int = 0) -> StartedStep:
        """Start the step, or find it where it runs already for this task instance.

        A task instance that asks twice for the same step with the same key in one try means one
        step; `turn` tells them apart where it does not.

        Raises
        ------
        Unreachable
            If AWS does not answer or has no room now; asking again starts no second one.
        ConfigurationError, NotFound, Rejected
            If cluster, task definition, network or permissions are not as they should be.
        """
        step, content = _step(name, key, asker, turn)
        started_by = _started_by(asker, step)
        running = self._running(name, started_by)
        if running is not None:
            return running
        attempt = _digest(step, asker.try_number)
        place = f"steps/{_told(asker.dag_id)}/{attempt}"
        with aws_errors(f"write the key of step {name}"):
            self._s3.put_object(Bucket=self._bucket, Key=f"{place}/key.json", Body=content.encode())
        at = f"s3://{self._bucket}/{place}"
        command = ["python", "-m", "autotrader.pipelines.run_step"]
        command += ["--name", name, "--key", f"{at}/key.json", "--result", f"{at}/result.json"]
        request: dict[str, Any] = {
            "cluster": self._cluster.names.cluster,
            "taskDefinition": self._family,
            "count": 1,
            "clientToken": attempt,
            "startedBy": started_by,
            "propagateTags": "TASK_DEFINITION",
            "networkConfiguration": {
                "awsvpcConfiguration": {
                    "subnets": list(self._cluster.subnets),
                    "securityGroups": list(self._cluster.security_groups),
                    "assignPublicIp": "DISABLED",
                }
            },
            "overrides": {
                "containerOverrides": [
                    {"name": CONTAINER, "command": command, "environment": _told_of(asker)}
                ],
                **self._size(name),
            },
        }
        if self._cluster.capacity_provider:
            provider = {"capacityProvider": self._cluster.capacity_provider, "weight": 1}
            request["capacityProviderStrategy"] = [provider]
        else:
            request["launchType"] = "FARGATE"
        return StartedStep(name, self._run(name, request), place)

    def find(self, name: str, key: Mapping[str, Any], asker: Asker, *, turn: int = 0) -> StartedStep | None:
        """The step where it runs for this task instance; raises Unreachable."""
        step, _ = _step(name, key, asker, turn)
        return self._running(name, _started_by(asker, step))

    def _run(self, name: str, request: Mapping[str, Any]) -> str:
        with aws_errors(f"start step {name}"):
            try:
                answer = self._ecs.run_task(**request)
            except self._ecs.exceptions.ConflictException as error:  # the token's task, started otherwise
                return str(error.response["resourceIds"][0])
        if answer["tasks"]:
            return str(answer["tasks"][0]["taskArn"])
        said = "; ".join(f"{f.get('reason')} {f.get('detail') or ''}".strip() for f in answer["failures"])
        raise Unreachable(f"ECS has no room for step {name} now: {said or 'it gave no reason'}")

    def _running(self, name: str, started_by: str) -> StartedStep | None:
        cluster = self._cluster.names.cluster
        with aws_errors(f"look for step {name}"):
            arns = self._ecs.list_tasks(cluster=cluster, startedBy=started_by)["taskArns"]
            tasks = self._ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
        for task in tasks:
            command = task["overrides"]["containerOverrides"][0]["command"]
            result = command[command.index("--result") + 1]
            place = result.removeprefix(f"s3://{self._bucket}/").removesuffix("/result.json")
            found = StartedStep(name, task["taskArn"], place)
            if self._outcome(found) is None:  # else it only puts its container away: another try means anew
                return found
        return None

    def _size(self, name: str) -> dict[str, str]:
        fitting = [beginning for beginning in self._cluster.sizes if name.startswith(beginning)]
        if not fitting:
            return {}
        cpu, memory = self._cluster.sizes[max(fitting, key=len)]
        return {"cpu": cpu, "memory": memory}

    def look(self, started: StartedStep) -> Seen:
        """What is known of a step now; its outcome is known before ECS has put its container away.

        Raises
        ------
        Unreachable
            If AWS does not answer.
        """
        if (outcome := self._outcome(started)) is not None:
            return Seen(True, outcome)
        with aws_errors(f"look at step {started.name}"):
            answer = self._ecs.describe_tasks(cluster=self._cluster.names.cluster, tasks=[started.arn])
        if not answer["tasks"]:
            missing = f"ECS has forgotten the task {started.arn}, which left no outcome"
            return Seen(True, _error("Unreachable", missing))
        task = answer["tasks"][0]
        if task["lastStatus"] != "STOPPED":
            return Seen("startedAt" in task, None)
        return Seen(True, self._outcome(started) or why_it_ended(task))  # written since, perhaps

    def _outcome(self, started: StartedStep) -> Outcome | None:
        try:
            with aws_errors(f"read the outcome of step {started.name}"):
                found = self._s3.get_object(Bucket=self._bucket, Key=f"{started.place}/result.json")
                outcome: Outcome = json.loads(found["Body"].read())
        except NotFound:
            return None
        return outcome

    def stop(self, started: StartedStep, reason: str) -> None:
        """Stop the task; fine if it has ended."""
        with aws_errors(f"stop step {started.name}"):
            self._ecs.stop_task(cluster=self._cluster.names.cluster, task=started.arn, reason=reason[:255])

    def page(self, started: StartedStep) -> str:
        """Where a person sees the task and its log."""
        task = started.arn.rpartition("/")[2]
        return (
            f"https://{self._region}.console.aws.amazon.com/ecs/v2/clusters/{self._cluster.names.cluster}"
            f"/tasks/{task}/logs?region={self._region}"
        )


class Watch:
    """Waits for a step by looks; the one who waits sleeps in between.

    Parameters
    ----------
    start_seconds : float
        How long its container may take to begin.
    """

    def __init__(self, tasks: StepTasks, started: StartedStep, *, start_seconds: float) -> None:
        self._tasks = tasks
        self._started = started
        self._start_seconds = start_seconds
        self._begun = self._heard = time.monotonic()

    def look(self) -> Outcome | None:
        """The outcome, once there is one; a task that does not begin in time is stopped.

        Raises
        ------
        Unreachable
            If AWS has not answered for ten minutes. The step is left alone.
        """
        try:
            seen = self._tasks.look(self._started)
        except Unreachable:
            if time.monotonic() - self._heard > _SILENCE_SECONDS:
                raise
            return None
        self._heard = time.monotonic()
        if seen.outcome is None and not seen.has_begun:
            if self._heard - self._begun <= self._start_seconds:
                return None
            reason = f"its container has not begun within {self._start_seconds:g} s"
            self._tasks.stop(self._started, reason)
            return _error("Unreachable", f"step {self._started.name} was stopped: {reason}")
        return seen.outcome


def returned(outcome: Outcome) -> Any:
    """What the step returned; its error is raised here as it was raised there.

    Raises
    ------
    AutotraderError
        Of the kind that the step raised, or that the end of its task comes to.
    StepCrashed
        For any other error.
    """
    if "error" not in outcome:
        return outcome["result"]
    kind, message = outcome["error"]["type"], outcome["error"]["message"]
    known = getattr(errors, kind, None)
    if known is Throttled:  # how long it asked for is over by now
        raise Unreachable(message)
    if isinstance(known, type) and issubclass(known, AutotraderError):
        raise known(message)
    raise StepCrashed(f"{kind}: {message}")


def why_it_ended(task: Mapping[str, Any]) -> Outcome:
    """What the end of a task comes to that left no outcome of its own.

    Parameters
    ----------
    task : Mapping
        As DescribeTasks describes it, stopped.
    """
    container: Mapping[str, Any] = next((c for c in task.get("containers", ()) if c["name"] == CONTAINER), {})
    said = "; ".join(filter(None, (task.get("stoppedReason"), container.get("reason")))) or "no reason given"
    exit_code = container.get("exitCode")
    match task.get("stopCode"):
        case "SpotInterruption" | "TerminationNotice":
            return _error("Unreachable", f"AWS took the capacity of the step's task back: {said}")
        case "UserInitiated":
            return _error("Rejected", f"somebody stopped the step's task: {said}")
        case "TaskFailedToStart":
            kind = "ConfigurationError" if any(w in said for w in _MENDED_BY_PEOPLE) else "Unreachable"
            return _error(kind, f"the step's task could not start: {said}")
    if "OutOfMemory" in said:
        memory = task.get("memory", "?")
        return _error(
            "ConfigurationError", f"the step needs more memory than its task's {memory} MiB: {said}"
        )
    if exit_code == ExitCode.USAGE:
        return _error(
            "ConfigurationError", "a setting of the step's task definition is wrong: its log says which"
        )
    if exit_code == ExitCode.UNREACHABLE:
        return _error("Unreachable", "the step could not leave its outcome in the bucket: its log says why")
    ended = "without an exit code" if exit_code is None else f"with exit code {exit_code}"
    return _error("StepCrashed", f"the step's task ended {ended} and left no outcome: {said}")


def _error(kind: str, message: str) -> Outcome:
    return {"error": {"type": kind, "message": message}}


def _told_of(asker: Asker) -> list[dict[str, str]]:
    """As Airflow tells its own tasks: for the step's log and its trace."""
    said = {"DAG_ID": asker.dag_id, "DAG_RUN_ID": asker.run_id, "TASK_ID": asker.task_id}
    return [{"name": f"AIRFLOW_CTX_{word}", "value": value} for word, value in said.items()]


def _step(name: str, key: Mapping[str, Any], asker: Asker, turn: int) -> tuple[str, str]:
    """What identifies the step over all tries, and its key as text."""
    content = json.dumps(key, sort_keys=True)
    return _digest(asker.dag_id, asker.run_id, asker.task_id, asker.map_index, name, content, turn), content


def _started_by(asker: Asker, step: str) -> str:
    owner = f"airflow/{_told(asker.dag_id)}/{_told(asker.task_id)}"[:100]
    return f"{owner}/{step[:24]}"


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _told(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)
